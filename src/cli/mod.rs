//! The command line: one file per subcommand. Each parses, asks the administration, and prints.
//!
//! Data goes to standard output, words to standard error. Exit status: 0 done, 1 no or failed, 2 usage or
//! configuration, 75 the state is in use. `verify` has more: 3 interrupted, 4 missing, 5 tampered, 6 not vouched for.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that talks to people")]

mod answers;
mod apply;
mod audit;
mod backup;
mod check;
mod client_config;
mod commands;
mod coverage;
mod desk;
mod desktop;
mod doctor;
mod error;
pub mod evidence;
pub mod export;
mod fetch;
mod filter;
mod grant;
mod host_ca;
mod init;

mod lock;

mod output;

mod policy;
mod prompt;
mod rdp;
pub mod recorded;
mod recording;
pub mod redact;
pub mod replay;
mod request;
mod review;
mod review_diff;
mod rewrap;
mod rotation;
mod secret;
mod serve;
mod session;
mod state;

mod target;
mod times;
mod user;
mod verify;
mod watch;
mod witness;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use desk::Desk;
pub use error::CliError;

/// A bastion for privileged SSH sessions.
#[derive(Debug, Parser)]
#[command(name = "doorward", version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file [default: /etc/doorward/doorward.toml; for `init`: doorward.toml in its DIR].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new bastion: configuration, policies, keys, state.
    Init(init::Arguments),
    /// Run the server in the foreground.
    Serve,
    /// Check configuration and policies; show every fault.
    Check,
    /// Look at state, clock and disk.
    Doctor(doctor::Arguments),
    /// Bastion users and their keys.
    #[command(subcommand)]
    User(user::Command),
    /// Targets: what is reached through the bastion.
    #[command(subcommand)]
    Target(target::Command),
    /// Passwords and private keys of accounts on targets; the master key.
    #[command(subcommand)]
    Secret(secret::Command),
    /// Grants: a user's right to a destination for some time and a reason.
    #[command(subcommand)]
    Grant(grant::Command),
    /// Access requests: list, show, cancel, ask in a user's name. Users ask and approve over SSH: `ssh USER@BASTION help`.
    #[command(subcommand)]
    Request(request::Command),
    /// Locks: what nobody may reach for now, whatever rules and grants say.
    #[command(subcommand)]
    Lock(lock::Command),
    /// Lock everything in an attack; lifting it takes two people.
    #[command(subcommand)]
    Lockdown(lock::Lockdown),
    /// The rules in policies/: put changed files in force; check, test, explain and compare them.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Live sessions: list, watch, pause, speak to, end. Auditors watch over SSH: `ssh USER@BASTION help`.
    #[command(subcommand)]
    Session(session::Command),
    /// Who can reach a target: by which rule, on which grant, or at whose word.
    WhoCan(answers::WhoCan),
    /// Who is in a session now, why, until when, and who watches.
    WhoIs(answers::WhoIs),
    /// Who was on a target: when, why, on whose word, and how it ended.
    WhoDid(answers::WhoDid),
    /// What can be reached without a grant. The number of such rights is said on standard error.
    Standing(answers::Standing),
    /// The access review: every right of every user, when it was last used, and what a reviewer said of it.
    Review(review::Arguments),
    /// Recordings: list, replay, get, export; hold, erase, gc, rewrap.
    #[command(subcommand)]
    Recording(recording::Command),
    /// Who ran which command where, when, and at which second of which recording.
    Commands(commands::Arguments),
    /// The audit log: list, follow; its key, its checkpoint, proofs.
    #[command(subcommand)]
    Audit(audit::Command),
    /// The state - users, targets, grants, secrets - as one sealed file: export, import.
    #[command(subcommand)]
    State(state::Command),
    /// Copy the whole store and the sealed state, while the server runs; again: bring the copy up to date.
    Backup(backup::Arguments),
    /// Check that recordings and log are what was recorded; or, with `bundle`, an evidence bundle.
    Verify(verify::Arguments),
    /// Make users, groups and targets as an inventory file (TOML) has them; shows the difference first.
    Apply(apply::Arguments),
    /// Print lines for a user's ~/.ssh/config.
    ClientConfig(client_config::Arguments),
    /// Print the line for users' known_hosts by which `ssh -J BASTION ACCOUNT@TARGET` asks nothing. It names the targets
    /// that there are now; print it anew when one is added.
    HostCa,
    /// Ask a bastion for a one-time ticket to a desktop, with your own `ssh`; write its .rdp file.
    Rdp(rdp::Arguments),
    /// Print the fingerprint of the certificate by which programs for desktops (RDP) know the bastion.
    RdpCertificate,
    /// Print what becomes of every SSH channel and request: recorded, metadata, empty, refused; and the word in a rule's
    /// `channels` that it needs.
    Coverage(coverage::Arguments),
    /// Cosign the checkpoints of other bastions' logs, so that none of them can be put back or changed unnoticed.
    #[command(subcommand)]
    Witness(witness::Command),
    /// The process of one desktop, which the server starts.
    #[command(hide = true)]
    Desktop,
}

/// Runs the program; the exit status is in the module's description.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Verify(arguments) => verify::run(file, &arguments),
        Command::Init(arguments) => init::run(file, &arguments),
        Command::Serve => serve(desk::load(file)?),
        Command::Check => check::run(file),
        Command::Doctor(arguments) => doctor::run(&Desk::open(file)?, &arguments),
        Command::User(command) => user::run(&Desk::open(file)?, command),
        Command::Target(command) => target::run(&Desk::open(file)?, command),
        Command::Secret(secret::Command::RotateKey) => rotation::run(&desk::load(file)?),
        Command::Secret(command) => secret::run(&Desk::open(file)?, command),
        Command::Grant(command) => grant::run(&Desk::open(file)?, command),
        Command::Request(command) => request::run(&Desk::open(file)?, command),
        Command::Lock(command) => lock::run(&Desk::open(file)?, command),
        Command::Lockdown(command) => lock::lockdown(&Desk::open(file)?, command),
        Command::Policy(command) => policy::run(file, &command),
        Command::Session(command) => session::run(&Desk::open(file)?, command),
        Command::WhoCan(arguments) => answers::who_can(&Desk::open(file)?, arguments),
        Command::WhoIs(arguments) => answers::who_is(&Desk::open(file)?, arguments),
        Command::WhoDid(arguments) => answers::who_did(&Desk::open(file)?, arguments),
        Command::Standing(arguments) => answers::standing(&Desk::open(file)?, arguments),
        Command::Review(arguments) => review::run(&Desk::open(file)?, arguments),
        Command::Recording(command) => recording::run(file, command),
        Command::Commands(arguments) => commands::run(&Desk::open(file)?, arguments),
        Command::Audit(command) => audit::run(&Desk::open(file)?, command),
        Command::State(command) => state::run(file, &command),
        Command::Backup(arguments) => backup::run(&Desk::open(file)?, &arguments),
        Command::Apply(arguments) => apply::run(&Desk::open(file)?, &arguments),
        Command::ClientConfig(arguments) => client_config::run(&Desk::open(file)?, &arguments),
        Command::HostCa => host_ca::run(&Desk::open(file)?),
        Command::Rdp(arguments) => rdp::run(&arguments),
        Command::RdpCertificate => host_ca::rdp_certificate(&Desk::open(file)?),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Witness(command) => witness::run(command),
        Command::Desktop => desktop::run(),
    }
}

fn serve(config: crate::config::Config) -> Result<(), CliError> {
    crate::telemetry::init(config.log.format, config.log.level)
        .map_err(|_| CliError::failed("cannot start the log: it is started already"))?;
    serve::run(config).map_err(|error| CliError::of_serve(&error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        // A secret on a command line is in every process listing.
        let help = |name: &str| {
            let mut command = Cli::command();
            let secret = command.find_subcommand_mut("secret").unwrap();
            secret.find_subcommand_mut(name).unwrap().render_long_help().to_string()
        };
        let shown = help("set");
        assert!(shown.contains("--private-key <FILE>") && shown.contains("--file <FILE>"), "{shown}");
        assert!(!shown.contains("--password <"), "{shown}");
    }
}
