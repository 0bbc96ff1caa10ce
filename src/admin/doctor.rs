//! `doctor`: looks at state, policy, clock and disk, and says what to do.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::api::{Finding, Health};
use super::backup::BackupState;
use super::{Admin, Caller, ClockDoubt, Synced, Via};
use crate::config::load_policy;
use crate::desktop::confine::{self, Files, Kernel};
use crate::grant::GrantState;
use crate::ledger::Target;
use crate::model::Timestamp;

use crate::recorder::{Recorder, RecorderError, SlowSyncs};
use crate::screen::{counted, plural};
use crate::store::Space;
use crate::witness::{Link, WitnessHealth};

/// What one sync writes: about a line of a recording.
const SYNC_BYTES: [u8; 4096] = [b'.'; 4096];
/// Syncing stops after so long, whatever was asked for.
const SYNC_TIME_MAX: Duration = Duration::from_secs(10);
/// This version was made later than this; a clock that shows less is wrong.
const MADE: i64 = 1_760_000_000_000;

const MAKE_ROOM: &str = "make room, or move `data` to a larger disk";

impl Admin {
    pub(super) fn doctor(&self, caller: Caller, syncs: u32) -> Vec<Finding> {
        let server = match caller.via {
            Via::Socket => good("server", format!("running, pid {}", std::process::id())),
            Via::Direct => warn("server", "not running", "start it with `doorward serve`"),
        };
        let mut findings =
            vec![server, self.state_found(), self.targets_found(), self.policy_found(), self.clock_found()];
        findings.push(self.synced_found());
        findings.push(self.log_found());
        findings.push(self.auditors_found());
        findings.extend(self.parts.recorder.as_ref().map(recorder_found));
        findings.extend(self.contested_found());
        findings.extend(self.witnesses_found());
        findings.extend(self.alerts_found());
        findings.extend(self.retention_found());
        findings.extend(self.backup_found());
        findings.extend(self.waste_found());
        findings.extend(self.desktops_found());
        findings.push(self.disk_found());
        findings.push(self.sync_found(syncs));
        findings
    }

    fn state_found(&self) -> Finding {
        let ledger = &self.parts.ledger;
        let now = self.now();
        let active = ledger.grants().iter().filter(|grant| grant.state(now) == GrantState::Active).count();
        let counted = |count: usize, noun| format!("{count} {}", plural(count, noun));
        match self.parts.vault.list() {
            Ok(secrets) => {
                let found = [
                    counted(ledger.users().len(), "user"),
                    counted(ledger.targets().len(), "target"),
                    counted(secrets.len(), "secret"),
                    counted(active, "active grant"),
                    counted(self.parts.sessions.list().len(), "live session"),
                ];
                good("state", found.join(", "))
            }
            Err(error) => bad("state", format!("the vault cannot be read: {error}"), "restore the state from a backup"),
        }
    }

    /// What keeps the processes of desktops to themselves, where there are any.
    fn desktops_found(&self) -> Option<Finding> {
        self.parts.config.rdp.as_ref()?;
        let Kernel { files, calls } = confine::kernel();
        let newer = "run a kernel of 6.12 or newer that has Landlock turned on";
        Some(match files {
            _ if !calls => bad(
                "desktops",
                "the kernel does not say that it filters system calls: without that, desktops are refused",
                "run a kernel with seccomp",
            ),
            Files::All => good("desktops", "their processes are confined by seccomp and Landlock"),
            Files::Some => warn("desktops", "their processes are confined by seccomp and some of Landlock", newer),
            Files::Nothing => warn("desktops", "their processes are confined by seccomp, without Landlock", newer),
        })
    }

    fn auditors_found(&self) -> Finding {
        let recording = &self.parts.config.recording;
        let count = recording.auditors.len();
        match &recording.insecure_identity {
            _ if count == 0 => bad(
                "auditors",
                "none: the server does not start, for nobody could read what it records",
                "name an age recipient in [recording] auditors; `age-keygen` prints one",
            ),
            // Metadata is enough: that the file is there is what is wrong.
            Some(file) if file.exists() => warn(
                "auditors",
                format!("the identity `{}` lies on this machine and opens every recording", file.display()),
                "take it to the auditor's machine, away from here, and its line out of the configuration",
            ),
            Some(_) | None => good("auditors", format!("{count} {}", plural(count, "recipient"))),
        }
    }

    fn targets_found(&self) -> Finding {
        let bare: Vec<String> = self
            .parts
            .ledger
            .targets()
            .into_iter()
            .filter(|target| target.host_keys.is_empty() && !target.address.is_empty())
            .map(|target| target.name.to_string())
            .collect();
        let unpinned = |target: &Target| target.desktop.as_ref().is_some_and(|desktop| desktop.pin.is_none());
        let blind = self.parts.ledger.targets().into_iter().filter(unpinned);
        let blind: Vec<String> = blind.map(|target| target.name.to_string()).collect();
        if bare.is_empty() && !blind.is_empty() {
            let found = format!("without a pinned certificate, so that nobody sees a desktop: {}", blind.join(", "));
            return warn("targets", found, "`doorward target scan --rdp NAME`");
        }
        if bare.is_empty() {
            return good("targets", "each has a pinned host key");
        }
        let found = format!("without a pinned host key, so that nobody can connect: {}", bare.join(", "));
        warn("targets", found, "`doorward target scan NAME`")
    }

    fn policy_found(&self) -> Finding {
        let force = self.parts.ledger.policy();
        let count = force.rules().count();
        let short: String = force.hash().as_str().chars().take(16).collect();
        let found = format!("{count} {} in force, hash {short}", plural(count, "rule"));
        let on_disk = load_policy(&self.parts.config).map(|loaded| loaded.set);
        match on_disk {
            Err(faults) => bad(
                "policy",
                format!("{found}; the files have {} {}", faults.len(), plural(faults.len(), "fault")),
                "`doorward check` shows them",
            ),
            Ok(set) if set.hash() != force.hash() => {
                warn("policy", format!("{found}; the files differ"), "`doorward policy reload`")
            }
            Ok(_) => good("policy", found),
        }
    }

    /// A clock that went back would lengthen grants; nothing that is stored may lie in the future.
    fn clock_found(&self) -> Finding {
        let now = self.now();
        let ledger = &self.parts.ledger;
        let granted = ledger
            .grants()
            .into_iter()
            .flat_map(|grant| [Some(grant.created), grant.revoked.map(|revoked| revoked.at)]);
        let keys = ledger.users().into_iter().flat_map(|user| user.keys).map(|key| Some(key.created));
        let secrets = self.parts.vault.list().unwrap_or_default().into_iter().map(|secret| Some(secret.created));
        let latest = granted.chain(keys).chain(secrets).flatten().max();
        let hint = "set the clock (`timedatectl`), and keep it by NTP";
        if now < Timestamp::from_millis(MADE) {
            return bad("clock", format!("{now} is before this version was made"), hint);
        }
        // Where nothing is removed by the clock, it does no harm.
        let doubt = self.parts.config.recording.retention.and_then(|_| self.clock_doubt());
        match (latest.filter(|latest| *latest > now), doubt) {
            (Some(latest), _) => bad("clock", format!("{now}, but something was stored at {latest}"), hint),
            (None, Some(doubt)) => {
                warn("clock", format!("{doubt}; `retention` removes nothing by it"), ClockDoubt::HINT)
            }
            (None, None) => good("clock", now.to_string()),
        }
    }

    /// Grants end by it, and what happened when is told by it.
    fn synced_found(&self) -> Finding {
        let synced = Synced::look(Path::new("/"), self.now());
        match synced.is_odd() {
            true => warn("clock sync", synced.to_string(), Synced::HINT),
            false => good("clock sync", synced.to_string()),
        }
    }

    /// What is on record must become provable.
    fn log_found(&self) -> Finding {
        let audit = &self.parts.audit;
        match audit.publish() {
            Ok(_) => good("audit log", format!("{} events, signed by {}", audit.size(), audit.key().name())),
            Err(error) => {
                let hint = error.hint().unwrap_or("look at the server's log");
                bad("audit log", format!("{} events are published, and no more: {error}", audit.size()), hint)
            }
        }
    }

    /// The server's recorder tells of it too; without a server this is all that does.
    fn contested_found(&self) -> Option<Finding> {
        let contested = self.parts.audit.contested();
        let all =
            contested.iter().map(|contest| format!("{}, since {}: {}", contest.witness, contest.since, contest.what));
        let why = all.collect::<Vec<_>>().join("; ");
        let hint = RecorderError::Contested { why: String::new() }.hint();
        (!why.is_empty()).then(|| bad("history", format!("contested, so that no session begins: {why}"), hint))
    }

    /// A witness that is away keeps nobody out, so that nothing else would show it.
    fn witnesses_found(&self) -> Vec<Finding> {
        let configured = self.parts.config.witnesses.len();
        if configured == 0 {
            let none = "none: if the log is put back to an earlier state, nobody else knows";
            return vec![good("witness", none)];
        }
        match self.witnesses.get() {
            Some(witnesses) => {
                let size = self.parts.audit.size();
                witnesses.health().iter().map(|health| witness_found(health, size)).collect()
            }
            None => vec![good("witness", format!("{}, asked while the server runs", counted(configured, "witness")))],
        }
    }

    fn alerts_found(&self) -> Option<Finding> {
        let alerts = &self.parts.alerts;
        let trouble = alerts.trouble().into_iter().map(|(way, why)| format!("{way}: {why}")).collect::<Vec<_>>();
        match alerts.ways() {
            0 => None,
            ways if trouble.is_empty() => Some(good("alerts", format!("told by {}", counted(ways, "way")))),
            _ => Some(warn(
                "alerts",
                format!("not told yet, by {}", trouble.join("; by ")),
                "look at the webhooks and the mail command in [notify]",
            )),
        }
    }

    /// Of the last run of a server; without one nothing is removed by itself.
    fn retention_found(&self) -> Option<Finding> {
        let hint = "`doorward recording gc` removes them at once";
        self.unretired().map(|why| warn("retention", format!("recordings are there whose time is over: {why}"), hint))
    }

    fn backup_found(&self) -> Option<Finding> {
        Some(match self.backup_state()? {
            BackupState::Good { made } => good("backup", format!("of {made}")),
            BackupState::Late { made } => {
                warn("backup", format!("the last is of {made}"), "the server makes them: does it run all day?")
            }
            BackupState::Failed { made, why, hint } => {
                let last = made.map_or(String::from("there is none"), |made| format!("the last is of {made}"));
                warn("backup", format!("{last}; {why}"), &hint)
            }
        })
    }

    /// The database keeps what was written over, and gives little of it back.
    fn waste_found(&self) -> Option<Finding> {
        let live = self.parts.vault.database().live_bytes().ok()?;
        waste(files_bytes(&self.parts.config.data.join("state")), live)
    }

    fn disk_found(&self) -> Finding {
        let data = &self.parts.config.data;
        match Space::at(data) {
            Err(error) => bad("disk", format!("cannot ask for free space of {}: {error}", data.display()), MAKE_ROOM),
            Ok(Space { free, total }) => space(free, self.parts.config.recording.free_min.of(total), data),
        }
    }

    /// Under strict durability each piece of output waits for such a sync.
    fn sync_found(&self, count: u32) -> Finding {
        let path = self.parts.config.data.join(format!("doctor-{}.tmp", std::process::id()));
        let times = self.time_syncs(&path, count);
        // Only a stray test file is lost if this fails.
        let _ = std::fs::remove_file(&path);
        let mut times = match times {
            Ok(times) => times,
            Err(error) => return bad("disk sync", format!("failed: {error}"), "look at the disk's errors (`dmesg`)"),
        };
        times.sort();
        let at = |percent: usize| {
            let last = times.len().saturating_sub(1);
            times.get(last.saturating_mul(percent).div_ceil(100)).copied().unwrap_or_default()
        };
        let (half, most) = (at(50), at(99));
        let found = format!("{} syncs: p50 {:.2} ms, p99 {:.2} ms", times.len(), millis(half), millis(most));
        if half < Duration::from_micros(20) {
            warn(
                "disk sync",
                format!("{found}; too fast to be true"),
                "this disk does not keep what it confirms (tmpfs, or a cache that lies): a power cut will lose recordings",
            )
        } else if most > Duration::from_millis(50) {
            warn(
                "disk sync",
                format!("{found}; users will feel it"),
                "use a disk with power-loss protection, or `durability = \"bounded\"` where the loss of the last moments may be borne",
            )
        } else {
            good("disk sync", found)
        }
    }

    fn time_syncs(&self, path: &Path, count: u32) -> std::io::Result<Vec<Duration>> {
        let clock = &self.parts.clock;
        let mut file = std::fs::OpenOptions::new().create_new(true).append(true).open(path)?;
        let begun = clock.instant();
        let mut times = Vec::new();
        for _ in 0..count.clamp(1, 10_000) {
            let before = clock.instant();
            file.write_all(&SYNC_BYTES)?;
            file.sync_data()?;
            times.push(before.elapsed());
            if begun.elapsed() > SYNC_TIME_MAX {
                break;
            }
        }
        Ok(times)
    }
}

/// Whether it takes sessions, and how often they waited for it.
fn recorder_found(recorder: &Recorder) -> Finding {
    let SlowSyncs { count, longest } = recorder.slow_syncs();
    let slow = format!(
        "since the start {} took 250 ms or more, the longest {:.0} ms",
        counted(count, "sync"),
        millis(longest)
    );
    match recorder.healthy() {
        Err(failure) => {
            let since = match recorder.outage() {
                Some((outage, true)) => format!(" since {}, which is on record", outage.since),
                Some((outage, false)) => format!(" since {}, which is not on record yet", outage.since),
                None => String::new(),
            };
            bad("recorder", format!("new sessions are refused{since}: {failure}; {slow}"), failure.hint())
        }
        Ok(()) if count > 0 => {
            warn("recorder", format!("takes sessions; {slow}"), "sessions wait for the disk: use a faster one")
        }
        Ok(()) => good("recorder", "takes sessions"),
    }
}

/// Whether one witness answers, and how much of the `size` leaves of the log it has signed for this server.
fn witness_found(health: &WitnessHealth, size: u64) -> Finding {
    let WitnessHealth { witness, url, cosigned, link, asked: _, alarm } = health;
    let signed = match cosigned {
        Some(cosigned) => format!("signed {cosigned} of {size} events since the start"),
        None => String::from("signed nothing since the start"),
    };
    if let Some(alarm) = alarm {
        let hint = RecorderError::Contested { why: String::new() }.hint();
        return bad("witness", format!("{witness} at {url}: {alarm}"), hint);
    }
    match link {
        Link::Good => good("witness", format!("{witness} {signed}")),
        Link::Untried => good("witness", format!("{witness} was not asked yet")),
        Link::Failing { why } => warn(
            "witness",
            format!("{witness} at {url} {signed}, and fails: {why}"),
            "meanwhile it cannot tell whether the log is put back; see to it that it runs and has the log's key",
        ),
    }
}

/// A database of less is left as it is, however little of it is live.
const STATE_BYTES_MIN: u64 = 64 << 20;
/// How many times what is live the database may be.
const STATE_TIMES_MAX: u64 = 50;

fn waste(bytes: u64, live: u64) -> Option<Finding> {
    let grown = bytes > STATE_BYTES_MIN && bytes / STATE_TIMES_MAX > live;
    let found = format!("{} MiB on disk, of which {} KiB are live", bytes >> 20, live.div_ceil(1024));
    let hint =
        "stop the server, `doorward state export`, move `state/` away, `doorward state import`: that makes it anew";
    grown.then(|| warn("state size", found, hint))
}

/// How many bytes the files of a directory have, as far as that can be told.
fn files_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let found = entry.metadata().ok()?;
        Some(if found.is_dir() { files_bytes(&entry.path()) } else { found.len() })
    });
    sizes.fold(0, u64::saturating_add)
}

/// The recorder refuses new sessions by the same limit.
fn space(free: u64, free_min: u64, data: &Path) -> Finding {
    let limit = format!("new sessions are refused below {} MiB", free_min >> 20);
    let found = format!("{} MiB free in {}; {limit}", free >> 20, data.display());
    if free < free_min {
        bad("disk", found, MAKE_ROOM)
    } else if free < free_min.saturating_mul(2) {
        warn("disk", found, MAKE_ROOM)
    } else {
        good("disk", found)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn good(what: &str, found: impl Into<String>) -> Finding {
    Finding { health: Health::Good, what: what.to_owned(), found: found.into(), hint: None }
}

fn warn(what: &str, found: impl Into<String>, hint: &str) -> Finding {
    Finding { health: Health::Warn, what: what.to_owned(), found: found.into(), hint: Some(hint.to_owned()) }
}

fn bad(what: &str, found: impl Into<String>, hint: &str) -> Finding {
    Finding { health: Health::Bad, what: what.to_owned(), found: found.into(), hint: Some(hint.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::KeyName;
    use crate::witness::Alarm;

    #[test]
    fn a_witness_that_fails_is_a_warning_and_one_that_saw_another_history_is_bad_even_if_it_answers() {
        let health = |link, alarm| WitnessHealth {
            witness: KeyName::parse("example.org/w").unwrap(),
            url: String::from("http://w.example"),
            cosigned: Some(7),
            link,
            asked: true,
            alarm,
        };
        let found = |link, alarm| {
            let Finding { health, found, .. } = witness_found(&health(link, alarm), 9);
            (health, found)
        };
        let failing = || Link::Failing { why: String::from("it refuses") };
        assert_eq!(
            found(Link::Good, None),
            (Health::Good, "example.org/w signed 7 of 9 events since the start".to_owned())
        );
        let (judged, told) = found(failing(), None);
        assert!(judged == Health::Warn && told.contains("http://w.example") && told.contains("it refuses"), "{told}");
        for link in [Link::Good, failing()] {
            let (judged, told) = found(link, Some(Alarm::RolledBack { theirs: 20, ours: 9 }));
            assert!(judged == Health::Bad && told.contains("signed 20"), "{told}");
        }
    }

    #[test]
    fn a_database_is_made_anew_when_it_is_large_and_hardly_any_of_it_is_live() {
        let said = |bytes: u64, live| waste(bytes << 20, live).is_some();
        assert!(said(65, 1 << 20) && said(500, 9 << 20));
        assert!(!said(64, 0) && !said(65, 2 << 20) && !said(500, 10 << 20));
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("blobs")).unwrap();
        for (name, bytes) in [("db", 700), ("blobs/1", 70)] {
            crate::durable::create_new(&folder.path().join(name), &vec![0; bytes], 0o600).unwrap();
        }
        assert_eq!(files_bytes(folder.path()), 770);
        assert_eq!(files_bytes(&folder.path().join("nowhere")), 0);
    }

    #[test]
    fn space_is_judged_by_the_limit_at_which_sessions_are_refused() {
        let health = |free| space(free, 2 << 30, Path::new("/data")).health;
        assert_eq!(
            (health((2 << 30) - 1), health(2 << 30), health(4 << 30)),
            (Health::Bad, Health::Warn, Health::Good)
        );
    }
}
