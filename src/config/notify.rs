//! `[notify]` and `[requests]`: how people are told of requests, and who is asked about tickets.

use std::path::Path;

use super::{Fault, Faults, Node, Table};
use crate::http;
use crate::model::UserName;
use crate::notify::{MailSettings, NotifySettings};

/// Webhooks, and words of the mail command.
const LIST_MAX: usize = 16;

pub(super) fn read_notify(table: &mut Table<'_>, base: &Path, faults: &mut Faults) -> NotifySettings {
    let webhooks = table.read("webhooks", Vec::new(), faults, |node| list(node, &|item| url(item, &[])));
    let twice = webhooks.iter().enumerate().any(|(at, url)| webhooks.iter().take(at).any(|other| other == url));
    if twice {
        faults.push(table.fault("`webhooks` has one URL twice").hint("two ways that fail together are one"));
    }
    let webhook_token = table.read("webhook_token", None, faults, |node| Ok(Some(base.join(node.filled_string()?))));
    let command = table
        .read("mail_command", Vec::new(), faults, |node| list(node, &|item| item.filled_string().map(str::to_owned)));
    let from = table.read("mail_from", None, faults, |node| address(node, true).map(Some));
    let domain = table.read("mail_domain", None, faults, |node| address(node, false).map(Some));
    let mail =
        match (command.first(), from, domain) {
            (None, None, None) => None,
            (Some(program), Some(from), Some(domain)) if program.starts_with('/') => {
                Some(MailSettings { command, from, domain })
            }
            (Some(_), Some(_), Some(_)) => {
                faults.push(table.fault("`mail_command` begins with the full path of a program"));
                None
            }
            (_, _, _) => {
                let fault = table.fault("mail wants `mail_command`, `mail_from` and `mail_domain`");
                faults.push(fault.hint(
                    "such as [\"/usr/sbin/sendmail\", \"-t\", \"-i\"], \"doorward@example.org\", \"example.org\"",
                ));
                None
            }
        };
    let alerts_to = table.read("alerts_to", Vec::new(), faults, |node| {
        list(node, &|item| UserName::parse(item.filled_string()?).map_err(|error| item.fault(error.to_string())))
    });
    if !alerts_to.is_empty() && mail.is_none() {
        faults.push(table.fault("`alerts_to` get mail, and there is no `mail_command`"));
    }
    NotifySettings { webhooks, webhook_token, mail, operators: alerts_to }
}

pub(super) fn read_requests(table: &mut Table<'_>, faults: &mut Faults) -> Option<String> {
    let parts = ["{ticket}", "{user}", "{target}", "{account}"];
    table.read("ticket_check", None, faults, |node| {
        let url = url(node, &parts)?;
        if url.contains("{ticket}") {
            return Ok(Some(url));
        }
        Err(node
            .fault("does not say where the ticket goes")
            .hint("https://tickets.example.org/api/{ticket}?user={user}"))
    })
}

fn list<T>(node: &Node<'_>, read: &dyn Fn(&Node<'_>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
    let items = node.filled_list()?;
    if items.len() > LIST_MAX {
        return Err(node.fault(format!("has more than {LIST_MAX} items")));
    }
    items.iter().map(read).collect()
}

/// A URL, in which these parts may stand.
fn url(node: &Node<'_>, parts: &[&str]) -> Result<String, Fault> {
    let text = node.filled_string()?;
    let plain = parts.iter().fold(text.to_owned(), |text, part| text.replace(part, "x"));
    http::check_url(&plain).map_err(|why| node.fault(format!("is no URL to call: {why}")))?;
    Ok(text.to_owned())
}

/// `name@domain`, or a domain alone: plain enough to stand in a header.
fn address(node: &Node<'_>, with_name: bool) -> Result<String, Fault> {
    let text = node.filled_string()?;
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
    };
    let good = match text.split_once('@') {
        Some((name, domain)) => with_name && plain(name) && plain(domain),
        None => !with_name && plain(text),
    };
    if good { Ok(text.to_owned()) } else { Err(node.fault(format!("{text:?} is not that of mail"))) }
}
