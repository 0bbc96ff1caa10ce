//! What reviewers have said of lines of the access review.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, TEXT_BYTES_MAX, at_most};
use crate::model::Timestamp;

/// So long a line stays signed.
pub const REVIEW_PERIOD: Duration = Duration::from_secs(90 * 86_400);

/// What a reviewer said of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOff {
    /// SHA-256 of all that the line said, in hexadecimal: a line that says anything else is not signed by it.
    pub digest: String,
    /// Whether the right shall stay.
    pub verdict: SignOffVerdict,
    /// In their words.
    pub note: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a right shall stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignOffVerdict {
    /// It shall.
    Keep,
    /// It shall not.
    Remove,
}

impl SignOffVerdict {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Remove => "remove",
        }
    }
}

impl Ledger {
    /// What was last said of a line that says this, if that is not too old to count.
    pub fn signed(&self, line: &str, digest: &str, now: Timestamp) -> Option<SignOff> {
        let state = self.state();
        let (_, signed) = state.signoffs.get(line)?;
        (signed.digest == digest && signed.at.plus(REVIEW_PERIOD) > now).then(|| signed.clone())
    }

    /// Keeps what was said of a line, in the place of what was said before. Those that are too old to count are forgotten;
    /// they stay in the log.
    ///
    /// # Errors
    /// `TooMuch`, or the database fails.
    pub fn sign(&self, line: &str, signed: SignOff) -> Result<(), LedgerError> {
        let tables = self.tables();
        at_most("bytes of a note", signed.note.len(), TEXT_BYTES_MAX)?;
        let (known, old) = {
            let state = self.state();
            let old = state.signoffs.iter().filter(|(_, (_, known))| known.at.plus(REVIEW_PERIOD) <= signed.at);
            let old: Vec<_> =
                old.map(|(name, (rev, _))| (name.clone(), *rev)).filter(|(name, _)| name != line).collect();
            (state.signoffs.get(line).map(|(rev, _)| *rev), old)
        };
        let mut batch = self.db.batch();
        batch.put(&tables.signoffs, line, known, &signed)?;
        old.iter().for_each(|(name, rev)| batch.delete(&tables.signoffs, name, *rev));
        let rev = batch.commit()?;
        self.change(|state| {
            old.iter().for_each(|(name, _)| drop(state.signoffs.remove(name)));
            state.signoffs.insert(line.to_owned(), (rev, signed));
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::policy::PolicySet;

    #[test]
    fn a_line_is_signed_for_the_period_and_for_what_it_said() {
        let db = Db::in_memory().unwrap();
        let ledger = Ledger::open(&db, PolicySet::empty()).unwrap();
        let at = Timestamp::from_millis(1000);
        let signed = |digest: &str, at| SignOff {
            digest: digest.to_owned(),
            verdict: SignOffVerdict::Keep,
            note: "still on call".to_owned(),
            by: "uid 0".to_owned(),
            at,
        };
        ledger.sign("a", signed("d1", at)).unwrap();
        let end = at.plus(REVIEW_PERIOD);
        assert_eq!(ledger.signed("a", "d1", end.minus(Duration::from_millis(1))), Some(signed("d1", at)));
        assert_eq!(
            (ledger.signed("a", "d1", end), ledger.signed("a", "d2", at), ledger.signed("b", "d1", at)),
            (None, None, None)
        );
        ledger.sign("b", signed("d2", end)).unwrap();
        ledger.sign("b", signed("d3", end)).unwrap();
        // After a start, too; and what was too old is gone.
        let ledger = Ledger::open(&db, PolicySet::empty()).unwrap();
        assert_eq!(ledger.signed("b", "d3", end), Some(signed("d3", end)));
        assert_eq!(ledger.signed("a", "d1", at), None);
    }
}
