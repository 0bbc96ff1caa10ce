//! `doorward request`.

use super::desk::{Desk, unexpected};
use super::output::{Form, Table, json, listing, print};
use super::{CliError, times};
use crate::admin::api::{AccessRequestRow, NewRequest, Reply, Request};
use crate::grant::{Entered, TicketSaid, Verdict};
use crate::ledger::{Delivery, Message};
use crate::model::{ChannelClass, Destination, RequestId, Timestamp, UserName, join};
use crate::screen::{line, span_short};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List requests that wait.
    List {
        /// Also those that are decided.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Show one, with all that was said of it.
    Show {
        /// Its id, such as r-7k2mq4.
        request: RequestId,
        #[command(flatten)]
        form: Form,
    },
    /// Ask in a user's name. Its approvers decide as ever; whoever enters it does not, by whatever name.
    Add {
        /// For whom, such as alice.
        user: UserName,
        /// Where to, such as root@db1.
        destination: Destination,
        /// The bastion user that you are.
        #[arg(long = "as", value_name = "USER")]
        own: UserName,
        /// For how long, such as 30m or 2h; as long as the rule lets, if not said.
        #[arg(long = "for", value_name = "SPAN", value_parser = times::parse_span)]
        span: Option<std::time::Duration>,
        /// From when on, such as 2026-11-23T22:00:00+01:00; without an offset, in the bastion's zone.
        #[arg(long, value_name = "TIME", value_parser = times::parse_moment)]
        from: Option<Timestamp>,
        /// Less than the rule opens, such as shell,exec.
        #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = channel)]
        channels: Vec<ChannelClass>,
        /// What it is for.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// The ticket, if the rule wants one and the reason does not begin with it.
        #[arg(long, value_name = "ID")]
        ticket: Option<String>,
    },
    /// Cancel one that is not granted yet. What is granted: `doorward grant revoke`.
    Cancel {
        /// Its id.
        request: RequestId,
    },
}

pub(super) fn run(desk: &Desk, command: Command) -> Result<(), CliError> {
    match command {
        Command::List { all, form } => list(&rows(desk, Request::RequestList { all })?, form),
        Command::Show { request, form } => {
            let Reply::AccessRequest { request, told } = desk.ask(Request::RequestShow { request })? else {
                return Err(unexpected());
            };
            if form.json { json(&Shown { request: &request, told: &told }) } else { print(&shown(&request, &told)) }
        }
        Command::Add { user, destination, own, span, from, channels, reason, ticket } => {
            let channels = (!channels.is_empty()).then(|| channels.into_iter().collect());
            let new = NewRequest { user, destination, own, span, from, channels, reason, ticket };
            let Reply::AccessRequest { request, .. } = desk.ask(Request::RequestAdd { new: Box::new(new) })? else {
                return Err(unexpected());
            };
            let AccessRequestRow { request, .. } = *request;
            let takes = format!("{} ({})", request.quorum.approvers, join(&request.quorum.reviewers));
            print(&format!(
                "requested  {}  {} to {}  waiting for {takes}\n",
                request.id, request.requester, request.destination
            ))
        }
        Command::Cancel { request } => desk.tell(Request::RequestCancel { request }),
    }
}

fn channel(text: &str) -> Result<ChannelClass, String> {
    let named = ChannelClass::ALL.into_iter().find(|class| class.to_string() == text);
    named.ok_or_else(|| format!("channels are {}", join(ChannelClass::ALL)))
}

fn rows(desk: &Desk, request: Request) -> Result<Vec<AccessRequestRow>, CliError> {
    let Reply::AccessRequests { requests } = desk.ask(request)? else { return Err(unexpected()) };
    Ok(requests)
}

fn list(rows: &[AccessRequestRow], form: Form) -> Result<(), CliError> {
    let mut table = Table::new(&["REQUEST", "STATE", "USER", "DESTINATION", "FOR", "ASKED", "APPROVALS", "PURPOSE"]);
    for AccessRequestRow { request, state } in rows {
        let yes = request.reviews.iter().filter(|review| review.verdict == Verdict::Approve).count();
        table.row([
            request.id.to_string(),
            state.clone(),
            request.requester.to_string(),
            request.destination.to_string(),
            span_short(request.narrowed().0),
            times::shown(request.asked),
            format!("{yes} of {}", request.quorum.approvers),
            line(&request.purpose()),
        ]);
    }
    listing(form, rows, &table, "no access requests wait")
}

/// `request show --json`.
#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    request: &'a AccessRequestRow,
    told: &'a [Message],
}

fn shown(AccessRequestRow { request, state }: &AccessRequestRow, told: &[Message]) -> String {
    let mut rows = vec![
        ("request", request.id.to_string()),
        ("state", state.clone()),
        ("user", request.requester.to_string()),
        ("destination", request.destination.to_string()),
        ("for", span_short(request.narrowed().0)),
        ("channels", join(&request.narrowed().1)),
        ("reason", line(&request.reason)),
        ("rule", request.rule.to_string()),
        ("asked", times::shown(request.asked)),
        ("waits until", times::shown(request.pending_until)),
        ("takes", request.quorum.approvers.to_string()),
        ("reviewers", join(&request.quorum.reviewers)),
    ];
    let entered = |entered: &Entered| ("entered by", format!("{}, {}", entered.user, entered.by));
    rows.extend(request.entered.as_ref().map(entered));
    let said =
        |said: &TicketSaid| ("ticket known", format!("to {}: {} at {}", said.host, said.status, times::shown(said.at)));
    rows.extend(request.ticket_said.as_ref().map(said));
    rows.extend(request.ticket.iter().map(|ticket| ("ticket", line(ticket))));
    rows.extend(request.extends.iter().map(|grant| ("lengthens", grant.to_string())));
    rows.extend(request.sessions.map(|most| ("sessions", format!("at most {most}"))));
    rows.extend(request.bound_key.iter().map(|key| ("only with", line(key))));
    rows.extend(request.why.iter().map(|why| ("because", line(why))));
    if let Some(glass) = &request.glass {
        let due = format!("broken; to be reviewed by {}", times::shown(glass.due));
        let judged = glass.judged.as_ref();
        rows.push(("glass", judged.map_or(due, |judged| format!("broken; {} by {}", judged.finding, judged.by))));
    }
    for message in told {
        for (way, delivery) in &message.ways {
            let how = match delivery {
                Delivery::Waiting { tries: 0, .. } => String::from("not sent yet"),
                Delivery::Waiting { tries, .. } => format!("not taken, {tries} tries"),
                Delivery::Delivered { at } => format!("delivered at {}", times::shown(*at)),
                Delivery::GivenUp { why, .. } => format!("given up: {}", line(why)),
            };
            rows.push(("told", format!("{} by {way}: {how}", message.event)));
        }
    }
    for review in &request.reviews {
        let what = match review.verdict {
            Verdict::Approve => "approved by",
            Verdict::Deny => "denied by",
        };
        let note = if review.note.is_empty() { String::new() } else { format!(": {}", line(&review.note)) };
        rows.push((what, format!("{} at {}{note}", review.by, times::shown(review.at))));
    }
    rows.into_iter().map(|(name, value)| format!("{name:13}{value}\n")).collect()
}
