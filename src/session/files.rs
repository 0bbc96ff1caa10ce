//! What a user may do with files on a channel, as the ledger says it at each moment; and where it is told what was refused.

use std::sync::Arc;

use super::denials::Denied;
use super::refusal_log::Kind;
use super::{Bastion, Live};
use crate::audit::AuditEvent;
use crate::grant::Permit;
use crate::inspect::Refused;
use crate::model::{Asked, ChannelClass, ChannelNumber, Destination, FileAsked, Matter, SessionId, Timestamp};
use crate::sftp::{Oversight, Permission, Rights, Terms};

/// What a user may do with files on a channel that asks for this.
///
/// Where it asks for every file it ends with that right. Each path is judged if a rule that might ever let the user in here
/// names paths: even who may write every file must not put there what they could read later.
pub fn terms(
    live: &Live,
    bastion: &Arc<Bastion>,
    destination: &Destination,
    asked: &[Asked],
    channel: ChannelNumber,
) -> Terms {
    let now = bastion.clock.now();
    let may = |class| {
        let of_class = |asked: &&Asked| asked.class == class;
        let permitted =
            |asked: &Asked| bastion.ledger.permit_asked(live.permit.asker(), destination, asked, now).is_ok();
        asked.iter().find(of_class).is_some_and(permitted)
    };
    let rights = Rights { read: may(ChannelClass::SftpRead), write: may(ChannelClass::SftpWrite) };
    let limited = asked.iter().any(|asked| asked.matter != Some(Matter::EveryFile));
    // Of a target that is gone nothing is permitted.
    let target = bastion.ledger.target(&destination.target);
    // One machine may be registered by several names.
    let machine = target.into_iter().flat_map(|target| target.host_keys.into_iter().chain([target.address]));
    let turns = bastion.turns.at(live.permit.user(), machine);
    let oversight = FileOversight {
        bastion: Arc::clone(bastion),
        permit: live.permit.clone(),
        destination: destination.clone(),
        session: live.id.clone(),
        channel,
    };
    Terms { rights, oversight: Arc::new(oversight), limited, turns }
}

/// Asks the ledger for one channel.
struct FileOversight {
    bastion: Arc<Bastion>,
    permit: Permit,
    destination: Destination,
    session: SessionId,
    channel: ChannelNumber,
}

impl Oversight for FileOversight {
    fn permits(&self, file: &FileAsked) -> Option<Permission> {
        let now = self.now();
        let permit = |class: &ChannelClass| {
            let asked = Asked { class: *class, matter: Some(Matter::File(file.clone())) };
            self.bastion.ledger.permit_asked(self.permit.asker(), &self.destination, &asked, now).ok()
        };
        let permits = file.action.classes().iter().filter_map(permit);
        permits.map(|permit| Permission { until: permit.until() }).next()
    }

    fn might(&self, file: &FileAsked) -> bool {
        file.action.classes().iter().any(|class| {
            let asked = Asked { class: *class, matter: Some(Matter::File(file.clone())) };
            self.bastion.ledger.might(self.permit.user(), &self.destination, &asked)
        })
    }

    fn names_paths(&self) -> bool {
        self.bastion.ledger.names_paths(self.permit.user(), &self.destination)
    }

    fn changes(&self) -> u64 {
        self.bastion.ledger.changes()
    }

    fn now(&self) -> Timestamp {
        self.bastion.clock.now()
    }

    fn refused(&self, refused: &Refused) {
        let user = self.permit.user();
        self.bastion.denials.keep(user, Denied::of_file(self.now(), refused, &self.destination));
        let (session, channel, of) = (self.session.clone(), self.channel.0, user.clone());
        let event = move |what| AuditEvent::FileRefused { session: session.clone(), channel, user: of.clone(), what };
        // Of what is beyond the user's share the log keeps the count, and the recording has each.
        let _ = self.bastion.refusals.note(user, Kind::File, &refused.what, event);
    }
}
