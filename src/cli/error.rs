//! Why a command did not do what was asked, printed in one way.

use std::error::Error;
use std::io::ErrorKind;
use std::process::ExitCode;

use super::output::say;
use super::serve::ServeError;
use crate::admin::api::Failure;
use crate::admin::fault_lines;
use crate::home::HomeError;
use crate::model::InvalidName;
use crate::policy::Fault;

/// Why a command did not do what was asked: what failed, its causes, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    chain: Vec<String>,
    hints: Vec<String>,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Failed,
    Usage,
    /// What was verified is not as it should be.
    Verdict(u8),
    /// `EX_TEMPFAIL` of sysexits(3): somebody else holds the state's lock.
    Locked,
}

impl CliError {
    fn new(status: Status, what: impl Into<String>) -> Self {
        Self { chain: vec![what.into()], hints: Vec::new(), status }
    }

    /// Something failed, or the answer is no.
    pub(super) fn failed(what: impl Into<String>) -> Self {
        Self::new(Status::Failed, what)
    }

    /// The command line or a file is at fault.
    pub(super) fn usage(what: impl Into<String>) -> Self {
        Self::new(Status::Usage, what)
    }

    /// A report has said all; its verdict is the exit status.
    pub(super) fn verdict(status: u8) -> Self {
        Self { chain: Vec::new(), hints: Vec::new(), status: Status::Verdict(status) }
    }

    /// The same with a verdict for its status.
    pub(super) fn with_verdict(self, status: u8) -> Self {
        Self { status: Status::Verdict(status), ..self }
    }

    /// `error` and its causes.
    pub(super) fn of(error: &dyn Error) -> Self {
        Self::failed(error.to_string()).because_of(error.source())
    }

    /// The same with what to do.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// With this hint and no other.
    pub(super) fn only_hint(self, hint: impl Into<String>) -> Self {
        Self { hints: vec![hint.into()], ..self }
    }

    /// The same with what to do, if something can be done.
    pub(super) fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// The same with its cause and that one's causes.
    pub(super) fn because(self, cause: &dyn Error) -> Self {
        self.because_of(Some(cause))
    }

    fn because_of(mut self, mut cause: Option<&dyn Error>) -> Self {
        while let Some(error) = cause {
            let text = error.to_string();
            // Errors that show as their cause would say the same twice.
            if self.chain.last() != Some(&text) {
                self.chain.push(text);
            }
            cause = error.source();
        }
        self
    }

    /// What failed and its causes, in one line.
    pub(super) fn line(&self) -> String {
        self.chain.join(": ")
    }

    /// All faults of files that a person wrote.
    pub(super) fn of_faults(what: impl Into<String>, faults: &[Fault]) -> Self {
        let mut error = Self::usage(what);
        error.chain.extend(faults.iter().flat_map(fault_lines));
        error
    }

    /// The state directory cannot be used.
    pub(super) fn of_home(error: &HomeError) -> Self {
        let status = if matches!(error, HomeError::Locked { .. }) { Status::Locked } else { Status::Failed };
        Self { status, ..Self::of(error) }.maybe_hint(error.hint())
    }

    /// The server did not start.
    pub(super) fn of_serve(error: &ServeError) -> Self {
        match error {
            ServeError::Home(error) => Self::of_home(error),
            ServeError::Policy(faults) => {
                Self::of_faults(error.to_string(), faults).hint("`doorward check` tries the files without a server")
            }
            ServeError::Begin(error) => error.failure().into(),
            ServeError::Key(error) => Self::of(error).maybe_hint(error.hint()),
            ServeError::Db(error) => Self::of(error).maybe_hint(error.hint()),
            ServeError::Ledger(error) => Self::of(error).maybe_hint(error.hint()),
            ServeError::Audit(error) => Self::of(error).maybe_hint(error.hint()),
            ServeError::Requests(error) => Self::of(error),
            ServeError::Locks(error) => Self::of(error),
            ServeError::Removal(error) => error.failure().into(),
            ServeError::Recorder(error) => Self::of(error).hint(error.hint()),
            ServeError::Vault(error) => Self::of(error).maybe_hint(error.hint()),
            ServeError::Listen(_, cause) => Self::of(error).hint(listen_hint(cause.kind())),
            ServeError::Socket(_, cause) => Self::of(error).hint(socket_hint(cause.kind())),
            ServeError::NoAuditor(_) => Self { status: Status::Usage, ..Self::of(error) }
                .hint("nobody could read what is recorded: name an age recipient, age1..., as `age-keygen` prints it"),
            ServeError::System(_) | ServeError::Notify(_) => Self::of(error),
        }
    }

    /// What failed, without its causes.
    pub(super) fn what(&self) -> &str {
        self.chain.first().map_or("", String::as_str)
    }

    /// Prints `error:` with its causes, then each `hint:`.
    pub(super) fn print(&self) {
        let mut chain = self.chain.iter();
        // A report that has said all leaves nothing to say.
        let Some(what) = chain.next() else { return };
        say(format!("error: {what}"));
        for cause in chain {
            say(format!("  {cause}"));
        }
        for hint in &self.hints {
            say(format!("hint: {hint}"));
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.status {
            Status::Failed => 1,
            Status::Usage => 2,
            Status::Verdict(status) => status,
            Status::Locked => 75,
        })
    }
}

fn listen_hint(cause: ErrorKind) -> &'static str {
    if cause == ErrorKind::AddrInUse {
        "another program has this port (`ss -ltnp` shows which): stop it, or set `listen` to another port"
    } else if cause == ErrorKind::PermissionDenied {
        "ports below 1024 are for root: set `listen` to another port, such as 0.0.0.0:2222"
    } else if cause == ErrorKind::AddrNotAvailable {
        "set `listen` to an address of this host, or to 0.0.0.0:2222 for all of them"
    } else {
        "look at `listen` in the configuration"
    }
}

fn socket_hint(cause: ErrorKind) -> &'static str {
    if cause == ErrorKind::AddrInUse {
        "another server answers there: stop it, or set `socket` under [admin] to another path"
    } else {
        "`socket` under [admin] must lie in a directory that exists and is the server's own, such as /run/doorward"
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let status = if failure.usage { Status::Usage } else { Status::Failed };
        Self { chain: failure.chain, hints: failure.hints, status }
    }
}

impl From<InvalidName> for CliError {
    fn from(error: InvalidName) -> Self {
        Self::usage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_says_the_same_is_said_once() {
        let cause = InvalidName { kind: "user name", why: "x" };
        let error = CliError::failed(cause.to_string()).because(&cause);
        assert_eq!(error.chain, ["not a valid user name: x"]);
        assert_eq!(CliError::failed("cannot read").because(&cause).chain.len(), 2);
    }

    #[test]
    fn a_server_that_does_not_start_says_what_to_do() {
        let address = ([127, 0, 0, 1], 22).into();
        for kind in [ErrorKind::AddrInUse, ErrorKind::PermissionDenied, ErrorKind::AddrNotAvailable, ErrorKind::Other] {
            assert!(!CliError::of_serve(&ServeError::Listen(address, kind.into())).hints.is_empty());
            assert!(!CliError::of_serve(&ServeError::Socket("s".into(), kind.into())).hints.is_empty());
        }
        let in_use = CliError::of_serve(&ServeError::Listen(address, ErrorKind::AddrInUse.into()));
        assert!(in_use.hints[0].contains("another program"), "{in_use:?}");
        assert!(!CliError::of_serve(&ServeError::Policy(Vec::new())).hints.is_empty());
    }
}
