//! Whether a program keeps the wall clock right, as far as its files tell.
//!
//! The kernel knows it (adjtimex(2), `STA_UNSYNC`), and no call that asks it is to be had here without unsafe code. So what
//! the programs that keep clocks leave under `/run` is looked at.
//!
//! What this does **not** guard against: whoever may write to `/run`; a program that keeps a wrong time; and where the host
//! keeps the clock of a container, nothing of that is seen inside. What is found is told; only
//! rules that ask for it (`synced_clock`) refuse by it.

use std::fmt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::audit::AuditEvent;
use crate::model::Timestamp;

/// The directory is there while systemd-timesyncd runs, and the file in it is touched each time it has set the clock
/// (systemd-timesyncd.service(8), "FILES").
const TIMESYNC: &str = "run/systemd/timesync";
const TIMESYNC_SET: &str = "run/systemd/timesync/synchronized";
/// It asks at least every 34 minutes unless it is told otherwise (timesyncd.conf(5), `PollIntervalMaxSec=`).
const STALE: Duration = Duration::from_secs(3600);
/// A file from later than this after now was made by another clock.
const AHEAD: Duration = Duration::from_secs(60);
/// Programs that tell only whoever asks them, the files with their process ids, and how to ask.
const OTHERS: [(&str, &[&str], &str); 2] = [
    ("chronyd", &["run/chrony/chronyd.pid", "run/chronyd.pid"], "chronyc tracking"),
    ("ntpd", &["run/ntpd.pid", "run/ntpsec/ntpd.pid"], "ntpq -p"),
];

/// What is known of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Synced {
    /// systemd-timesyncd has set the clock lately.
    Yes {
        /// When it did last.
        last: Timestamp,
    },
    /// systemd-timesyncd runs, and has not set the clock for long, or never since its start.
    No {
        /// When it did last.
        last: Option<Timestamp>,
    },
    /// A program runs that keeps it; only that one can tell how it stands.
    Untold {
        /// Which one.
        by: &'static str,
        /// The command that asks it.
        ask: &'static str,
    },
    /// No program was found that keeps it.
    Unkept,
}

impl Synced {
    /// Looks, at the files under `root`.
    pub fn look(root: &Path, now: Timestamp) -> Self {
        if root.join(TIMESYNC).is_dir() {
            let last = modified(&root.join(TIMESYNC_SET));
            return match last {
                Some(last) if last.until(now) <= STALE && now.until(last) <= AHEAD => Self::Yes { last },
                last => Self::No { last },
            };
        }
        let runs = |files: &&[&str]| files.iter().any(|file| is_running(root, &root.join(file)));
        let other = OTHERS.iter().find(|(_, files, _)| runs(files));
        other.map_or(Self::Unkept, |(by, _, ask)| Self::Untold { by, ask })
    }

    /// In one word, for the log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Yes { .. } => "synchronised",
            Self::No { .. } => "not-synchronised",
            Self::Untold { .. } => "untold",
            Self::Unkept => "unkept",
        }
    }

    /// Whether somebody should look at it.
    pub fn is_odd(&self) -> bool {
        match self {
            Self::No { .. } | Self::Unkept => true,
            Self::Yes { .. } | Self::Untold { .. } => false,
        }
    }

    /// What goes on record, if it stands otherwise than before.
    pub fn since(&self, before: &Self) -> Option<AuditEvent> {
        let event = || AuditEvent::ClockSync { state: self.word().to_owned(), detail: self.to_string() };
        (self.word() != before.word()).then(event)
    }

    /// What to do where it is odd.
    pub const HINT: &'static str = "keep it by NTP, such as systemd-timesyncd or chronyd; where the host keeps the clock of this container or \
         machine, look there";
}

impl fmt::Display for Synced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes { last } => write!(f, "synchronised by systemd-timesyncd, last at {last}"),
            Self::No { last: Some(last) } => write!(f, "systemd-timesyncd runs, and has set it last at {last}"),
            Self::No { last: None } => f.write_str("systemd-timesyncd runs, and has not synchronised it since its start"),
            Self::Untold { by, ask } => write!(f, "{by} runs; whether it is synchronised tells `{ask}`"),
            Self::Unkept => f.write_str(
                "no program was found that synchronises it: systemd-timesyncd, chronyd and ntpd were looked for under /run",
            ),
        }
    }
}

fn modified(file: &Path) -> Option<Timestamp> {
    let modified = std::fs::metadata(file).and_then(|facts| facts.modified()).ok()?;
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since.as_millis()).ok()?))
}

/// Whether the process whose id stands in the file is there.
fn is_running(root: &Path, file: &Path) -> bool {
    let id = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    id.is_some_and(|id| root.join("proc").join(id.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        crate::durable::create_new(&file, text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn what_programs_leave_tells_how_the_clock_stands() {
        let dir = tempfile::tempdir().unwrap();
        let (root, now) = (dir.path(), crate::clock::Clock::system().now());
        assert_eq!(Synced::look(root, now), Synced::Unkept);
        // One that has died has left its file.
        put(root, "run/chrony/chronyd.pid", "4711\n");
        assert_eq!(Synced::look(root, now), Synced::Unkept);
        std::fs::create_dir_all(root.join("proc/4711")).unwrap();
        assert!(matches!(Synced::look(root, now), Synced::Untold { by: "chronyd", .. }));
        std::fs::create_dir_all(root.join(TIMESYNC)).unwrap();
        assert_eq!(Synced::look(root, now), Synced::No { last: None });
        put(root, TIMESYNC_SET, "");
        let last = modified(&root.join(TIMESYNC_SET)).unwrap();
        assert_eq!(Synced::look(root, last), Synced::Yes { last });
        assert_eq!(Synced::look(root, last.plus(STALE)), Synced::Yes { last });
        let late = Timestamp::from_millis(last.plus(STALE).as_millis() + 1);
        assert_eq!(Synced::look(root, late), Synced::No { last: Some(last) });
        // The clock was set back: what the file says is of another time.
        assert_eq!(Synced::look(root, last.minus(STALE)), Synced::No { last: Some(last) });
    }

    #[test]
    fn only_a_change_goes_on_record() {
        let (at, later) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
        let (yes, no) = (Synced::Yes { last: at }, Synced::No { last: Some(at) });
        assert_eq!(Synced::Yes { last: later }.since(&yes), None);
        let Some(AuditEvent::ClockSync { state, detail }) = no.since(&yes) else { panic!("nothing on record") };
        assert_eq!((state.as_str(), detail.contains("has set it last")), ("not-synchronised", true));
        assert!(no.is_odd() && Synced::Unkept.is_odd() && !yes.is_odd());
    }
}
