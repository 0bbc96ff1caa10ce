//! `doorward target`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::CliError;
use super::desk::{Desk, unexpected};
use super::output::{Form, Table, listing, say};
use super::user::{read_keys, read_text};
use super::{apply, prompt};
use crate::admin::api::{HostKey, Reply, Request, TargetChange};
use crate::admin::import;
use crate::admin::inventory::check_label;
use crate::ledger::{DesktopChange, Target, certificate_fingerprint, public_key};
use crate::model::{AccountName, TargetName, join};
use crate::rdp::control::Pin;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Add a target.
    Add {
        /// The name that users type, such as db1.
        target: TargetName,
        /// Where its SSH is: host:port; port 22 if none is given. A target with --rdp may do without.
        #[arg(long, value_name = "HOST:PORT", required_unless_present = "rdp")]
        address: Option<String>,
        /// A label that rules ask for; repeat it for more.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// A file with its host keys (/etc/ssh/ssh_host_*_key.pub); repeat it for more. Or use `target scan`.
        #[arg(long = "host-key", value_name = "FILE")]
        host_keys: Vec<PathBuf>,
        /// An account that is known to be there, for listings; repeat it for more.
        #[arg(long = "account", value_name = "ACCOUNT")]
        accounts: Vec<AccountName>,
        /// Let the bastion speak SHA-1, CBC and short groups with it: for old network gear that has nothing else.
        #[arg(long)]
        insecure_algorithms: bool,
        #[command(flatten)]
        desktop: DesktopArguments,
    },
    /// Change a target; what is not named stays.
    Set {
        /// The target's name, such as db1.
        target: TargetName,
        /// Where its SSH is: host:port; port 22 if none is given. The pinned host keys stay.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// A label to set; repeat it for more.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// A label to take away; repeat it for more.
        #[arg(long = "remove-label", value_name = "KEY")]
        remove_labels: Vec<String>,
        /// Files with all its host keys from now on.
        #[arg(long = "host-key", value_name = "FILE")]
        host_keys: Vec<PathBuf>,
        /// All accounts from now on.
        #[arg(long = "account", value_name = "ACCOUNT")]
        accounts: Vec<AccountName>,
        /// Whether the bastion may speak SHA-1, CBC and short groups with it: for old network gear.
        #[arg(long, value_name = "true|false")]
        insecure_algorithms: Option<bool>,
        #[command(flatten)]
        desktop: DesktopArguments,
    },
    /// List targets.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Remove a target, its secrets and the grants to it, and end its live sessions. Recordings stay.
    Remove {
        /// The target's name, such as db1.
        target: TargetName,
    },
    /// Ask the target for its host keys, or its certificate, show their fingerprints, and pin them once confirmed.
    Scan {
        /// The target's name, such as db1.
        target: TargetName,
        /// Its certificate for RDP in place of its host keys.
        #[arg(long)]
        rdp: bool,
        /// Pin without asking, if the target shows exactly this key; repeat it for more. For scripts.
        #[arg(long = "yes-fingerprint", value_name = "SHA256:...")]
        fingerprints: Vec<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Add targets from another program's file; shows the difference first.
    Import {
        /// The file, such as ~/.ssh/known_hosts, or - for standard input.
        file: PathBuf,
        /// Which program's file it is, such as known-hosts.
        #[arg(long)]
        format: Source,
        /// A label for all of them; repeat it for more.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Let the file change the address and host keys of targets that exist; else these are skipped.
        #[arg(long)]
        overwrite: bool,
        #[command(flatten)]
        consent: apply::Consent,
    },
}

/// How a target is reached over RDP.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DesktopArguments {
    /// Where its RDP is: host:port; port 3389 if none is given.
    #[arg(long, value_name = "HOST:PORT")]
    rdp: Option<String>,
    /// The SHA-256 of its certificate; repeat it for the next one. Or use `target scan --rdp`.
    #[arg(long = "certificate", value_name = "sha256:...", conflicts_with = "ca")]
    certificates: Vec<String>,
    /// The certificate of the authority that signs its certificate, in PEM; needs --name.
    #[arg(long, value_name = "FILE", requires = "certificate_name")]
    ca: Option<PathBuf>,
    /// The name in its certificate.
    #[arg(long = "name", id = "certificate_name", value_name = "NAME", requires = "ca")]
    certificate_name: Option<String>,
    /// Log in without NLA if it has none. If it does not take the password, it may show a login box in which a user can type another's.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_tls_only: Option<bool>,
    /// The Windows domain of its accounts.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
}

impl DesktopArguments {
    fn read(self) -> Result<DesktopChange, CliError> {
        let Self { rdp, certificates, ca, certificate_name, allow_tls_only, domain } = self;
        let pin = match (ca, certificate_name) {
            (Some(file), Some(name)) => Some(Pin::Authority { pem: read_text(&file)?, name }),
            (Some(_), None) | (None, Some(_) | None) => {
                Some(certificates).filter(|all| !all.is_empty()).map(Pin::Fingerprints)
            }
        };
        Ok(DesktopChange { address: rdp, pin, allow_tls_only, domain })
    }
}

/// What file an import reads.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Source {
    /// OpenSSH's known_hosts.
    KnownHosts,
    /// An Ansible inventory in INI form.
    Ansible,
    /// A table: name, address, accounts, host_key, label.KEY.
    Csv,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE, such as env=prod")?;
    check_label(key, value)?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::Add { target, address, labels, host_keys, accounts, insecure_algorithms, desktop } => {
            let target = Target {
                name: target,
                address: address.unwrap_or_default(),
                labels: labels.into_iter().collect(),
                host_keys: read_host_keys(&host_keys)?,
                accounts: accounts.into_iter().collect(),
                insecure_algorithms,
                desktop: desktop
                    .read()?
                    .of(None)
                    .map_err(|error| CliError::usage(error.to_string()).hint("--rdp HOST:PORT"))?,
            };
            desk.tell(Request::TargetAdd { target })
        }
        Command::Set { target, address, labels, remove_labels, host_keys, accounts, insecure_algorithms, desktop } => {
            let change = TargetChange {
                address,
                set_labels: labels.into_iter().collect(),
                remove_labels: remove_labels.into_iter().collect(),
                host_keys: Some(read_host_keys(&host_keys)?).filter(|keys| !keys.is_empty()),
                accounts: Some(accounts.into_iter().collect()).filter(|accounts: &BTreeSet<_>| !accounts.is_empty()),
                insecure_algorithms,
                desktop: desktop.read()?,
            };
            if change == TargetChange::default() {
                return Err(CliError::usage("nothing to change").hint("`doorward target set --help` shows what can be"));
            }
            desk.tell(Request::TargetSet { target, change })
        }
        Command::List { form } => list(desk, form),
        Command::Remove { target } => desk.tell(Request::TargetRemove { target }),
        Command::Scan { target, rdp: true, fingerprints, form } => scan_desktop(desk, target, &fingerprints, form),
        Command::Scan { target, rdp: false, fingerprints, form } => scan(desk, target, &fingerprints, form),
        Command::Import { file, format, labels, overwrite, consent } => {
            let text = read_text(&file)?;
            let mut import = match format {
                Source::KnownHosts => import::known_hosts(&text),
                Source::Ansible => import::ansible(&text),
                Source::Csv => import::csv(&text),
            };
            import.label(&labels.into_iter().collect::<BTreeMap<_, _>>());
            let moved = if overwrite { apply::Moved::Overwritten } else { apply::Moved::Skipped };
            apply::import(desk, &file, import, moved, consent)
        }
    }
}

/// Host keys from `.pub` files, or from what `ssh-keyscan` prints: there each line begins with the host.
fn read_host_keys(files: &[PathBuf]) -> Result<Vec<String>, CliError> {
    let key = |line: String| match (public_key(&line), line.split_once(' ')) {
        (Err(_), Some((_, rest))) if public_key(rest).is_ok() => rest.to_owned(),
        (Ok(_) | Err(_), _) => line,
    };
    Ok(read_keys(files)?.into_iter().map(key).collect())
}

fn list(desk: &Desk, form: Form) -> Result<(), CliError> {
    let Reply::Targets { targets } = desk.ask(Request::TargetList {})? else {
        return Err(unexpected());
    };
    let mut table =
        Table::new(&["TARGET", "ADDRESS", "RDP", "LABELS", "HOST KEYS", "ALGORITHMS", "ACCOUNTS WITH SECRET"]);
    for row in &targets {
        let labels = join(row.labels.iter().map(|(key, value)| format!("{key}={value}")));
        let insecure = if row.insecure_algorithms { "INSECURE" } else { "sound" };
        let desktop = row.desktop.as_ref().map_or_else(String::new, |desktop| {
            let pinned = if desktop.pin.is_some() { "" } else { " (no certificate pinned)" };
            format!("{}{pinned}", desktop.address)
        });
        let keys = if row.host_keys.is_empty() { "none pinned".to_owned() } else { row.host_keys.len().to_string() };
        table.row([
            row.name.to_string(),
            row.address.clone(),
            desktop,
            labels,
            keys,
            insecure.to_owned(),
            join(&row.accounts_with_secret),
        ]);
    }
    listing(form, &targets, &table, "no targets; `doorward target add NAME --address HOST:PORT` adds one")
}

fn scan(desk: &Desk, target: TargetName, confirmed: &[String], form: Form) -> Result<(), CliError> {
    let Reply::HostKeys { address, found, pinned } = desk.ask(Request::TargetScan { target: target.clone() })? else {
        return Err(unexpected());
    };
    let shown: Vec<Shown<'_>> = found.iter().map(|key| Shown { key, pinned: pinned.contains(key) }).collect();
    let mut table = Table::new(&["ALGORITHM", "FINGERPRINT", "PINNED"]);
    for Shown { key, pinned } in &shown {
        let known = if *pinned { "yes" } else { "no" };
        table.row([key.algorithm.clone(), key.fingerprint.clone(), known.to_owned()]);
    }
    say(format!("{target} at {address} shows:"));
    listing(form, &shown, &table, "no key")?;
    if !found.is_empty() && found.iter().all(|key| pinned.contains(key)) {
        say("all of them are pinned already");
        return Ok(());
    }
    if !pinned.is_empty() && !found.iter().any(|key| pinned.contains(key)) {
        say("WARNING: none of these is pinned: the target was reinstalled, or another one answers in its place");
    }
    let keys: Vec<HostKey> = if confirmed.is_empty() {
        let question = format!("Do these fingerprints match what `{target}` itself shows? Pin them?");
        prompt::confirm(&question, "compare the fingerprints, then give each with --yes-fingerprint")?;
        found
    } else {
        chosen(&found, confirmed)?
    };
    let host_keys = Some(keys.into_iter().map(|key| key.key).collect());
    desk.tell(Request::TargetSet { target, change: TargetChange { host_keys, ..TargetChange::default() } })
}

fn scan_desktop(desk: &Desk, target: TargetName, confirmed: &[String], form: Form) -> Result<(), CliError> {
    let reply = desk.ask(Request::TargetScanDesktop { target: target.clone() })?;
    let Reply::Certificate { address, sha256, nla, pinned } = reply else {
        return Err(unexpected());
    };
    let fingerprint = format!("sha256:{sha256}");
    let mut table = Table::new(&["CERTIFICATE", "NLA", "PINNED"]);
    let word = |yes: bool| String::from(if yes { "yes" } else { "no" });
    table.row([fingerprint.clone(), word(nla), word(pinned)]);
    say(format!("{target} at {address} shows:"));
    listing(form, &[ShownCertificate { certificate: &fingerprint, nla, pinned }], &table, "no certificate")?;
    if !nla {
        say("it does not speak NLA: nobody is logged in to it unless it is set so (--allow-tls-only)");
    }
    if pinned {
        say("it is pinned already");
        return Ok(());
    }
    if confirmed.is_empty() {
        let question = format!("Is this the certificate of `{target}` itself? Pin it?");
        prompt::confirm(&question, "compare the fingerprint, then give it with --yes-fingerprint")?;
    } else {
        let same = |text: &String| certificate_fingerprint(text).is_ok_and(|hex| hex == sha256);
        if !confirmed.iter().all(same) {
            return Err(CliError::failed("the target shows another certificate; nothing was pinned")
                .hint("another machine may answer in its place: find out before anything else"));
        }
    }
    let desktop = DesktopChange { pin: Some(Pin::Fingerprints(vec![sha256])), ..DesktopChange::default() };
    desk.tell(Request::TargetSet { target, change: TargetChange { desktop, ..TargetChange::default() } })
}

/// A certificate that a target shows, and whether it is pinned.
#[derive(serde::Serialize)]
struct ShownCertificate<'c> {
    certificate: &'c str,
    nla: bool,
    pinned: bool,
}

/// A host key that a target shows, and whether it is pinned.
#[derive(serde::Serialize)]
struct Shown<'k> {
    #[serde(flatten)]
    key: &'k HostKey,
    pinned: bool,
}

/// The keys with the confirmed fingerprints; each of them must be there.
fn chosen(found: &[HostKey], confirmed: &[String]) -> Result<Vec<HostKey>, CliError> {
    let one = |fingerprint: &String| {
        let key = found.iter().find(|key| key.fingerprint == *fingerprint);
        key.cloned().ok_or_else(|| {
            CliError::failed(format!("the target does not show {fingerprint}; nothing was pinned"))
                .hint("another machine may answer in its place: find out before anything else")
        })
    };
    confirmed.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_the_machine_shows_are_pinned() {
        let key = |fingerprint: &str| HostKey {
            algorithm: "ssh-ed25519".into(),
            fingerprint: fingerprint.into(),
            key: "k".into(),
        };
        let found = [key("SHA256:a"), key("SHA256:b")];
        assert_eq!(chosen(&found, &["SHA256:b".to_owned()]).unwrap(), [key("SHA256:b")]);
        assert!(chosen(&found, &["SHA256:b".to_owned(), "SHA256:c".to_owned()]).is_err());
    }

    #[test]
    fn labels_have_a_key_and_a_value() {
        assert_eq!(label("env=prod=eu").unwrap(), ("env".to_owned(), "prod=eu".to_owned()));
        assert!(label("env").is_err() && label("=x").is_err() && label("env=").is_err());
    }
}
