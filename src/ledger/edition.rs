//! Which edition of signed policies was in force last: none before it takes effect again, and none that only people have
//! signed to whom it gives something.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Ledger;
use crate::db::{DbError, Rev, Table};
use crate::model::{GroupName, UserName};
use crate::policy::signed::signed_by_own;
use crate::policy::{Fault, PolicySet};

const TABLE: &str = "policy-edition";
const LAST: &str = "last";

/// The edition that was in force last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Edition {
    serial: u64,
    hash: String,
}

impl Ledger {
    /// Whether this set, signed by these people with this serial number, may take effect; if so that is kept.
    ///
    /// # Errors
    /// Why it may not, rule by rule, or that it cannot be kept.
    pub fn admit_policy(&self, set: &PolicySet, signed: Option<&(BTreeSet<UserName>, u64)>) -> Result<(), Vec<Fault>> {
        let Some((by, serial)) = signed else { return Ok(()) };
        let people: BTreeSet<UserName> = by.iter().map(|user| self.person(user)).collect();
        if people.len() < by.len() {
            let why = format!("{} have signed it, and two of these are one person", crate::model::join(by));
            return Err(vec![Fault::in_file("manifest", why).hint("remove one of that person's signatures")]);
        }
        let alone = signed_by_own(set.rules(), by, |user| self.person(user), |user| self.groups_of(user));
        if !alone.is_empty() {
            return Err(alone);
        }
        let now = Edition { serial: *serial, hash: set.hash().to_string() };
        let table: Table<Edition> = self.db.table(TABLE);
        let unkept = |error: DbError| vec![Fault::in_file("manifest", format!("cannot be kept: {error}"))];
        let kept: Option<(Rev, Edition)> = table.get(LAST).map_err(unkept)?;
        let older = match &kept {
            Some((_, last)) if *last == now => return Ok(()),
            Some((_, last)) if last.serial > now.serial => format!("{} was in force already", last.serial),
            Some((_, last)) if last.serial == now.serial => String::from("other policies had it"),
            Some(_) | None => String::new(),
        };
        if !older.is_empty() {
            let fault = Fault::in_file("manifest", format!("has serial {serial}, and {older}"));
            return Err(vec![fault.hint("`doorward policy manifest --serial` with a higher number, and sign it")]);
        }
        table.put(LAST, kept.map(|(rev, _)| rev), &now).map(drop).map_err(unkept)
    }

    /// By which name the human is known.
    fn person(&self, user: &UserName) -> UserName {
        self.user(user).map_or_else(|| user.clone(), |user| user.human().clone())
    }

    /// The groups in which a human is by any name.
    fn groups_of(&self, user: &UserName) -> BTreeSet<GroupName> {
        let human = self.person(user);
        let names = self.users().into_iter().filter(|user| *user.human() == human);
        names.flat_map(|user| user.groups).collect()
    }
}
