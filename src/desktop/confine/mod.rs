//! What a desktop's process gives up before it reads a byte of a peer: root, capabilities, files, other processes, all
//! ways to other machines than its two sockets, and the system calls by which it could have them back.
//!
//! What it does not guard against: who takes the process over has what the process has. That is the listener's key, both
//! sockets and the way to the bastion, on which it may say anything that a desktop may say; and they see and change what
//! passes in this one desktop. They can use the processor, and as much memory as one process may have.

mod calls;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope};
use rustix::mm::munlockall;
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, geteuid, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs, set_thread_gid,
    set_thread_groups, set_thread_uid,
};

/// What the kernel keeps the process from by Landlock. The filter of system calls holds beside it in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// Files, TCP, abstract sockets, and signals to others.
    All,
    /// Files, and not all of the rest.
    Some,
    /// Nothing: there is no Landlock in this kernel, or it is turned off.
    Nothing,
}

/// Why a process is not confined. It must not go on.
#[derive(Debug)]
pub enum NotConfined {
    /// A right cannot be given up.
    Right(&'static str, io::Error),
    /// The kernel has Landlock and does not set it.
    Files(RulesetError),
    /// The kernel does not set the filter of system calls.
    Calls(seccompiler::Error),
}

impl fmt::Display for NotConfined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Right(what, _) => write!(f, "a desktop's process cannot be confined: {what} cannot be set"),
            Self::Files(_) => f.write_str("a desktop's process cannot be confined: Landlock refuses"),
            Self::Calls(_) => f.write_str("a desktop's process cannot be confined: seccomp refuses"),
        }
    }
}

impl std::error::Error for NotConfined {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Right(_, error) => Some(error),
            Self::Files(error) => Some(error),
            Self::Calls(error) => Some(error),
        }
    }
}

/// Confines this process for good. Call it while there is one thread: another one keeps what it has.
///
/// # Errors
/// If the kernel refuses anything but Landlock as a whole. The process may have given up some of it by then, and must end.
pub fn confine() -> Result<Files, NotConfined> {
    let programs = calls::programs().map_err(NotConfined::Calls)?;
    give_up_rights()?;
    limit()?;
    let files = shut_files().map_err(NotConfined::Files)?;
    for program in &programs {
        seccompiler::apply_filter(program).map_err(NotConfined::Calls)?;
    }
    Ok(files)
}

/// The number of `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

fn give_up_rights() -> Result<(), NotConfined> {
    let right = |what| move |error: rustix::io::Errno| NotConfined::Right(what, error.into());
    if geteuid().is_root() {
        keep_memory_locked();
        // In a container whose only user is root there is no other; the rest holds there, too.
        let _ = set_thread_groups(&[]);
        let _ = set_thread_gid(Gid::from_raw(NOBODY));
        let _ = set_thread_uid(Uid::from_raw(NOBODY));
    }
    let none = CapabilitySet::empty();
    let _ = clear_ambient_capability_set();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(right("an empty set of capabilities"))?;
    set_no_new_privs(true).map_err(right("no_new_privs"))?;
    // Both are undone when the user changes, so they come behind that.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(right("dumpable"))?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(right("the signal of the parent's death"))
}

/// Root locks memory beyond the limit, and who is root no longer gets no memory at all beyond it.
fn keep_memory_locked() {
    let unlimited = Rlimit { current: None, maximum: None };
    if getrlimit(Resource::Memlock).current.is_some() && setrlimit(Resource::Memlock, unlimited).is_err() {
        let _ = munlockall();
    }
}

/// Address space: the largest picture is 256 MiB, and is there some times over while it is sent; each thread's heap and
/// stack set more aside than they use.
const ADDRESS_SPACE_BYTES: u64 = 4 << 30;

/// A desktop has some fifteen descriptors open.
const DESCRIPTORS: u64 = 48;

/// Limits that hold whatever the process asks for. One for its threads is missing: the kernel counts those of the user, who
/// is that of the server, and of the desktops of others.
const LIMITS: [(Resource, u64, &str); 4] = [
    (Resource::Core, 0, "the limit of core dumps"),
    (Resource::Fsize, 0, "the limit of what is written to files"),
    (Resource::Nofile, DESCRIPTORS, "the limit of descriptors"),
    (Resource::As, ADDRESS_SPACE_BYTES, "the limit of memory"),
];

fn limit() -> Result<(), NotConfined> {
    for (resource, most, what) in LIMITS {
        // A limit of the server's own that is lower stays.
        let most = getrlimit(resource).maximum.map_or(most, |found| found.min(most));
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).map_err(|error| NotConfined::Right(what, error.into()))?;
    }
    Ok(())
}

/// The rights that are taken away, of the newest version whose meaning is known here.
const LANDLOCK: ABI = ABI::V6;

/// No file, no TCP beyond what is connected, no abstract socket and no signal to others: there is no rule that allows any.
fn shut_files() -> Result<Files, RulesetError> {
    let rules = Ruleset::default().handle_access(AccessFs::from_all(LANDLOCK))?;
    let rules = rules.handle_access(AccessNet::from_all(LANDLOCK))?.scope(Scope::from_all(LANDLOCK))?;
    Ok(match rules.create()?.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Files::All,
        RulesetStatus::PartiallyEnforced => Files::Some,
        RulesetStatus::NotEnforced => Files::Nothing,
    })
}

/// What this kernel has to confine a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    /// What Landlock would keep it from.
    pub files: Files,
    /// Whether it ends processes that make other system calls than they may. Without it there are no desktops.
    pub calls: bool,
}

/// Where the kernel tells what its filters can do (seccomp(2)).
const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";

/// Looks what this kernel has.
pub fn kernel() -> Kernel {
    // Tried by a thread that ends with it: what it gives up is its own alone.
    let tried = std::thread::Builder::new().spawn(|| shut_files().unwrap_or(Files::Nothing));
    let files = tried.ok().and_then(|tried| tried.join().ok()).unwrap_or(Files::Nothing);
    let actions = std::fs::read_to_string(Path::new(ACTIONS)).unwrap_or_default();
    Kernel { files, calls: actions.split_whitespace().any(|action| action == "kill_process") }
}
