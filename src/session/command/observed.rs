//! A line of a shell where nothing is held: judged while it runs, and on record soon after.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::error;

use super::Decided;
use super::guarded::{Ask, Keeper};
use crate::audit::{AuditEvent, CommandJudged};
use crate::cast::Entry;
use crate::gate::verdict::CommandMode;
use crate::guard::LineRead;
use crate::ledger::CommandFacts;
use crate::listener::ChannelStart;
use crate::model::{Asked, ChannelNumber, Program};
use crate::requests::new_decision;
use crate::session::{Bastion, Live, Visit};

/// The session answers within so long, or the line is told to the recording alone.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// What is put on record of a line that goes by.
pub(in crate::session) struct Observed {
    decided: Box<Decided>,
    judged: Box<CommandJudged>,
    facts: Option<Box<CommandFacts>>,
}

/// Whether the lines of this shell are read as they go by.
pub(in crate::session) fn watches_shell(
    bastion: &Bastion,
    live: &Live,
    start: &ChannelStart,
    program: &Program,
    asked: &[Asked],
) -> bool {
    let (Program::Shell, Some(_), Some(first)) = (program, &start.terminal, asked.first()) else { return false };
    let (asker, now) = (live.permit.asker(), bastion.clock.now());
    let commands = bastion.ledger.commands(asker, live.permit.destination(), first, now);
    commands.is_ok_and(|commands| commands.mode() == Some(CommandMode::Observe))
}

impl Visit {
    /// Judges a line that goes by, and does with the session what a rule wants that matched.
    pub(super) fn rule_on_passing(&self, read: LineRead, asked: &Asked, number: ChannelNumber) -> Option<Observed> {
        let live = self.live.as_ref()?;
        let (bastion, now) = (&self.bastion, self.bastion.clock.now());
        let commands = bastion.ledger.commands(live.permit.asker(), live.permit.destination(), asked, now).ok()?;
        let decided = Box::new(Decided {
            id: new_decision().ok()?,
            judgement: commands.judge(&read.line),
            line: read.line,
            before: String::new(),
            confidence: Some(read.confidence),
            policy: commands.policy().clone(),
            obstacle: None,
            approved_by: Vec::new(),
            closed: false,
        });
        let judged = Box::new(decided.judged(live, Some(number.0), now));
        let facts = decided.facts(live, bastion, false).map(Box::new);
        self.do_on_match(&decided);
        Some(Observed { decided, judged, facts })
    }
}

/// Puts on record what goes by, line by line, until no more comes.
pub(in crate::session) async fn observe(keeper: Arc<Keeper>, mut reads: mpsc::Receiver<LineRead>) {
    while let Some(read) = reads.recv().await {
        let line = crate::screen::line(&read.line);
        let Some(Observed { decided, judged, facts }) = keeper.pass(read).await else {
            let marker = format!("command observed, and not judged: {line}");
            let _ = keeper.track.append(Entry::Marker(marker)).await;
            continue;
        };
        // The relay finds a recording that failed, too.
        let _ = keeper.track.append(Entry::Marker(decided.summary())).await;
        if let Err(failure) = keeper.bastion.record(AuditEvent::CommandObserved(judged)).await {
            error!(error = %failure, "Cannot put on record what is typed in a shell");
        }
        let Some(facts) = facts else { continue };
        let (requests, id) = (Arc::clone(&keeper.bastion.requests), decided.id.clone());
        let alerting = tokio::task::spawn_blocking(move || requests.alert_command(&id, "command.observed", *facts));
        if let Ok(Err(failure)) = alerting.await {
            error!(error = %failure, "Nobody is told of a command that a rule is about");
        }
    }
}

impl Keeper {
    async fn pass(&self, read: LineRead) -> Option<Observed> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Read { read, asked: self.asked.clone(), number: self.number, answer };
        let asking = async {
            self.asks.send(ask).await.ok()?;
            answered.await.ok().flatten()
        };
        timeout(ANSWER_WITHIN, asking).await.ok().flatten()
    }
}
