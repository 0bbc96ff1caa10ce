//! `doorward session watch`: what a live session's terminal shows, drawn by the emulator that replays use, so that no byte of
//! the target's gets to the operator's terminal.

use std::fs::File;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::CliError;
use super::desk::{Desk, unexpected};
use super::output::{print, say};
use super::replay::{Console, Key};
use crate::admin::api::{Look, Reply, Request, SeenChannel, Sight};
use crate::model::{ChannelNumber, SessionId};
use crate::screen::{Painter, Screen, Size};

/// It is looked again so soon.
const EVERY: Duration = Duration::from_millis(200);

/// Writes what a desktop shows into a file.
pub(super) fn picture(desk: &Desk, session: SessionId, file: &Path) -> Result<(), CliError> {
    let sight = ask(desk, &Look { session, channel: None, pass: None, png: true })?;
    let png = sight.png.and_then(|png| STANDARD.decode(png).ok()).ok_or_else(unexpected)?;
    let failed = |error: std::io::Error| CliError::failed(format!("cannot write `{}`", file.display())).because(&error);
    // What is there is not overwritten: it may be the picture of a moment that nobody sees again.
    let mut written = File::create_new(file).map_err(failed)?;
    written.write_all(&png).map_err(failed)?;
    say(format!("{} is in `{}`", sight.title, file.display()));
    Ok(())
}

/// Shows a session until it ends or the operator leaves; without a terminal once, as text.
pub(super) fn run(desk: &Desk, session: SessionId, channel: Option<ChannelNumber>) -> Result<(), CliError> {
    let mut look = Look { session, channel, pass: None, png: false };
    let mut sight = ask(desk, &look)?;
    let Some(mut seen) = sight.channel.take() else { return Err(unexpected()) };
    if !seen.pty {
        return Err(CliError::failed(format!("channel {} has no terminal", seen.number))
            .hint("whom an audit rule lets watch sees it by SSH: ssh USER@BASTION session watch ID CHANNEL"));
    }
    if !std::io::stdout().is_terminal() {
        return print(&(drawn(&seen)?.text().join("\n").trim_end().to_owned() + "\n"));
    }
    (look.pass, look.channel) = (Some(sight.pass.clone()), Some(seen.number));
    let named = format!("watching {}  {}, channel {}  q leaves", look.session, sight.title, seen.number);
    let title = |cut: bool| match cut {
        true => format!("MAY BE INCOMPLETE: from the last 32 KiB  {named}"),
        false => named.clone(),
    };
    let broken = |error: std::io::Error| CliError::failed("the terminal cannot be used").because(&error);
    let mut console = Console::open().map_err(broken)?;
    let mut painter = Painter::new(console.size());
    let mut changed = true;
    loop {
        if painter.view() != console.size() {
            painter = Painter::new(console.size());
            changed = true;
        }
        if std::mem::take(&mut changed) {
            let mut out = String::new();
            painter.paint(&drawn(&seen)?, &title(seen.cut), &mut out);
            console.write(&out).map_err(broken)?;
        }
        if console.key(EVERY) == Some(Key::Quit) {
            return Ok(());
        }
        match ask(desk, &look)?.channel {
            Some(next) => changed = std::mem::replace(&mut seen, next) != seen,
            None => {
                drop(console);
                say("the channel is closed");
                return Ok(());
            }
        }
    }
}

fn ask(desk: &Desk, look: &Look) -> Result<Sight, CliError> {
    let Reply::Sight { sight } = desk.ask(Request::SessionWatch { look: look.clone() })? else {
        return Err(unexpected());
    };
    Ok(sight)
}

fn drawn(seen: &SeenChannel) -> Result<Screen, CliError> {
    let bytes = STANDARD.decode(&seen.tail).map_err(|_| unexpected())?;
    let mut screen = Screen::new(Size::bounded(seen.size.0, seen.size.1));
    screen.feed(&bytes);
    Ok(screen)
}
