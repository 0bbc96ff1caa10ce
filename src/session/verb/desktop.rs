//! Tickets for desktops, and what live desktops show.

use std::sync::Arc;

use serde::Serialize;

use super::super::desktop::{Door, GOOD_FOR, Issued, NoPicture, Proven, TicketError, ticket_event};
use super::super::refusal::Busy;
use super::super::{Bastion, Refusal, Visitor, rests};
use super::{Answer, Verb, busy, check, put_on_record, refused};
use crate::audit::TicketStep;
use crate::grant::Denial;
use crate::listener::Place;
use crate::model::{Asked, ChannelClass, Destination, SessionId, TargetName, Timestamp, UserName};
use crate::policy::AuditRight;
use crate::rdp::file;
use crate::target::DialError;

/// A ticket that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Where to.
    pub destination: Destination,
    form: Form,
}

/// How a ticket is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For people: the line for FreeRDP, and the password.
    Text,
    /// All of it.
    Json,
}

/// Reads `ACCOUNT@TARGET [--json]`.
pub(super) fn wish(words: &[&str]) -> Option<Wish> {
    let (destination, form) = match words {
        [destination] => (destination, Form::Text),
        [destination, "--json"] | ["--json", destination] => (destination, Form::Json),
        _ => return None,
    };
    Some(Wish { destination: Destination::parse(destination).ok()?, form })
}

/// A ticket, as programs read it.
#[derive(Serialize)]
struct Written<'a> {
    destination: &'a Destination,
    address: &'a str,
    certificate: String,
    ticket: &'a str,
    password: &'a str,
    until: String,
    file: String,
    command: String,
}

/// Makes a ticket for who may see that desktop now; it is on record before it is given.
pub(super) async fn issue(
    bastion: &Arc<Bastion>,
    visitor: &Arc<Visitor>,
    wish: &Wish,
) -> Result<(String, Place<UserName>), Refusal> {
    let Wish { destination, form } = wish;
    let door = bastion.desktops.door.as_ref();
    let door = door.ok_or_else(|| Refusal::NotCarried(String::from("a desktop on this bastion")))?;
    let what = format!("rdp {destination}");
    let place = bastion.limits.request(visitor.user.user()).ok_or_else(|| busy(&what, Busy::Requests))?;
    rests::begin_approved(bastion, visitor, destination, &[Asked::from(ChannelClass::Desktop)]).await?;
    let now = bastion.clock.now();
    let permit = bastion.ledger.permit(visitor.asker(), destination, ChannelClass::Desktop, now);
    let permit = match permit {
        Ok(permit) => permit,
        // `why` tells of the desktop that was asked for, not of the verb.
        Err(denial) => return Err(Refusal::Denied(denial)),
    };
    let target = bastion.ledger.target(&destination.target).ok_or(Refusal::Denied(Denial::UnknownTarget))?;
    let desktop = target.desktop.ok_or_else(|| Refusal::NotCarried(String::from("a desktop of this target")))?;
    if desktop.pin.is_none() {
        return Err(Refusal::Dial(DialError::NoPinnedKey));
    }
    // A ticket that could only end in a refusal, once the target was looked at, is not given.
    bastion.vault.has_password(&permit).map_err(Refusal::Vault)?;
    if !bastion.refusals.view(visitor.user.user()) {
        return Err(busy(&what, Busy::Views));
    }
    let source = visitor.user.asker().source;
    let proven = Proven { login: visitor.user.clone(), destination: destination.clone() };
    let issued = bastion.desktops.tickets.issue(proven, source, bastion.clock.instant());
    let Issued { name, secret } = issued.map_err(|error| match error {
        TicketError::TooMany => Refusal::TooMany("tickets for desktops"),
        TicketError::Crypto | TicketError::Unknown | TicketError::Elsewhere | TicketError::Spent => {
            Refusal::Denied(Denial::Undecided { cause: error.to_string() })
        }
    })?;
    let event = ticket_event(visitor, destination, name.clone(), TicketStep::Issued);
    if let Err(failure) = bastion.record(event).await {
        // What is not on record is nobody's.
        let _ = bastion.desktops.tickets.take(&name, source, bastion.clock.instant());
        return Err(Refusal::Audit(failure));
    }
    let until = now.plus(GOOD_FOR);
    let of = file::Invitation {
        address: &door.address,
        user: &name,
        certificate: &door.certificate,
        rules: permit.desktop(),
    };
    Ok((written(*form, door, destination, &of, secret.expose(), until), place))
}

fn written(
    form: Form,
    door: &Door,
    destination: &Destination,
    of: &file::Invitation<'_>,
    password: &str,
    until: Timestamp,
) -> String {
    match form {
        Form::Json => {
            let written = Written {
                destination,
                address: &door.address,
                certificate: format!("sha256:{}", door.certificate),
                ticket: of.user,
                password,
                until: String::from(until),
                file: file::text(of),
                command: file::xfreerdp(of),
            };
            serde_json::to_string(&written).map_or_else(|_| String::from("{}\n"), |text| text + "\n")
        }
        Form::Text => format!(
            "The desktop of {destination}: once, from here, until {until}.\n\n  {}\n\nUser:      {}\nPassword:  {password}\n\
             Server:    {}\nIts certificate: sha256:{}\n\nFor mstsc (not tested): ssh USER@BASTION rdp {destination} --json has the text of \
             an .rdp file (`file`) and the password.\n",
            file::xfreerdp(of),
            of.user,
            door.address,
            door.certificate,
        ),
    }
}

/// What a live desktop shows.
pub(super) struct Picture {
    pub target: TargetName,
    pub png: Vec<u8>,
    pub place: Place<UserName>,
}

/// Judges whether somebody may see a desktop, and looks. It is on record before.
pub(super) async fn picture(
    bastion: &Arc<Bastion>,
    visitor: &Arc<Visitor>,
    session: &SessionId,
    verb: &Verb,
) -> Result<Answer, Refusal> {
    let user = visitor.user.user();
    let live = bastion.sessions.list().into_iter().find(|live| live.id == *session);
    let live = live.ok_or_else(|| refused(verb, "the session is not live"))?;
    let target = live.destination.target.clone();
    check(bastion, user, &target, AuditRight::Watch, verb)?;
    let place = bastion.limits.watch(user).ok_or_else(|| busy(verb, Busy::Watches))?;
    put_on_record(bastion, user, session, verb, "watch").await?;
    // One look is no second pair of eyes that stays: `session watch` is.
    bastion.sessions.tell_watch(session, &format!("{user} looks at this desktop"));
    match bastion.desktops.screens.look(session).await {
        Ok(png) => Ok(Answer::Picture(Picture { target, png, place })),
        Err(NoPicture::NotLive) => Err(refused(verb, "the session is no desktop")),
        Err(NoPicture::Blank) => Err(Refusal::Command("the desktop has drawn nothing yet: try again in a moment")),
        Err(NoPicture::Busy) => Err(busy(verb, Busy::Waiting)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdp::rules::DesktopRules;

    #[test]
    fn a_wish_names_a_destination_and_one_form() {
        assert_eq!(wish(&["administrator@win1"]).unwrap().form, Form::Text);
        assert_eq!(wish(&["administrator@win1", "--json"]).unwrap().form, Form::Json);
        for bad in [&[][..], &["win1"], &["a@win1", "--file"], &["a@win1", "b@win1"], &["--json"]] {
            assert_eq!(wish(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_file_holds_no_password_and_json_holds_what_a_program_needs() {
        let door = Door { address: String::from("bastion:3389"), certificate: String::from("ab12") };
        let (destination, rules) = (Destination::parse("administrator@win1").unwrap(), DesktopRules::default());
        let of = file::Invitation { address: &door.address, user: "t-7f3a", certificate: "ab12", rules: &rules };
        let text = |form| written(form, &door, &destination, &of, "s3cret", Timestamp::from_millis(0));
        let json: serde_json::Value = serde_json::from_str(&text(Form::Json)).unwrap();
        assert_eq!((json["ticket"].as_str(), json["password"].as_str()), (Some("t-7f3a"), Some("s3cret")));
        assert_eq!(json["certificate"], "sha256:ab12");
        for free in ["command", "file"] {
            assert!(!json[free].as_str().unwrap().contains("s3cret"), "{free}");
        }
        assert!(text(Form::Text).contains("Password:  s3cret"));
    }
}
