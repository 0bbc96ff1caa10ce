//! Inventories: shown, then applied.

use super::api::Reply;
use super::inventory::{Change, Inventory, Novelty, Plan};
use super::{Admin, AdminError};

impl Admin {
    fn plan(&self, inventory: &Inventory) -> Result<Plan, AdminError> {
        let ledger = &self.parts.ledger;
        inventory.plan(&ledger.users(), &ledger.targets(), self.now()).map_err(AdminError::Inventory)
    }

    pub(super) fn inventory_diff(&self, inventory: &Inventory) -> Result<Reply, AdminError> {
        let plan = self.plan(inventory)?;
        Ok(Reply::Changes { changes: plan.changes, unnamed: plan.unnamed })
    }

    /// Applies what was shown, entry by entry. If one fails, those before it are done: applying again goes on.
    pub(super) fn inventory_apply(&self, inventory: &Inventory, expected: &[Change]) -> Result<Reply, AdminError> {
        let plan = self.plan(inventory)?;
        if plan.changes != expected {
            return Err(AdminError::StateChanged);
        }
        let ledger = &self.parts.ledger;
        // A key that goes from one user to another must leave the first before the second may have it.
        for (user, novelty) in &plan.users {
            if let (Novelty::Known, Some(mut old)) = (novelty, ledger.user(&user.name)) {
                let before = old.keys.len();
                old.keys.retain(|key| user.keys.iter().any(|kept| kept.fingerprint == key.fingerprint));
                if old.keys.len() < before {
                    ledger.set_user(old)?;
                }
            }
        }
        for (user, novelty) in plan.users {
            match novelty {
                Novelty::New => ledger.add_user(user)?,
                Novelty::Known => ledger.set_user(user)?,
            }
        }
        for (target, novelty) in plan.targets {
            match novelty {
                Novelty::New => ledger.add_target(target)?,
                Novelty::Known => ledger.set_target(target)?,
            }
        }
        self.rejudge();
        Ok(Reply::Changes { changes: plan.changes, unnamed: plan.unnamed })
    }
}
