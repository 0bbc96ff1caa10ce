//! A menu without a screen: a numbered list, and a number on a line. On a terminal that is none (`TERM=dumb`) with an
//! echo of our own.

use bytes::Bytes;
use tokio::time::timeout;

use super::super::Refusal;
use super::super::verb::own;
use super::lines::{Lines, PROMPT, Typed, numbered, numbered_by};
use super::{End, PROGRESS_MAX, Shown};
use crate::ledger::Offers;
use crate::listener::IDLE_MAX;
use crate::model::ChannelEvent;
use crate::wire::channel::{Credit, PeerGone, Sink, Source};

/// Shows the list, and reads lines until one leads somewhere.
///
/// # Errors
/// How it ended, if it could not go on.
pub async fn show(mut shown: Shown<'_>) -> Result<End, End> {
    let offers = own::offers(shown.bastion, shown.visitor.user.asker()).await;
    let offers = offers.map_err(|why| End::Told(Refusal::Busy { what: "menu".into(), why }))?;
    let text = numbered(&offers, shown.bastion.clock.now());
    shown.put(if shown.terminal.is_some() { text.replace('\n', "\r\n") } else { text }).await?;
    if offers.list.is_empty() {
        return Ok(End::Left);
    }
    aside(&shown, PROMPT.to_owned()).await?;
    let mut lines = Lines::default();
    loop {
        let event = timeout(IDLE_MAX, shown.source.next()).await.map_err(|_| End::Told(Refusal::Idle))?;
        match event {
            None | Some(ChannelEvent::Close) => return Ok(End::Gone),
            Some(ChannelEvent::Eof) => return Ok(End::Left),
            Some(ChannelEvent::Data(data)) => {
                if let Some(end) = read(&mut shown, &offers, &mut lines, data).await? {
                    return Ok(end);
                }
            }
            Some(ChannelEvent::Stderr(data)) => shown.source.credit().consumed(data.len()),
            Some(ChannelEvent::Resize(size)) => {
                if let Some(terminal) = shown.terminal {
                    terminal.size = size;
                }
            }
            Some(
                ChannelEvent::Signal(_) | ChannelEvent::Break(_) | ChannelEvent::EndOfWrite | ChannelEvent::Exit(_),
            ) => {}
        }
    }
}

/// Reads what was typed; what stands behind a number that leads somewhere comes with it.
async fn read(shown: &mut Shown<'_>, offers: &Offers, lines: &mut Lines, mut data: Bytes) -> Result<Option<End>, End> {
    let (typed_here, all, mut echo) = (shown.terminal.is_some(), data.len(), String::new());
    while !data.is_empty() {
        let [byte, ..] = *data.split_to(1) else { break };
        match lines.byte(byte, typed_here) {
            Typed::Nothing => {}
            Typed::Char(c) => echo.push(c),
            Typed::Erased => echo.push_str("\x08 \x08"),
            Typed::Leave => return Ok(Some(End::Left)),
            Typed::Line(line) => {
                let text = match numbered_by(offers, &line) {
                    None => format!("type a number from 1 to {}, or leave with Ctrl-C", offers.list.len()),
                    Some(destination) => match shown.judge(&destination).await {
                        Err(text) => text,
                        Ok(()) => {
                            shown.source.credit().consumed(all.saturating_sub(data.len()));
                            return Ok(Some(End::Chosen(destination, data)));
                        }
                    },
                };
                let end = if typed_here { "\r\n" } else { "\n" };
                let begin = if typed_here { std::mem::take(&mut echo) + end } else { String::new() };
                aside(shown, format!("{begin}doorward: {text}{end}{PROMPT}")).await?;
            }
        }
    }
    shown.source.credit().consumed(all);
    if typed_here {
        shown.put(echo).await?;
    }
    Ok(None)
}

/// Says something that is no part of the list.
async fn aside(shown: &Shown<'_>, text: String) -> Result<(), End> {
    let event = if shown.terminal.is_some() { ChannelEvent::Data } else { ChannelEvent::Stderr };
    Ok(timeout(PROGRESS_MAX, shown.sink.send(event(text.into()))).await.unwrap_or(Err(PeerGone))?)
}
