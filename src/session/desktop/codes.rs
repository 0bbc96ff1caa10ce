//! What a user's program shows at the end: codes of the Set Error Info PDU (MS-RDPBCGR section 2.2.5.1.1).

use super::super::Refusal;
use super::super::registry::EndCause;
use crate::model::Timestamp;
use crate::rdp::control::Refused;

/// An administrator ended it.
const BY_ADMINISTRATOR: u32 = 0x0000_0001;
/// Nothing happened for too long.
const IDLE: u32 = 0x0000_0003;
/// Its time is over.
const TIME_LIMIT: u32 = 0x0000_0004;
/// The server does not take the connection.
const DENIED: u32 = 0x0000_0007;
/// The user may not.
const PRIVILEGES: u32 = 0x0000_0009;
/// The user has left.
const LOGOFF_BY_USER: u32 = 0x0000_000C;

/// Who proves nothing is told no more than that, whatever it was.
pub(super) fn stranger() -> Refused {
    Refused { code: PRIVILEGES, why: String::from("the login is not accepted") }
}

/// Why nothing begins.
pub(super) fn refused(refusal: &Refusal, now: Timestamp) -> Refused {
    // 126 is for what the user may not; the rest is for the operator to mend.
    let code = if refusal.status() == 126 { PRIVILEGES } else { DENIED };
    Refused { code, why: refusal.public_text(now) }
}

/// Why it ends.
pub(super) fn ended(cause: &EndCause, now: Timestamp) -> Refused {
    let code = match cause {
        EndCause::Time | EndCause::Hours | EndCause::Length => TIME_LIMIT,
        EndCause::Idle => IDLE,
        EndCause::UserLeft => LOGOFF_BY_USER,
        EndCause::Revoked
        | EndCause::Suspended
        | EndCause::LoginOver
        | EndCause::PolicyChanged
        | EndCause::Locked
        | EndCause::Unwatched
        | EndCause::Killed { .. }
        | EndCause::Shutdown
        | EndCause::RecorderFailed
        | EndCause::Fault
        | EndCause::TargetLeft => BY_ADMINISTRATOR,
    };
    Refused { code, why: cause.public_text(now) }
}
