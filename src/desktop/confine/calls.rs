//! The system calls that a desktop's process may make. What is not in these tables ends the process at once.
//!
//! They are those of the libraries below it, and what is looked at is what the kernel sees: an argument that is a pointer is
//! not followed. None of them opens, makes or names anything that is not in the process already.

use std::collections::BTreeMap;

use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Calls that may be made with any arguments: they work on what is open, on the process's own memory and threads, and on
/// the time.
const FREE: &[i64] = &[
    // Bytes. There is no `sendmsg`: descriptors are taken from the bastion, and given to nobody.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_close,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Waiting for them.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
];

/// Calls that only the older of the two architectures has.
#[cfg(target_arch = "x86_64")]
const FREE_HERE: &[i64] = &[libc::SYS_epoll_wait];
#[cfg(not(target_arch = "x86_64"))]
const FREE_HERE: &[i64] = &[];

/// Calls that may be made with such an argument: its place, and what it must be.
const LIMITED: &[(i64, u8, Is)] = &[
    // A thread of this process: no process, and no name space.
    (libc::SYS_clone, 0, Is::Masked(THREAD_BITS, libc::CLONE_THREAD)),
    // Memory that code cannot be run from.
    (libc::SYS_mmap, 2, Is::Masked(libc::PROT_EXEC, 0)),
    (libc::SYS_mprotect, 2, Is::Masked(libc::PROT_EXEC, 0)),
    // What the standard library asks of descriptors that are open.
    (libc::SYS_fcntl, 1, Is::This(libc::F_GETFD)),
    (libc::SYS_fcntl, 1, Is::This(libc::F_GETFL)),
    (libc::SYS_fcntl, 1, Is::This(libc::F_DUPFD_CLOEXEC)),
    // The names of threads.
    (libc::SYS_prctl, 0, Is::This(libc::PR_SET_NAME)),
];

/// What is looked at when a thread is made.
const THREAD_BITS: i32 = libc::CLONE_THREAD
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// What an argument must be.
#[derive(Debug, Clone, Copy)]
enum Is {
    /// This number.
    This(i32),
    /// Of these bits, those.
    Masked(i32, i32),
}

/// Calls that fail, with such an error, and end nobody: the C library makes them, and goes on without.
const FAILING: &[(i64, i32)] = &[
    // Its flags are behind a pointer; `clone` is asked next, whose flags are not.
    (libc::SYS_clone3, libc::ENOSYS),
    // The allocator looks how the kernel counts memory before it gives some back.
    (libc::SYS_openat, libc::EACCES),
];

/// The filters, in the order in which they are to be set. The kernel asks each of them, and the strictest answer counts; the
/// last one forbids setting more.
pub(super) fn programs() -> Result<Vec<BpfProgram>, Error> {
    let mut programs = Vec::new();
    for (call, error) in FAILING {
        let answer = SeccompAction::Errno(error.unsigned_abs());
        programs.push(program([(*call, Vec::new())].into(), SeccompAction::Allow, answer)?);
    }
    let passing = FREE.iter().chain(FREE_HERE).chain(FAILING.iter().map(|(call, _)| call));
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = passing.map(|call| (*call, Vec::new())).collect();
    for (call, place, is) in LIMITED {
        calls.entry(*call).or_default().push(rule(*place, *is)?);
    }
    programs.push(program(calls, SeccompAction::KillProcess, SeccompAction::Allow)?);
    Ok(programs)
}

fn rule(place: u8, is: Is) -> Result<SeccompRule, BackendError> {
    let bits = |number: i32| u64::from(number.unsigned_abs());
    let (compare, value): (SeccompCmpOp, u64) = match is {
        Is::This(number) => (Eq, bits(number)),
        Is::Masked(mask, value) => (MaskedEq(bits(mask)), bits(value)),
    };
    SeccompRule::new(vec![SeccompCondition::new(place, SeccompCmpArgLen::Dword, compare, value)?])
}

fn program(
    calls: BTreeMap<i64, Vec<SeccompRule>>,
    other: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, Error> {
    let filter = SeccompFilter::new(calls, other, listed, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}
