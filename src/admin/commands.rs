//! Commands of the past, from their index.

use super::api::{AuditFilter, Reply};
use super::{Admin, AdminError};
use crate::audit::CommandFilter;

/// A pass is for this reading and no other.
pub(super) fn of(filter: &CommandFilter) -> AuditFilter {
    let CommandFilter { since, session, user, target, program } = filter;
    // No event has a type with a blank.
    let kind = Some(format!("commands {target:?} {program:?}"));
    AuditFilter { since: *since, kind, session: session.clone(), user: user.clone() }
}

impl Admin {
    /// Brings the index of commands nearer to the log, if it is far behind; says whether it still is.
    ///
    /// # Errors
    /// `Audit`: the index cannot be written, or the log not be read.
    pub fn index_commands(&self) -> Result<bool, AdminError> {
        self.commands.follow(&self.parts.audit).map_err(AdminError::Audit)
    }

    /// A page of commands. What is on record by now is published first, so that the page has it.
    pub(super) fn command_page(&self, filter: &CommandFilter, from: u64, pass: String) -> Result<Reply, AdminError> {
        let audit = &self.parts.audit;
        let behind = audit.publish().err().map(|failure| failure.to_string());
        let page = self.commands.page(audit, filter, from).map_err(AdminError::Audit)?;
        Ok(Reply::Commands { rows: page.rows, next: page.next, more: page.more, pass, behind })
    }
}
