//! `doorward recording`. The reading is done here; the administration records that it is done, and by whom.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::desk::{Desk, unexpected};
use super::fetch::{Source, parse_size};
use super::filter::FilterArguments;
use super::output::{Form, Table, clipped, json, listing, say, show_line};
use super::recorded::Archive;
use super::redact::Patterns;
use super::{CliError, evidence, export, prompt, replay, rewrap, times, verify};
use crate::admin::api::{HeldRow, RecordingRow, Reply, Request, SessionFilter};
use crate::auditor::Identity;
use crate::cast::Direction;
use crate::model::{ChannelNumber, SessionId, Timestamp};
use crate::screen::{counted, span_short};
use crate::store::{Catalog, StoreRoot};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List recordings, oldest first.
    List {
        #[command(flatten)]
        filter: FilterArguments,
        #[command(flatten)]
        form: Form,
    },
    /// Play a recording in the terminal.
    Replay {
        /// The session's id, as `recording list` shows it.
        session: SessionId,
        /// Faster or slower, such as 2 or 0.5.
        #[arg(long, default_value = "1", value_parser = replay::parse_speed)]
        speed: replay::Speed,
        /// Cut longer silences to this many seconds; off plays them in full.
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = idle_cap)]
        idle_cap: IdleCap,
        /// Where to start: seconds, m:ss or h:mm:ss.
        #[arg(long, value_name = "POSITION", value_parser = replay::parse_position)]
        at: Option<Duration>,
        /// Which channel [default: the first with a terminal, else the first].
        #[arg(long, value_name = "N")]
        channel: Option<u32>,
        /// Leave at the end instead of waiting for a key.
        #[arg(long)]
        quit: bool,
        #[command(flatten)]
        auditor: Auditor,
    },
    /// Fetch a sealed recording with its proofs into a directory, for `verify bundle` and for `--store`.
    ///
    /// Nothing is decrypted: to read it takes an identity that it is sealed for. From another machine, the bastion
    /// hands out what an `[[audit]]` rule of its policy lets you have.
    Get {
        /// The session's id, as `recording list` shows it.
        session: SessionId,
        /// The directory; it is made, or is empty.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Destroy the key of a recording: nobody can read it any more, and that is on record. It still verifies.
    Erase {
        /// The session's id, as `recording list` shows it.
        session: SessionId,
        /// Why; kept in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The second person who wants it erased; kept in the audit log. Doorward cannot ask them: see to it that they
        /// agree in writing.
        #[arg(long, value_name = "NAME")]
        approver: String,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Forbid that a recording is erased or removed, such as for a court.
    Hold {
        /// The session's id, as `recording list` shows it.
        session: SessionId,
        /// Why; kept in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// End the hold.
        #[arg(long)]
        release: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Remove old recordings, but those on hold; that is on record first. With `retention` under [recording] in the
    /// configuration, the server does it by itself, once a day.
    Gc {
        /// How old, such as 365d, or before which time [default: the configuration's `retention`].
        #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
        older_than: Option<Timestamp>,
        /// Only say which.
        #[arg(long)]
        dry_run: bool,
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
        /// Even those of the last 24 hours.
        #[arg(long)]
        even_today: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Seal recordings for other auditors, by one who can open them.
    ///
    /// Done where the state directory is:
    ///   recording rewrap SESSION... --identity OLD.key --to age1... --to age1...
    ///
    /// Or on the auditor's own machine, so that no identity comes to the bastion, on a copy of the state directory:
    ///   recording rewrap --all --store COPY --identity OLD.key --to age1... --out new.jsonl
    /// and then on the bastion:
    ///   recording rewrap --apply new.jsonl
    ///
    /// The envelope before is kept, for the bastion cannot see whether the new one opens. Once a new auditor has
    /// opened it, this destroys what is kept:
    ///   recording rewrap --all --drop-earlier --identity NEW.key
    #[command(verbatim_doc_comment)]
    Rewrap(rewrap::Arguments),
    /// Write a recording to standard output in another format.
    Export {
        /// The session's id, as `recording list` shows it.
        session: SessionId,
        /// The format, such as v2 for Debian's asciinema or txt to read it.
        #[arg(long, default_value = "v3")]
        format: ExportFormat,
        /// Which channel [default: the first with a terminal, else the first].
        #[arg(long, value_name = "N")]
        channel: Option<u32>,
        /// Which stream of the channel --format raw writes.
        #[arg(long, default_value = "stdout")]
        stream: Stream,
        /// Write an evidence bundle into DIR instead: the sealed recording, the proofs from the log, each channel's
        /// cast. `doorward verify bundle DIR` checks it anywhere.
        #[arg(long, value_name = "DIR", conflicts_with_all = ["format", "channel", "stream", "to", "redact"])]
        proof: Option<PathBuf>,
        /// Where --format segmented writes `index.json` and its segments; the directory is made, or is empty.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// Of a desktop, the moment of which --format png is the picture: seconds, m:ss or h:mm:ss [default: the last].
        #[arg(long, value_name = "POSITION", value_parser = replay::parse_position)]
        at: Option<Duration>,
        /// Keep pictures on the way to it in FILE, for --format png: later moments are then not drawn from the start. It is
        /// made if it is not there, and sealed so that it opens for whom the recording does. It is no evidence.
        #[arg(long, value_name = "FILE")]
        index: Option<PathBuf>,
        /// Cut what does not change on a desktop for longer than this many seconds; off films it in full.
        #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = idle_cap)]
        idle_cap: IdleCap,
        /// Leave out what matches a regular expression of this file, one a line: `[redacted]` stands in its place. Not found
        /// is what was printed in another order than it is read in: look at the export before you give it away.
        #[arg(long, value_name = "FILE")]
        redact: Option<PathBuf>,
        #[command(flatten)]
        auditor: Auditor,
    },
}

/// Whose recordings can be read.
#[derive(Debug, clap::Args)]
pub(super) struct Auditor {
    /// The file with your age identity; repeat it for more.
    #[arg(long = "identity", value_name = "FILE", required = true)]
    identities: Vec<PathBuf>,
    /// Read it although it is not what the log has, or no log vouches for it.
    #[arg(long)]
    even_unverified: bool,
    #[command(flatten)]
    place: Place,
}

/// Where recordings are, if not in the state directory of the configuration.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Read a copy of a state directory, or a fetched recording: no server is asked, and no log tells of it.
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    store: Option<PathBuf>,
    /// Fetch it with your `ssh` from a bastion whose policy lets you, such as ssh://eve@bastion.
    #[arg(long, value_name = "URL")]
    from: Option<Source>,
    /// The log's public key, or a file with it, to check what was fetched; without it the bastion vouches for itself.
    #[arg(long, value_name = "KEY|FILE", requires = "from")]
    vkey: Option<String>,
    /// What is fetched is not larger than this: a hostile bastion does not fill your disk.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = parse_size)]
    max_size: u64,
}

impl Place {
    /// Fetches a recording into an empty directory, and checks its proofs.
    fn fetch(&self, from: &Source, session: &SessionId, to: &Path) -> Result<(), CliError> {
        let key = self.vkey.as_deref().map(verify::log_key).transpose()?;
        from.fetch(session, to, self.max_size)?;
        evidence::check_fetched(to, session, key)
    }
}

impl Auditor {
    /// The recordings that these identities open. That one of them is read is on record first, unless it is a copy.
    fn archive(&self, file: Option<&Path>, session: &SessionId, purpose: &str) -> Result<Archive, CliError> {
        let identities = self.identities()?;
        if let Some(store) = &self.place.store {
            self.verified(store, session)?;
            return Ok(Archive { catalog: Catalog::new(StoreRoot::at(store)), identities, fetched: None });
        }
        if let Some(from) = &self.place.from {
            let fetched = tempfile::tempdir().map_err(|error| {
                CliError::failed("cannot make a temporary directory").because(&error).hint("set TMPDIR")
            })?;
            self.place.fetch(from, session, fetched.path())?;
            let catalog = Catalog::new(StoreRoot::at(fetched.path()));
            return Ok(Archive { catalog, identities, fetched: Some(fetched) });
        }
        let desk = Desk::open(file)?;
        desk.tell(read(session, purpose))?;
        self.verified(desk.store(), session)?;
        Ok(Archive { catalog: desk.catalog(), identities, fetched: None })
    }

    /// What is shown is what was recorded, unless the auditor wants it otherwise.
    fn verified(&self, store: &Path, session: &SessionId) -> Result<(), CliError> {
        match evidence::check_shown(store, session) {
            Err(error) if self.even_unverified => {
                say(format!("warning: UNVERIFIED: {}", error.what()));
                Ok(())
            }
            checked => checked,
        }
    }

    fn identities(&self) -> Result<Vec<Identity>, CliError> {
        read_identities(&self.identities)
    }
}

/// The identities in files.
pub(super) fn read_identities(files: &[PathBuf]) -> Result<Vec<Identity>, CliError> {
    let mut identities = Vec::new();
    for file in files {
        let text = prompt::from_file(file)?;
        let found = Identity::parse_file(&text).map_err(|error| {
            CliError::usage(format!("`{}` is not an identity file", file.display()))
                .because(&error)
                .hint("give the file that `age-keygen` wrote, or the one of `doorward init --make-auditor`")
        })?;
        identities.extend(found);
    }
    Ok(identities)
}

/// A form to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportFormat {
    /// asciicast v3, with everything that was recorded.
    V3,
    /// asciicast v2, for asciinema 2.
    V2,
    /// The text, safe to show.
    Txt,
    /// The exact bytes of one stream.
    Raw,
    /// For asciinema-player in a browser: many files in a directory, of which it loads what it plays.
    Segmented,
    /// Of a desktop: the picture of a moment.
    Png,
    /// Of a desktop: a film, made with ffmpeg.
    Webm,
    /// Of a desktop: a film, made with ffmpeg.
    Mp4,
}

/// A stream of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Stream {
    /// What the user sent.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The longest silence that is played.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdleCap(Option<Duration>);

fn idle_cap(text: &str) -> Result<IdleCap, String> {
    replay::parse_idle_cap(text).map(IdleCap)
}

pub(super) fn run(file: Option<&Path>, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { filter, form } => list(&Desk::open(file)?, filter.into(), form),
        Command::Erase { session, reason, approver, yes, form } => {
            if !yes {
                let question = format!("Destroy the key of `{session}`, so that nobody can ever read it?");
                prompt::confirm(&question, "give --yes if you are sure")?;
            }
            let outcome = serde_json::json!({ "session": session, "erased": true });
            told(&Desk::open(file)?, Request::RecordingErase { session, approver, reason }, form, &outcome)
        }
        Command::Hold { session, reason, release, form } => {
            let outcome = serde_json::json!({ "session": session, "held": !release });
            told(&Desk::open(file)?, Request::RecordingHold { session, on: !release, reason }, form, &outcome)
        }
        Command::Gc { older_than, dry_run, yes, even_today, form } => {
            let desk = Desk::open(file)?;
            let before = older_than.or_else(|| desk.retention().map(times::ago)).ok_or_else(|| {
                CliError::usage("it is not said how old recordings must be to be removed")
                    .hint("give --older-than 365d, or set `retention` under [recording] in doorward.toml")
            })?;
            if !yes && !dry_run {
                let question = format!("Remove every recording from before {}?", times::shown(before));
                prompt::confirm(&question, "look with --dry-run, then give --yes")?;
            }
            gc(&desk, Request::RecordingGc { before, dry_run, even_today }, form)
        }
        Command::Rewrap(arguments) => rewrap::run(file, &arguments),
        Command::Replay { session, speed, idle_cap, at, channel, quit, auditor } => {
            let archive = auditor.archive(file, &session, "replay")?;
            let at_end = if quit { replay::AtEnd::Quit } else { replay::AtEnd::Wait };
            let channel = channel.map(ChannelNumber);
            let options = replay::ReplayOptions { speed, idle_cap: idle_cap.0, at, channel, at_end };
            replay::run(&archive, &session, &options).map_err(|error| CliError::of(&error).maybe_hint(error.hint()))
        }
        Command::Get { session, to, place } => get(file, &session, &to, &place),
        Command::Export { session, proof: Some(to), auditor, .. } => {
            let identities = auditor.identities()?;
            let store = match (&auditor.place.store, &auditor.place.from) {
                (Some(store), _) => store.clone(),
                (None, Some(from)) => {
                    empty(&to)?;
                    auditor.place.fetch(from, &session, &to)?;
                    return evidence::open_fetched(identities, &session, &to);
                }
                (None, None) => {
                    let desk = Desk::open(file)?;
                    desk.tell(read(&session, "export"))?;
                    desk.store().to_owned()
                }
            };
            evidence::export(&store, identities, &session, &to)
        }
        Command::Export { session, format, channel, stream, proof: None, to, at, index, idle_cap, redact, auditor } => {
            let channel = channel.map(ChannelNumber);
            let redact = redact.as_deref().map(Patterns::read).transpose()?;
            let failed = |error: export::ExportError| CliError::of(&error).maybe_hint(error.hint());
            let shot = match format {
                ExportFormat::Png => Some(export::Shot::Png { at, index: index.clone() }),
                ExportFormat::Webm => Some(export::Shot::Film(export::desktop::Film::Webm, idle_cap.0)),
                ExportFormat::Mp4 => Some(export::Shot::Film(export::desktop::Film::Mp4, idle_cap.0)),
                ExportFormat::V3
                | ExportFormat::V2
                | ExportFormat::Txt
                | ExportFormat::Raw
                | ExportFormat::Segmented => None,
            };
            if index.is_some() && format != ExportFormat::Png {
                return Err(CliError::usage("--index is for --format png, the picture of a moment"));
            }
            if let Some(shot) = shot {
                if to.is_some() || redact.is_some() {
                    return Err(CliError::usage("pictures go to standard output, and nothing can be left out of them")
                        .hint("leave --to and --redact out"));
                }
                let archive = auditor.archive(file, &session, "export")?;
                return export::run_desktop(&archive, &session, channel, shot).map_err(failed);
            }
            let format = match (format, stream) {
                (ExportFormat::Segmented, _) => {
                    let to = to.ok_or_else(|| CliError::usage("a segmented export is many files: give --to DIR"))?;
                    empty(&to)?;
                    let archive = auditor.archive(file, &session, "export")?;
                    return export::run_segmented(&archive, &session, channel, redact.as_ref(), &to).map_err(failed);
                }
                (ExportFormat::V3 | ExportFormat::Png | ExportFormat::Webm | ExportFormat::Mp4, _) => {
                    export::Format::V3
                }
                (ExportFormat::V2, _) => export::Format::V2,
                (ExportFormat::Txt, _) => export::Format::Txt,
                (ExportFormat::Raw, Stream::Stdin) => export::Format::Raw(Direction::Stdin),
                (ExportFormat::Raw, Stream::Stdout) => export::Format::Raw(Direction::Stdout),
                (ExportFormat::Raw, Stream::Stderr) => export::Format::Raw(Direction::Stderr),
            };
            if to.is_some() {
                return Err(CliError::usage("--to is for --format segmented; other forms go to standard output"));
            }
            let archive = auditor.archive(file, &session, "export")?;
            let options = export::ExportOptions { format, channel, redact };
            export::run_stdout(&archive, &session, &options).map_err(failed)
        }
    }
}

/// Asks, and says in words or in JSON that it is done.
fn told(desk: &Desk, request: Request, form: Form, outcome: &serde_json::Value) -> Result<(), CliError> {
    if !form.json {
        return desk.tell(request);
    }
    let Reply::Done { .. } = desk.ask(request)? else {
        return Err(unexpected());
    };
    json(outcome)
}

/// Removes old recordings, and says which.
fn gc(desk: &Desk, request: Request, form: Form) -> Result<(), CliError> {
    let Reply::Removed { removed, kept, dry_run } = desk.ask(request)? else {
        return Err(unexpected());
    };
    if form.json {
        return json(&serde_json::json!({ "dry_run": dry_run, "removed": removed, "kept": kept }));
    }
    let done = if dry_run { "would remove" } else { "removed" };
    removed.iter().for_each(|session| show_line(format!("{done} {session}")));
    for HeldRow { session, hold } in &kept {
        show_line(format!("kept {session}: on hold by {} ({})", hold.by, hold.reason));
    }
    let recordings = counted(removed.len(), "recording");
    say(format!("{recordings} {}", if dry_run { "would be removed" } else { "removed" }));
    Ok(())
}

/// Fetches a sealed recording.
fn get(file: Option<&Path>, session: &SessionId, to: &Path, place: &Place) -> Result<(), CliError> {
    empty(to)?;
    let store = match (&place.store, &place.from) {
        (Some(store), _) => store.clone(),
        (None, Some(from)) => {
            place.fetch(from, session, to)?;
            evidence::fetched(session, to);
            return Ok(());
        }
        (None, None) => {
            let desk = Desk::open(file)?;
            desk.tell(read(session, "get"))?;
            desk.store().to_owned()
        }
    };
    evidence::write_sealed(&store, session, to)?;
    evidence::fetched(session, to);
    Ok(())
}

/// Makes a directory, or takes one that is empty.
fn empty(to: &Path) -> Result<(), CliError> {
    let failed = |error: &std::io::Error| {
        CliError::failed(format!("cannot make the directory `{}`", to.display())).because(error)
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(|error| failed(&error))?;
    if std::fs::read_dir(to).map_err(|error| failed(&error))?.next().is_some() {
        return Err(CliError::failed(format!("there is something in `{}`", to.display()))
            .hint("name a directory that does not exist"));
    }
    Ok(())
}

/// An ending may say why a session was refused, which is longer than a column; `--json` has all of it.
const END_CHARS_MAX: usize = 24;

fn read(session: &SessionId, purpose: &str) -> Request {
    Request::RecordingRead { session: session.clone(), purpose: purpose.to_owned() }
}

fn list(desk: &Desk, filter: SessionFilter, form: Form) -> Result<(), CliError> {
    let Reply::Recordings { recordings, erased, damaged } = desk.ask(Request::RecordingList { filter })? else {
        return Err(unexpected());
    };
    let mut table = Table::new(&[
        "SESSION",
        "USER",
        "DESTINATION",
        "STARTED",
        "LENGTH",
        "END",
        "CHANNELS",
        "KIB",
        "HELD",
        "REASON",
    ]);
    let mut rows: Vec<Row<'_>> = recordings.iter().map(Row::Recording).collect();
    rows.extend(erased.iter().map(|session| Row::Erased { session, erased: true }));
    // Ids are in the order of their making.
    rows.sort_by_key(|row| match row {
        Row::Recording(row) => &row.session,
        Row::Erased { session, .. } => session,
    });
    for row in &rows {
        let row = match row {
            Row::Recording(row) => row,
            Row::Erased { session, .. } => {
                let mut cells = [const { String::new() }; 10];
                let started = session.made().map(times::shown).unwrap_or_default();
                let known = [session.to_string(), String::from("<erased>"), String::from("<erased>"), started];
                cells.iter_mut().zip(known).for_each(|(cell, known)| *cell = known);
                table.row(cells);
                continue;
            }
        };
        table.row([
            row.session.to_string(),
            row.user.to_string(),
            row.destination.to_string(),
            times::shown(row.started),
            row.ended.map(|ended| span_short(row.started.until(ended))).unwrap_or_default(),
            clipped(&row.end, END_CHARS_MAX),
            row.channels.len().to_string(),
            row.bytes.div_ceil(1024).to_string(),
            row.held.as_ref().map(|hold| clipped(&hold.reason, END_CHARS_MAX)).unwrap_or_default(),
            row.reason.clone().unwrap_or_default(),
        ]);
    }
    for one in &damaged {
        say(format!("warning: {one}"));
    }
    listing(form, &rows, &table, "no recordings")
}

/// A line of `recording list`.
#[derive(Serialize)]
#[serde(untagged)]
enum Row<'a> {
    Recording(&'a RecordingRow),
    /// What is left of one that was erased.
    Erased {
        session: &'a SessionId,
        erased: bool,
    },
}
