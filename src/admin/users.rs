//! Users and their keys.

use std::collections::BTreeSet;

use ipnet::IpNet;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::api::{Reply, SecretText};
use super::{Admin, AdminError, Caller, done};
use crate::ledger::{LedgerError, User, UserKey};
use crate::model::{GroupName, Timestamp, UserName};
use crate::screen::plural;
use crate::secret::Secret;

/// A user's end, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserEnd {
    /// There is none.
    Never,
    /// The first moment at which the user may do nothing any more.
    At(Timestamp),
}

impl UserEnd {
    /// Reads `none`, a last day in the zone of this machine, or a moment of RFC 3339; `None` if it is neither.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::Never);
        }
        if let Ok(at) = Timestamp::parse(text) {
            return Some(Self::At(at));
        }
        // A date with an hour reads as a date too: nobody's last day is made longer by that.
        let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text)?;
        let next = day.checked_add(1.day()).ok()?;
        let end = next.to_zoned(TimeZone::system()).ok()?;
        Some(Self::At(Timestamp::from_millis(end.timestamp().as_millisecond())))
    }

    /// The moment that it stands for, which must be one to come.
    fn read(text: &str, now: Timestamp) -> Result<Option<Timestamp>, AdminError> {
        let invalid = |why: String, hint| Err(AdminError::Invalid { why, hint });
        match Self::parse(text) {
            Some(Self::Never) => Ok(None),
            Some(Self::At(at)) if at > now => Ok(Some(at)),
            Some(Self::At(at)) => {
                invalid(format!("the end {at} is past already"), "`doorward user suspend` bars a user at once")
            }
            None => {
                let text: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
                let hint =
                    "write the last day, 2026-12-31, or a moment, 2026-12-31T18:00:00+01:00; `none` takes it away";
                invalid(format!("`{text}` is no end date"), hint)
            }
        }
    }
}

impl Admin {
    pub(super) fn known_user(&self, name: &UserName) -> Result<User, AdminError> {
        let unknown = || LedgerError::Unknown { kind: "user", name: name.to_string() };
        Ok(self.parts.ledger.user(name).ok_or_else(unknown)?)
    }

    /// Adds a user with all of these keys, or, if one of them cannot be taken, does nothing.
    pub(super) fn user_add(
        &self,
        caller: Caller,
        name: UserName,
        groups: BTreeSet<GroupName>,
        lines: &[String],
        from: BTreeSet<IpNet>,
        until: Option<&str>,
    ) -> Result<Reply, AdminError> {
        let until = until.map_or(Ok(None), |until| UserEnd::read(until, self.now()))?;
        let mut keys: Vec<UserKey> = Vec::new();
        for line in lines {
            let key = UserKey::parse(line, self.now())?;
            if keys.iter().all(|other| other.fingerprint != key.fingerprint) {
                keys.push(key);
            }
        }
        // Of an earlier user of that name, whose removal was interrupted.
        self.cancel_requests(caller, &name, "a user of that name was added")?;
        let line = format!("user `{name}` added");
        let more = keys.iter().map(|key| format!("key {} added to user `{name}`", key.fingerprint)).chain(ends(until));
        let more = more.collect();
        self.parts.ledger.add_user(User {
            name,
            groups,
            keys,
            suspended_at: None,
            from,
            password_since: None,
            person: None,
            until,
        })?;
        Ok(done(line, more))
    }

    pub(super) fn user_set(
        &self,
        name: &UserName,
        groups: Option<BTreeSet<GroupName>>,
        from: Option<BTreeSet<IpNet>>,
        person: Option<UserName>,
        until: Option<&str>,
    ) -> Result<Reply, AdminError> {
        let user = self.known_user(name)?;
        let until = until.map_or(Ok(user.until), |until| UserEnd::read(until, self.now()))?;
        let person = match person {
            None => user.person,
            Some(own) if own == *name => None,
            Some(other) => {
                // One step, so that who are one human have one name by which they are known: no chain of names makes two of
                // them.
                if self.parts.ledger.users().iter().any(|user| user.person.as_ref() == Some(name)) {
                    return Err(AdminError::Refused {
                        why: format!("others are known by the name `{name}`, so it is nobody's other name"),
                        hint: "give those the new name first: doorward user set NAME --person USER",
                    });
                }
                Some(self.known_user(&other)?.human().clone())
            }
        };
        let (groups, from) = (groups.unwrap_or(user.groups), from.unwrap_or(user.from));
        self.parts.ledger.set_user(User { groups, from, person, until, ..user })?;
        let mut more: Vec<String> = ends(until).into_iter().collect();
        more.extend(self.rejudge());
        Ok(done(format!("user `{name}` changed"), more))
    }

    pub(super) fn user_suspend(&self, caller: Caller, name: &UserName) -> Result<Reply, AdminError> {
        let user = self.known_user(name)?;
        let suspended_at = user.suspended_at.or_else(|| Some(self.now()));
        self.parts.ledger.set_user(User { suspended_at, ..user })?;
        let mut more = self.rejudge();
        more.extend(self.cancel_requests(caller, name, "the user was suspended")?);
        Ok(done(format!("user `{name}` suspended"), more))
    }

    fn cancel_requests(&self, caller: Caller, name: &UserName, why: &str) -> Result<Option<String>, AdminError> {
        let cancelled =
            self.parts.requests.cancel_all_of(name, &caller.to_string(), why).map_err(AdminError::Request)?;
        Ok((cancelled > 0).then(|| format!("{cancelled} {} cancelled", plural(cancelled, "request"))))
    }

    pub(super) fn user_resume(&self, name: &UserName) -> Result<Reply, AdminError> {
        let user = self.known_user(name)?;
        if user.is_over(self.now()) {
            return Err(AdminError::Refused {
                why: format!("the end date of user `{name}` is over"),
                hint: "give another one first: doorward user set NAME --until 2027-06-30, or --until none",
            });
        }
        // Else the next start would bar them again.
        self.parts.ledger.drop_unfinished_offboarding(user.human())?;
        self.parts.ledger.set_user(User { suspended_at: None, ..user })?;
        Ok(done(format!("user `{name}` may connect again"), Vec::new()))
    }

    pub(super) fn user_remove(&self, caller: Caller, name: &UserName) -> Result<Reply, AdminError> {
        // Whoever comes after under this name must not come into them. First what may still begin: were it left, and the
        // user gone, nobody would take it from the next of that name.
        let user = self.known_user(name)?;
        let suspended_at = user.suspended_at.or_else(|| Some(self.now()));
        self.parts.ledger.set_user(User { suspended_at, ..user })?;
        let cancelled = self.cancel_requests(caller, name, "the user was removed")?;
        self.parts.passwords.remove(name).map_err(AdminError::Password)?;
        let revoked = self.parts.ledger.remove_user(name, &self.revoked(caller, "the user was removed"))?;
        let mut more = self.rejudge();
        self.parts.requests.settle().map_err(AdminError::of_revoke)?;
        if revoked > 0 {
            more.push(format!("{revoked} {} revoked", plural(revoked, "grant")));
        }
        more.extend(cancelled);
        Ok(done(format!("user `{name}` removed"), more))
    }

    pub(super) fn user_password_set(&self, name: &UserName, password: &Secret<String>) -> Result<Reply, AdminError> {
        self.known_user(name)?;
        let complete = self.parts.passwords.set_password(name, password).map_err(AdminError::Password)?;
        Ok(done(format!("password of user `{name}` set"), self.password_changed(name, complete)?))
    }

    pub(super) fn user_totp_set(&self, name: &UserName) -> Result<Reply, AdminError> {
        self.known_user(name)?;
        let (uri, complete) = self.parts.passwords.set_totp(name).map_err(AdminError::Password)?;
        let mut lines = vec![format!("one-time codes of user `{name}`: a new secret, shown this once")];
        lines.extend(self.password_changed(name, complete)?);
        Ok(Reply::Totp { uri: SecretText(uri), lines })
    }

    pub(super) fn user_password_remove(&self, name: &UserName) -> Result<Reply, AdminError> {
        let user = self.known_user(name)?;
        // The right first: what is left of a removal that fails in between opens nothing.
        self.parts.ledger.set_user(User { password_since: None, ..user })?;
        let more = self.rejudge();
        match self.parts.passwords.remove(name).map_err(AdminError::Password)? {
            true => Ok(done(format!("password and one-time codes of user `{name}` removed"), more)),
            false => Ok(done(format!("user `{name}` has no password"), more)),
        }
    }

    /// The login by password is another one from now on; sessions on the one before end.
    fn password_changed(&self, name: &UserName, complete: bool) -> Result<Vec<String>, AdminError> {
        let user = self.known_user(name)?;
        self.parts.ledger.set_user(User { password_since: complete.then(|| self.now()), ..user })?;
        let mut lines = self.rejudge();
        if !complete {
            lines.push("both are needed to log in: `doorward user password` and `doorward user totp`".to_owned());
        }
        if !self.parts.config.login.passwords {
            lines.push("logins by password are off: set `passwords = true` under [login] in doorward.toml".to_owned());
        }
        Ok(lines)
    }

    pub(super) fn user_key_add(&self, name: &UserName, key: &str) -> Result<Reply, AdminError> {
        let mut user = self.known_user(name)?;
        let key = UserKey::parse(key, self.now())?;
        let fingerprint = key.fingerprint.clone();
        if user.keys.iter().any(|other| other.fingerprint == fingerprint) {
            return Ok(done(format!("user `{name}` has key {fingerprint} already"), Vec::new()));
        }
        user.keys.push(key);
        self.parts.ledger.set_user(user)?;
        Ok(done(format!("key {fingerprint} added to user `{name}`"), Vec::new()))
    }

    pub(super) fn user_key_remove(&self, name: &UserName, fingerprint: &str) -> Result<Reply, AdminError> {
        let mut user = self.known_user(name)?;
        let before = user.keys.len();
        user.keys.retain(|key| key.fingerprint != fingerprint);
        if user.keys.len() == before {
            let name = fingerprint.chars().take(100).collect();
            return Err(LedgerError::Unknown { kind: "key", name }.into());
        }
        self.parts.ledger.set_user(user)?;
        Ok(done(format!("key {fingerprint} removed from user `{name}`"), self.rejudge()))
    }
}

/// Says when a user's time ends, if it does.
fn ends(until: Option<Timestamp>) -> Option<String> {
    until.map(|until| format!("from {until} on the user may do nothing any more"))
}
