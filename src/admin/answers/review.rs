//! The access review: who may go where by which rule, when they last did, and what a reviewer said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::super::api::Reply;
use super::super::{Admin, AdminError, Caller, done};
use super::Report;
use crate::audit::{AuditEvent, ReviewedLine};
use crate::ledger::{Covered, Holder, SignOff, SignOffVerdict, WayQuery};
use crate::model::{AccountName, ChannelClass, GroupName, Presence, RuleId, TargetName, Timestamp, UserName, join};
use crate::policy::{Givers, GrantNeed, Names, Place, Rule};
use crate::screen::plural;
use crate::store::{LastUses, hex};

/// A right that was not used for longer is marked.
const UNUSED_AFTER: Duration = Duration::from_secs(90 * 86_400);
/// So many sessions are looked at, the newest: how long that takes must not grow for ever.
const SESSIONS_MAX: usize = 200_000;
/// Names that are shown of a long list.
const NAMES_SHOWN: usize = 8;
/// Letters of an id: 60 bits, of a hash that is compared whole.
const ID_LETTERS: usize = 12;

/// One right of one user, by one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewLine {
    /// Its id: the same for as long as the line says the same.
    pub line: String,
    /// The user.
    pub user: UserName,
    /// Whether the user may do nothing at present.
    pub suspended: bool,
    /// The account.
    pub account: AccountName,
    /// The targets, as the rule names them.
    pub place: String,
    /// The rule.
    pub rule: RuleId,
    /// The file it stands in.
    pub file: String,
    /// The line it starts at.
    pub file_line: usize,
    /// What it opens.
    pub channels: BTreeSet<ChannelClass>,
    /// Whether it needs a grant, and of whom.
    pub how: String,
    /// When the user's newest session there began, as far as recordings tell.
    pub last_use: Option<Timestamp>,
    /// Whether that is more than 90 days ago, or never was.
    pub unused: bool,
    /// What a reviewer said of it within the last 90 days.
    pub signed: Option<ReviewSigned>,
}

/// What a reviewer said of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewSigned {
    /// Whether the right shall stay.
    pub verdict: SignOffVerdict,
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// In their words.
    pub note: String,
}

/// What a line says; its id is a hash of this.
#[derive(Serialize)]
struct Said<'a> {
    user: &'a UserName,
    rule: &'a RuleId,
    account: &'a AccountName,
    place: &'a str,
    channels: &'a BTreeSet<ChannelClass>,
    how: &'a str,
}

impl Said<'_> {
    /// SHA-256 of all of it.
    fn hash(&self) -> Option<Vec<u8>> {
        let text = serde_json::to_vec(self).ok()?;
        Some(digest(&SHA256, &text).as_ref().to_vec())
    }
}

/// The first bits of a hash, as ids are written.
fn id_of(hash: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bits = hash.iter().flat_map(|byte| (0..8).rev().map(move |bit| usize::from((byte >> bit) & 1)));
    let bits: Vec<usize> = bits.take(ID_LETTERS.saturating_mul(5)).collect();
    let letter = |five: &[usize]| LETTERS.get(five.iter().fold(0, |sum, bit| (sum << 1) | bit)).map(|l| char::from(*l));
    bits.chunks(5).filter_map(letter).collect()
}

/// What a rule says of all whom it is for.
struct RuleSays<'r> {
    rule: &'r Rule,
    covered: Covered,
    place: String,
    shown: String,
    how: String,
}

impl<'r> RuleSays<'r> {
    fn of(rule: &'r Rule, covered: Covered) -> Self {
        Self {
            rule,
            covered,
            place: place_of(&rule.place, usize::MAX),
            shown: place_of(&rule.place, NAMES_SHOWN),
            how: how(rule),
        }
    }

    fn said<'a>(&'a self, user: &'a UserName, account: &'a AccountName) -> Said<'a> {
        let Rule { id: rule, channels, .. } = self.rule;
        Said { user, rule, account, place: &self.place, channels, how: &self.how }
    }
}

/// The targets of a rule, at most so many of them by name.
fn place_of(place: &Place, most: usize) -> String {
    let named = place.targets.as_ref().map(|names| match names {
        Names::Every => "every target".to_owned(),
        Names::These(names) => {
            let more = names.len().saturating_sub(most);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{}{more}", join(names.iter().take(most)))
        }
    });
    let labels = join(place.labels.iter().map(|(key, value)| format!("{key}={value}")));
    match named {
        Some(named) if labels.is_empty() => named,
        Some(named) => format!("{named} with {labels}"),
        None => labels,
    }
}

/// Whether a rule needs a grant, and of whom.
fn how(rule: &Rule) -> String {
    // The words are a part of the line's id: what they were for rules of before stays.
    let how = match (rule.grant.need, &rule.grant.request, rule.grant.givers) {
        (GrantNeed::NotRequired, ..) => Some("open".to_owned()),
        (GrantNeed::Required, Some(request), Givers::Everyone) => Some(format!("by request, {}", request.approvers)),
        (GrantNeed::Required, Some(request), Givers::NotOperators) => {
            Some(format!("by request, {}, and by no operator's grant", request.approvers))
        }
        (GrantNeed::Required, None, Givers::Everyone) => Some("by an operator's grant".to_owned()),
        (GrantNeed::Required, None, Givers::NotOperators) => None,
    };
    let how = match (how, rule.glass.is_some()) {
        (Some(how), true) => format!("{how}, or by breaking the glass"),
        (Some(how), false) => how,
        (None, _) => "by breaking the glass".to_owned(),
    };
    let how = if rule.is_conditioned() { format!("{how}, under conditions") } else { how };
    match rule.key {
        Presence::NONE => how,
        Presence { pin: true, .. } => format!("{how}, with a security key and its PIN"),
        Presence { pin: false, .. } => format!("{how}, with a security key"),
    }
}

impl Admin {
    pub(super) fn review(&self, group: Option<GroupName>, target: Option<TargetName>, most: usize) -> Report {
        let uses = Uses::of(self.parts.catalog.last_uses(SESSIONS_MAX));
        let (mut lines, mut total) = (Vec::new(), 0_u64);
        let policy = self.parts.ledger.policy();
        for rule in policy.rules() {
            let says = RuleSays::of(rule, self.covered(rule, group.as_ref()));
            if target.as_ref().is_some_and(|target| !says.covered.targets.contains(target)) {
                continue;
            }
            let places: BTreeSet<&TargetName> = says.covered.targets.iter().chain(named(rule)).collect();
            for (holder, account) in says.covered.users.iter().flat_map(each_account) {
                total = total.saturating_add(1);
                if lines.len() < most {
                    lines.extend(self.line(&says, holder, account, uses.last(&holder.user, account, &places)));
                }
            }
        }
        Report::Review { lines, total, since: uses.since }
    }

    fn covered(&self, rule: &Rule, group: Option<&GroupName>) -> Covered {
        // Suspended users can be resumed: their rights are reviewed, too.
        let query = WayQuery { group: group.cloned(), suspended: true, ..WayQuery::default() };
        self.parts.ledger.covered(rule, &query, self.now())
    }

    fn line(
        &self,
        says: &RuleSays<'_>,
        holder: &Holder,
        account: &AccountName,
        last_use: Option<Timestamp>,
    ) -> Option<ReviewLine> {
        let now = self.now();
        let hash = says.said(&holder.user, account).hash()?;
        let line = id_of(&hash);
        let signed = self.parts.ledger.signed(&line, &hex(&hash), now);
        Some(ReviewLine {
            line,
            user: holder.user.clone(),
            suspended: holder.suspended,
            account: account.clone(),
            place: says.shown.clone(),
            rule: says.rule.id.clone(),
            file: says.rule.file.clone(),
            file_line: says.rule.line,
            channels: says.rule.channels.clone(),
            how: says.how.clone(),
            last_use,
            unused: last_use.is_none_or(|last| last.plus(UNUSED_AFTER) < now),
            signed: signed.map(|SignOff { verdict, by, at, note, .. }| ReviewSigned { verdict, by, at, note }),
        })
    }

    /// Signs a line that the review has now.
    pub(super) fn review_sign(
        &self,
        caller: Caller,
        wanted: &str,
        verdict: SignOffVerdict,
        note: &str,
    ) -> Result<Reply, AdminError> {
        let note = note.trim();
        if note.is_empty() || note.chars().any(char::is_control) {
            let hint = "add --note \"still on call\"";
            return Err(AdminError::Invalid { why: "a signature needs a note, in one line".to_owned(), hint });
        }
        let policy = self.parts.ledger.policy();
        for rule in policy.rules() {
            let says = RuleSays::of(rule, self.covered(rule, None));
            for (holder, account) in says.covered.users.iter().flat_map(each_account) {
                let said = says.said(&holder.user, account);
                let Some(hash) = said.hash().filter(|hash| id_of(hash) == wanted) else { continue };
                let signed = SignOff {
                    digest: hex(&hash),
                    verdict,
                    note: note.to_owned(),
                    by: caller.to_string(),
                    at: self.now(),
                };
                self.put_on_record(wanted, &said, &signed)?;
                self.parts.ledger.sign(wanted, signed)?;
                let what = format!("{} as {account} on {} by rule `{}`", holder.user, says.shown, rule.id);
                let more = match verdict {
                    SignOffVerdict::Keep => Vec::new(),
                    SignOffVerdict::Remove => self.removal(rule, &holder.user, says.covered.users.len()),
                };
                return Ok(done(format!("signed {}: {what}", verdict.word()), more));
            }
        }
        let shown: String = wanted.chars().take(64).collect();
        let why = format!("the review has no line `{shown}`, or not any more");
        Err(AdminError::Invalid {
            why,
            hint: "`doorward review` shows the lines; one that says something else has another id",
        })
    }

    fn put_on_record(&self, line: &str, said: &Said<'_>, signed: &SignOff) -> Result<(), AdminError> {
        let event = AuditEvent::AccessReview(ReviewedLine {
            line: line.to_owned(),
            verdict: signed.verdict.word().to_owned(),
            user: said.user.clone(),
            rule: said.rule.clone(),
            account: said.account.to_string(),
            place: said.place.to_owned(),
            channels: said.channels.iter().map(ToString::to_string).collect(),
            how: said.how.to_owned(),
            note: signed.note.clone(),
            by: signed.by.clone(),
        });
        self.parts.audit.append(&event).map(drop).map_err(AdminError::NotRecorded)
    }

    /// What to change so that the user has the right no more: nothing is changed here.
    fn removal(&self, rule: &Rule, user: &UserName, holders: usize) -> Vec<String> {
        let groups = self.parts.ledger.user(user).map(|user| user.groups).unwrap_or_default();
        let by: Vec<&GroupName> = rule.who.groups.intersection(&groups).collect();
        removal(rule, user, &groups, &by, holders)
    }
}

fn removal(
    rule: &Rule,
    user: &UserName,
    groups: &BTreeSet<GroupName>,
    by: &[&GroupName],
    holders: usize,
) -> Vec<String> {
    let place = format!("{}:{}", rule.file, rule.line);
    let id = &rule.id;
    let mut lines = vec!["nothing has changed yet; to take the right away:".to_owned()];
    match &rule.who.users {
        Names::Every => {
            let others = holders.saturating_sub(1);
            lines.push(format!(
                "- {place}: rule `{id}` is for every user (`users = [\"*\"]`), {others} {} beside {user}: name those who \
                 need it",
                plural(others, "other")
            ));
        }
        Names::These(users) if users.contains(user) => {
            lines.push(format!("- {place}: take \"{user}\" out of `who.users` of rule `{id}`"));
        }
        Names::These(_) => {}
    }
    if !by.is_empty() {
        let rest = groups.iter().filter(|group| !by.contains(group)).map(|group| format!(" --group {group}"));
        let rest: String = rest.collect();
        let rest = if rest.is_empty() { " --no-groups".to_owned() } else { rest };
        lines.push(format!(
            "- take {user} out of {} {}: `doorward user set {user}{rest}`; other rules for it go, too. Or {place}: out of \
             `who.groups` of rule `{id}`, which takes the right from all members",
            plural(by.len(), "group"),
            join(by)
        ));
    }
    lines.push("- then `doorward policy reload`, if a file was changed".to_owned());
    lines
}

fn each_account(holder: &Holder) -> impl Iterator<Item = (&Holder, &AccountName)> {
    holder.accounts.iter().map(move |account| (holder, account))
}

/// Targets that a rule names, whether they are there or not.
fn named(rule: &Rule) -> impl Iterator<Item = &TargetName> {
    let names = match &rule.place.targets {
        Some(Names::These(names)) if rule.place.labels.is_empty() => Some(names),
        Some(Names::These(_) | Names::Every) | None => None,
    };
    names.into_iter().flatten()
}

/// When each user was last anywhere, by user and account.
struct Uses {
    by_user: BTreeMap<(UserName, AccountName), Vec<(TargetName, Timestamp)>>,
    since: Option<Timestamp>,
}

impl Uses {
    fn of(uses: LastUses) -> Self {
        let mut by_user: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((user, there), last) in uses.by_place {
            by_user.entry((user, there.account)).or_default().push((there.target, last));
        }
        Self { by_user, since: uses.since }
    }

    fn last(&self, user: &UserName, account: &AccountName, places: &BTreeSet<&TargetName>) -> Option<Timestamp> {
        let all = self.by_user.get(&(user.clone(), account.clone())).into_iter().flatten();
        all.filter(|(target, _)| places.contains(target)).map(|(_, last)| *last).max()
    }
}

#[cfg(test)]
mod tests;
