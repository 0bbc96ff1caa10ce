//! `doorward lock` and `doorward lockdown`.

use std::time::Duration;

use super::desk::{Desk, unexpected};
use super::output::{Form, Table, listing, say};
use super::{CliError, times};
use crate::admin::api::{LockWanted, Reply, Request};
use crate::grant::{Lock, LockEffect, Scope};
use crate::model::{AccountName, Destination, GrantId, GroupName, LockId, TargetName, UserName, join};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Lock something: nobody gets in there, whatever rules and grants say, and live sessions end or are paused.
    Add {
        #[command(flatten)]
        on: Box<On>,
        /// Pause live sessions, and do not end them.
        #[arg(long)]
        freeze: bool,
        /// Why; for operators and the audit log, never for the users.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// For how long, such as 2h [default: until it is lifted].
        #[arg(long = "for", value_name = "SPAN", value_parser = times::parse_span)]
        span: Option<Duration>,
        /// It takes two people to lift it.
        #[arg(long)]
        two: bool,
        /// Leave those alone who have broken a glass, or will; not for a lock on people, or on a grant.
        #[arg(long)]
        keep_break_glass: bool,
    },
    /// List locks.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Lift a lock, or say that it shall be lifted where that takes two people.
    Lift {
        /// Its id, such as k-7k2mq4x9.
        lock: LockId,
    },
}

/// What is locked.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct On {
    /// A user, by whatever name the human is known.
    #[arg(long)]
    user: Option<UserName>,
    /// The users of a group.
    #[arg(long)]
    group: Option<GroupName>,
    /// A target.
    #[arg(long)]
    target: Option<TargetName>,
    /// An account on every target, such as root, or on one, such as root@db1.
    #[arg(long, value_parser = account)]
    account: Option<Scope>,
    /// The targets that have this label with this value.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Option<Scope>,
    /// A grant: sessions on it, and on no other.
    #[arg(long)]
    grant: Option<GrantId>,
    /// Everybody, everywhere; see `doorward lockdown`.
    #[arg(long)]
    everything: bool,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Lockdown {
    /// Lock everything: nobody gets in anywhere, and every session ends. Lifting it takes two people.
    On {
        /// Pause live sessions, and do not end them.
        #[arg(long)]
        freeze: bool,
        /// Leave those alone who have broken a glass, or will.
        #[arg(long)]
        keep_break_glass: bool,
        /// Why; for operators and the audit log, never for the users.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Say that it shall be lifted: another operator must say so, too.
    Lift,
}

fn account(text: &str) -> Result<Scope, String> {
    let destination = || Destination::parse(text).map(Scope::Destination).map_err(|error| error.to_string());
    if text.contains('@') {
        destination()
    } else {
        AccountName::parse(text).map(Scope::Account).map_err(|error| error.to_string())
    }
}

fn label(text: &str) -> Result<Scope, String> {
    Scope::parse(&format!("label:{text}")).map_err(|error| error.to_string())
}

impl On {
    fn scope(self) -> Scope {
        let Self { user, group, target, account, label, grant, everything: _ } = self;
        let named = user.map(Scope::User).or(group.map(Scope::Group)).or(target.map(Scope::Target));
        let named = named.or(grant.map(Scope::Grant));
        named.or(account).or(label).unwrap_or(Scope::Everything)
    }
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::Add { on, freeze, reason, span, two, keep_break_glass: keeps_glass } => {
            let (scope, effect, lifters) = (on.scope(), effect(freeze), if two { 2 } else { 1 });
            desk.tell(Request::LockAdd { wanted: LockWanted { scope, effect, reason, span, lifters, keeps_glass } })
        }
        Command::List { form } => list(desk, form),
        Command::Lift { lock } => desk.tell(Request::LockLift { lock }),
    }
}

pub(super) fn lockdown(desk: &Desk, command: Lockdown) -> Result<(), CliError> {
    let on = locks(desk)?.into_iter().filter(|lock| lock.scope == Scope::Everything && lock.lifters > 1);
    let on: Vec<Lock> = on.collect();
    match command {
        Lockdown::On { freeze, keep_break_glass: keeps_glass, reason } => {
            let effect = effect(freeze);
            if let Some(lock) = on
                .iter()
                .find(|lock| lock.effect <= effect && lock.expires.is_none() && lock.keeps_glass == keeps_glass)
            {
                say(format!("everything is locked down already, by lock `{}` of {}", lock.id, lock.by));
                return Ok(());
            }
            let scope = Scope::Everything;
            let wanted = LockWanted { scope, effect, reason, span: None, lifters: 2, keeps_glass };
            desk.tell(Request::LockAdd { wanted })
        }
        Lockdown::Lift if on.is_empty() => {
            Err(CliError::failed("there is no lock-down").hint("`doorward lock list` shows all locks"))
        }
        // Each of them, whatever becomes of the others.
        Lockdown::Lift => {
            let told: Vec<_> = on.into_iter().map(|lock| desk.tell(Request::LockLift { lock: lock.id })).collect();
            told.into_iter().collect()
        }
    }
}

fn effect(freeze: bool) -> LockEffect {
    if freeze { LockEffect::Freeze } else { LockEffect::End }
}

fn locks(desk: &Desk) -> Result<Vec<Lock>, CliError> {
    let Reply::Locks { locks } = desk.ask(Request::LockList {})? else {
        return Err(unexpected());
    };
    Ok(locks)
}

fn list(desk: &Desk, form: Form) -> Result<(), CliError> {
    let locks = locks(desk)?;
    let mut table = Table::new(&["LOCK", "ON", "SESSIONS", "SINCE", "UNTIL", "BY", "TO LIFT", "REASON"]);
    for lock in &locks {
        let said = join(lock.said.iter().map(|said| said.person.as_str()));
        table.row([
            lock.id.to_string(),
            lock.scope.to_string(),
            format!("{}{}", lock.effect, if lock.keeps_glass { ", not on broken glasses" } else { "" }),
            times::shown(lock.created),
            lock.expires.map(times::shown).unwrap_or_default(),
            lock.by.clone(),
            if said.is_empty() { lock.lifters.to_string() } else { format!("{} (so far {said})", lock.lifters) },
            lock.reason.clone(),
        ]);
    }
    listing(form, &locks, &table, "nothing is locked")
}
