//! Four eyes: what is asked for in a session that nobody else watches waits until somebody does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::channel::{CLOSE_TIMEOUT, say_no};
use super::menu::TypedAhead;
use super::{Attempt, Beforehand, Live, Refusal, Visit};
use crate::listener::{ChannelStart, UserSource};
use crate::model::{Asked, ChannelEvent, Destination, Program};
use crate::policy::Oversight;
use crate::wire::channel::{Sink, Source};

/// Somebody must come to watch within this time.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// What has waited for somebody who watches.
pub struct Waited {
    start: ChannelStart,
    destination: Destination,
    program: Program,
    ahead: TypedAhead,
}

impl Visit {
    /// Whether what is asked for must wait until somebody watches the session.
    pub(super) fn must_be_watched(&self, live: &Live, destination: &Destination, asked: &[Asked]) -> bool {
        let (user, ledger, now) = (&self.connection.user, &self.bastion.ledger, self.bastion.clock.now());
        // What is not permitted is refused in a moment.
        // Asked as the channel will be: what a session keeps that has begun counts here too.
        let asker = self.visitor.asker();
        let permits = asked.iter().filter_map(|asked| ledger.permit_asked(asker, destination, asked, now).ok());
        let oversight = permits.fold(Oversight::default(), |all, permit| all.strictest(permit.oversight()));
        let person = ledger.user(user.user()).map(|user| user.human().clone());
        live.registration.watch_over(oversight, person)
    }

    /// Lets it wait; then it is asked for again.
    pub(super) fn wait_for_watcher(
        &mut self,
        mut start: ChannelStart,
        destination: Destination,
        program: Program,
        ahead: TypedAhead,
    ) {
        let Some(live) = &self.live else { return };
        let (pause, session) = (live.registration.pause(), live.id.clone());
        self.mark(format!("{} waits until somebody watches", Attempt::program(&program, &destination).text()));
        let bastion = Arc::clone(&self.bastion);
        let (waited, over, now) = (self.waited.0.clone(), self.over.child_token(), self.bastion.clock.now());
        self.channels.spawn(async move {
            // The reply comes first: while the listener waits for it, it does not hear that the user leaves.
            let _ = std::mem::replace(&mut start.started, oneshot::channel().0).send(());
            if start.terminal.is_some() {
                let line = format!("\r\ndoorward: session {session} begins once somebody watches it\r\n");
                let _ = timeout(CLOSE_TIMEOUT, start.sink.send(ChannelEvent::Data(Bytes::from(line)))).await;
            }
            let mut kept = Vec::new();
            let given_up = tokio::select! {
                () = pause.over() => None,
                () = over.cancelled() => return Ok(()),
                () = left(&mut start.source, &mut kept) => Some(false),
                () = sleep(WAIT_MAX) => Some(true),
            };
            if let Some(in_time) = given_up {
                if in_time {
                    say_no(&start.sink, start.terminal.is_some(), Refusal::Unwatched.told(now), None).await;
                }
                // What waited held the whole session: what else is open in it goes on.
                drop(start);
                bastion.sessions.judge(&session, &bastion.ledger, bastion.clock.now());
                return Ok(());
            }
            kept.into_iter().for_each(|event| start.source.put_back(event));
            tokio::select! {
                _ = waited.send(Waited { start, destination, program, ahead }) => {}
                () = over.cancelled() => {}
            }
            Ok(())
        });
    }

    /// Somebody watches: what has waited is judged anew.
    pub(super) async fn watched(&mut self, waited: Waited) {
        let Waited { start, destination, program, ahead } = waited;
        let (visitor, asked) = (Arc::clone(&self.visitor), Attempt::program(&program, &destination));
        let begun = match self.standing() {
            Ok(()) => self.begin(start, destination, program, ahead, Beforehand::default()).await,
            Err(refusal) => Err((Box::new(start), refusal)),
        };
        if let Err((start, refusal)) = begun {
            self.refuse(start, &refusal, &visitor, asked);
        }
    }
}

/// Events of a user who waits that are kept; of more it is not heard any more that they leave.
const KEPT_MAX: usize = 1024;

/// Ready once the user has closed the channel: nobody runs for them what they have given up. What they send meanwhile is for
/// the program.
async fn left(source: &mut UserSource, kept: &mut Vec<ChannelEvent>) {
    while kept.len() < KEPT_MAX {
        match source.next().await {
            None | Some(ChannelEvent::Close) => return,
            Some(event) => kept.push(event),
        }
    }
    std::future::pending().await
}
