//! `[notify]` and `[requests]`: how people are told of requests, and who is asked about tickets.

use std::path::{Path, PathBuf};

use super::{Fault, Faults, Node, Table};
use crate::http;
use crate::notify::{MailSettings, NotifySettings, Syslog, Webhook};

/// Webhooks, and words of the mail command.
const LIST_MAX: usize = 16;

pub(super) fn read_notify(table: &mut Table<'_>, base: &Path, faults: &mut Faults) -> NotifySettings {
    let common = table.read("webhook_token", None, faults, |node| Ok(Some(base.join(node.filled_string()?))));
    let secret = table.read("webhook_secret", None, faults, |node| Ok(Some(base.join(node.filled_string()?))));
    let webhooks = read_webhooks(table, base, (common.as_ref(), secret.as_ref()), faults);
    let twice =
        webhooks.iter().enumerate().any(|(at, hook)| webhooks.iter().take(at).any(|other| other.url == hook.url));
    if twice {
        faults.push(table.fault("`webhooks` has one URL twice").hint("two ways that fail together are one"));
    }
    let command = table
        .read("mail_command", Vec::new(), faults, |node| list(node, &|item| item.filled_string().map(str::to_owned)));
    let from = table.read("mail_from", None, faults, |node| address(node, true).map(Some));
    let domain = table.read("mail_domain", None, faults, |node| address(node, false).map(Some));
    let alerts = table.read("mail_alerts", Vec::new(), faults, |node| list(node, &|item| address(item, true)));
    if command.is_empty() && !alerts.is_empty() {
        faults.push(table.fault("`mail_alerts` wants `mail_command`"));
    }
    let mail =
        match (command.first(), from, domain) {
            (None, None, None) => None,
            (Some(program), Some(from), Some(domain)) if program.starts_with('/') => {
                Some(MailSettings { command, from, domain, alerts })
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
    let syslog = table.read("syslog", Vec::new(), faults, |node| {
        list(node, &|item| {
            let text = item.filled_string()?;
            let hint = "udp://HOST:PORT, tcp://HOST:PORT or unix:/dev/log";
            Syslog::parse(text).map_err(|why| item.fault(format!("{text:?} {why}")).hint(hint))
        })
    });
    let words = |node: &Node<'_>| list(node, &|item| item.filled_string().map(str::to_owned));
    let alert_command = table.read("alert_command", Vec::new(), faults, words);
    if alert_command.first().is_some_and(|program| !program.starts_with('/')) {
        faults.push(table.fault("`alert_command` begins with the full path of a program"));
    }
    NotifySettings { webhooks, mail, syslog, alert_command }
}

/// Each is a URL, which gets the common token and is signed by the common secret, or a table with a `url` and a `token` and
/// `secret` of its own, which gets those alone.
fn read_webhooks(
    table: &mut Table<'_>,
    base: &Path,
    (token, secret): (Option<&PathBuf>, Option<&PathBuf>),
    faults: &mut Faults,
) -> Vec<Webhook> {
    let Some(nodes) = table.take("webhooks").and_then(|node| faults.keep(items(&node))) else { return Vec::new() };
    let mut webhooks = Vec::new();
    for node in &nodes {
        if node.as_str().is_some() {
            let url = faults.keep(url(node, &[]));
            webhooks.extend(url.map(|url| Webhook { url, token: token.cloned(), secret: secret.cloned() }));
            continue;
        }
        let Some(mut hook) = faults.keep(node.table()) else { continue };
        let url = hook.need("url", faults).and_then(|node| faults.keep(url(&node, &[])));
        let token = hook.read("token", None, faults, |node| Ok(Some(base.join(node.filled_string()?))));
        let secret = hook.read("secret", None, faults, |node| Ok(Some(base.join(node.filled_string()?))));
        hook.finish(&[], faults);
        webhooks.extend(url.map(|url| Webhook { url, token, secret }));
    }
    webhooks
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
    items(node)?.iter().map(read).collect()
}

fn items<'d>(node: &Node<'d>) -> Result<Vec<Node<'d>>, Fault> {
    let items = node.filled_list()?;
    if items.len() > LIST_MAX {
        return Err(node.fault(format!("has more than {LIST_MAX} items")));
    }
    Ok(items)
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
