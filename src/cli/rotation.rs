//! `doorward secret rotate-key`: another master key, and every stored value sealed under it.

use super::output::{Progress, say};
use super::{CliError, serve};
use crate::audit::{Audit, AuditEvent};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, DbError, KeyFiles, MasterKey, MasterKeyError};
use crate::home::{Home, HomeError};
use crate::vault::{Reseal, Vault, VaultError};

/// Replaces the master key; goes on where an earlier run was interrupted. No server may run.
pub(super) fn run(config: &Config) -> Result<(), CliError> {
    serve::harden();
    let home = Home::open(&config.data).map_err(|error| {
        let locked = matches!(error, HomeError::Locked { .. });
        let told = CliError::of_home(&error);
        if locked { told.only_hint("stop the server first: the master key is replaced while none runs") } else { told }
    })?;
    let files = KeyFiles::of(&config.master_key).map_err(|error| of_key(&error))?;
    let from = files.present().map_err(|error| of_key(&error))?;
    let to = match files.next().map_err(|error| of_key(&error))? {
        Some(to) => to,
        None => {
            let to = another(&from)?;
            // On record before it takes effect. Only the key's name: it tells nothing of the key.
            record(&home, from.clone(), &to)?;
            files.begin(&to).map_err(|error| of_key(&error))?;
            to
        }
    };
    let reseal = Reseal::new(&from, &to).map_err(|error| of_vault(&error))?;
    let mut progress = Progress::new();
    let rotated = Db::rotate(
        &home.state(),
        home.id(),
        &from,
        &to,
        &|table, key, value| reseal.value(table, key, value),
        &mut |done, total| progress.at("values", done, total),
    );
    progress.finish();
    rotated.map_err(|error| of_db(&error).hint("nothing is lost: run it again; until then no server starts"))?;
    let kept = files.finish().map_err(|error| of_key(&error))?;
    say(format!("The master key is another one: {}. Back it up.", config.master_key.display()));
    say(format!(
        "The one before is kept in {}: backups of the state from before open with it alone.\n\
         Destroy it with the last of them; whoever has both can read what was stored until now.",
        kept.display()
    ));
    Ok(())
}

fn another(than: &MasterKey) -> Result<MasterKey, CliError> {
    let failed = |error| CliError::of(&error);
    loop {
        let key = MasterKey::random().map_err(failed)?;
        // Values tell by its name under which key they are sealed.
        if key.name().map_err(failed)? != than.name().map_err(failed)? {
            return Ok(key);
        }
    }
}

/// Puts the rotation on record, under a checkpoint; the state must open whole under the present key for that.
fn record(home: &Home, from: MasterKey, to: &MasterKey) -> Result<(), CliError> {
    let name = |key: &MasterKey| key.name().map_err(|error| CliError::of(&error));
    let event =
        AuditEvent::KeyRotate { rotated: String::from("master-key"), public: name(to)?, previous: Some(name(&from)?) };
    let db = Db::open(&home.state(), home.id(), from).map_err(|error| of_db(&error))?;
    let vault = Vault::open(&db).map_err(|error| of_vault(&error))?;
    let key = vault.log_key(home.id()).map_err(|error| of_vault(&error))?;
    let recorded = Audit::open(&home.log(), key, &db, Clock::system())
        .and_then(|audit| audit.append(&event).and_then(|_| audit.close()));
    recorded.map_err(|error| CliError::of(&error).maybe_hint(error.hint()))
}

fn of_key(error: &MasterKeyError) -> CliError {
    CliError::of(error).maybe_hint(error.hint())
}

fn of_db(error: &DbError) -> CliError {
    CliError::of(error).maybe_hint(error.hint())
}

fn of_vault(error: &VaultError) -> CliError {
    CliError::of(error).maybe_hint(error.hint())
}
