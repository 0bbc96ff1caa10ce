//! What `doorward init` writes: a configuration with every key in it, and policies to start from.

/// The policies to start from: file name under `policies/`, and text.
pub const STARTER_POLICIES: &[(&str, &str)] = &[
    ("access/administrators.toml", include_str!("../../policies/access/administrators.toml")),
    ("access/backups.toml", include_str!("../../policies/access/backups.toml")),
    ("access/desktops.toml", include_str!("../../policies/access/desktops.toml")),
    ("access/own-account.toml", include_str!("../../policies/access/own-account.toml")),
    ("access/web-menu.toml", include_str!("../../policies/access/web-menu.toml")),
    ("access/web-operators.toml", include_str!("../../policies/access/web-operators.toml")),
    ("commands/no-destruction.toml", include_str!("../../policies/commands/no-destruction.toml")),
    ("commands/no-shell.toml", include_str!("../../policies/commands/no-shell.toml")),
    ("commands/read-only.toml", include_str!("../../policies/commands/read-only.toml")),
    ("commands/web-menu.toml", include_str!("../../policies/commands/web-menu.toml")),
    ("commands/web-operators.toml", include_str!("../../policies/commands/web-operators.toml")),
];

/// The values of a first configuration that its place decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starter<'a> {
    /// The address to listen on.
    pub listen: &'a str,
    /// The state directory.
    pub data: &'a str,
    /// The policies' directory.
    pub policies: &'a str,
    /// The master key's file.
    pub master_key: &'a str,
    /// The auditors' recipients.
    pub auditors: &'a [String],
    /// The identity that was made here, if one was.
    pub insecure_identity: Option<&'a str>,
}

impl Default for Starter<'_> {
    fn default() -> Self {
        Self {
            listen: "0.0.0.0:2222",
            data: "data",
            policies: "policies",
            master_key: "master.key",
            auditors: &[],
            insecure_identity: None,
        }
    }
}

impl super::Config {
    /// The text of a first `doorward.toml`: the values that its place decides, and every other key with its default as a comment.
    pub fn starter_text(starter: &Starter<'_>) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let identity = match starter.insecure_identity {
            Some(file) => format!("insecure_identity = {}", quoted(file)),
            None => String::from("## insecure_identity = \"auditor.key\""),
        };
        TEMPLATE
            .replace("@LISTEN@", &quoted(starter.listen))
            .replace("@DATA@", &quoted(starter.data))
            .replace("@POLICIES@", &quoted(starter.policies))
            .replace("@MASTER_KEY@", &quoted(starter.master_key))
            .replace("@AUDITORS@", &toml::Value::from(starter.auditors.to_vec()).to_string())
            .replace("@IDENTITY@", &identity)
    }
}

// In the template a line `# key = value` is a setting with its default, and words behind `##` are comments.
const TEMPLATE: &str = r##"## Doorward. Relative paths are relative to this file. Try changes with `doorward check`.
## Lines with one `#` show defaults; take the `#` away to change them.

## Where to accept SSH: an address and port, or a list of them.
listen = @LISTEN@

## State, recordings and audit log. Back it up.
data = @DATA@

## Rules: access/*.toml in this directory.
policies = @POLICIES@
## A file of lines `USER KEY`: with it policies take effect only if so many of these people have signed them (`doorward
## policy manifest`), for each rule one whom it does not name. The keys are SSH keys; the file stays out of `policies`.
## policy_signers = "policy_signers"
## policy_signatures = 1

## The key that seals all secrets. Outside `data`, and backed up elsewhere: who has both has every secret;
## who loses it loses them all.
master_key = @MASTER_KEY@

[ssh]
## Time to log in.
# login_grace = "30s"
## A silent connection, the user's or the target's, is asked this often whether it lives, and given up after so
## many questions without an answer.
# keepalive = "30s"
# keepalive_max = 3
## Shown before login to whoever connects; empty means none.
# banner = ""
## Connections that have not logged in: in all, and from one address.
# max_unauthenticated = 100
# max_unauthenticated_per_address = 10
## Connections that have logged in: in all, and of one user. Each may need five file descriptors (`ulimit -n`).
# max_connections = 2000
# max_connections_per_user = 100
## Environment variables that users may set on targets; `*` stands only at the end of a name. Never let one
## pass that decides what runs, such as LD_PRELOAD or BASH_ENV.
# env = ["LANG", "LC_*"]
## Open channels of one connection.
# max_channels = 64
## New session keys after so many bytes.
# rekey_bytes = "1GiB"

[login]
## Public keys, one a line, of the authorities whose user certificates log in; the principal is the user's name. Who has
## such a key can be every user. The file is read again when it changes.
## user_cas = "user_cas.pub"
## Keys and certificates that log nobody in: what `ssh-keygen -k` writes, or public keys, one a line. While it cannot be
## read nobody logs in by a key. It is read again when it changes, and live sessions that rest on what it names end.
## revoked_keys = "revoked_keys"
## Whether users who have both a password and one-time codes (`doorward user password`, `doorward user totp`) may log in
## by them, and when a user's password is locked, for how long: so many failures in a row. Keys go on.
# passwords = false
# password_failures = 5
# password_lock = "15m"

[target]
## How long the TCP connection to a target may take; after it the user is told that the target does not answer.
# connect_timeout = "10s"
## From then on: how long key exchange and login on the target may take. Raise it for targets that ask slow
## directories.
# login_timeout = "15s"

## The door for desktops (RDP); without this section there is none. `offered`: `nla` takes one-time tickets (ssh USER@BASTION rdp
## ACCOUNT@TARGET), `tls` a password with its one-time code directly behind it. Left out it is `nla`, and `tls` too where
## [login] passwords is true; strangers can guess at `tls`. `address` is what people's programs are told; the certificate's
## fingerprint: `doorward rdp-certificate`.
## [rdp]
## listen = "0.0.0.0:3389"
## address = "bastion.example.org:3389"
## offered = ["nla"]
## handshake = "30s"
## max_unauthenticated = 20
## max_unauthenticated_per_address = 5
## max_desktops = 100
## max_desktops_per_user = 5

[recording]
## Age recipients for whom sessions are sealed whose rule names none. Each of them can read everything; nobody else
## can, this machine neither. A change holds for new sessions.
auditors = @AUDITORS@
## The file of an auditor's identity that was made on this machine. Take it away, and this line too: while it lies
## here, whoever takes the machine over can read every recording.
@IDENTITY@
## A session whose records do not reach the disk for so long is ended.
# stall_limit = "10s"
## Under durability = "bounded": what a power cut may lose.
# bounded_window = "50ms"
## Set aside to end recordings properly on a full disk.
# reserve = "64MiB"
## With less free space than this, or than so much of the disk, new sessions are refused.
# free_min = "2GiB"
# free_min_percent = 5
## Recordings that began longer ago are removed, once a day, but those on hold: a number and `d`. Without it they are
## kept for ever.
## retention = "400d"

[admin]
## Numeric user ids that may administer, besides root and the server's own user. `data` is closed to them, so the
## socket must then lie outside it: socket = "/run/doorward/admin.sock", in a directory of the server's own.
# operators = []
## The socket of the administration commands; by default admin.sock in `data`.
# socket = "data/admin.sock"

[log]
## text or json, to standard error.
# format = "text"
## error, warn, info, debug or trace. Evidence never depends on it.
# level = "info"

## How approvers are told of requests, and requesters of decisions; break-glass needs two ways. Each webhook gets JSON by
## POST; the mail command gets a message with its headers.
[notify]
## webhooks = ["https://chat.example.org/hooks/access"]
## A file with a token, sent as `Authorization: Bearer` to each of these; a webhook with a token of its own gets that alone:
## webhooks = [{ url = "https://chat.example.org/hooks/access", token = "chat.token" }]
## webhook_token = "webhook.token"
## A file with a secret by which each message is signed (Doorward-Signature, HMAC-SHA256), of these or of one alone:
## webhook_secret = "webhook.secret"
## Alerts alone go to collectors of logs and to a program, which gets them as JSON on its standard input:
## syslog = ["tcp://siem.example.org:601", "udp://10.0.0.9:514", "unix:/dev/log"]
## alert_command = ["/usr/local/bin/page", "--team", "security"]
## mail_command = ["/usr/sbin/sendmail", "-t", "-i"]
## mail_from = "doorward@example.org"
## Mail for alice goes to alice@ this domain.
## mail_domain = "example.org"
## Who gets each alert: that a glass was broken, besides those whom it asks; that no session can begin.
## mail_alerts = ["security@example.org"]

[requests]
## Asked by GET whether a ticket counts: 2xx is yes, anything else, or nothing within 5 s, is no. {user}, {target} and
## {account} may stand in it, too.
## ticket_check = "https://tickets.example.org/api/{ticket}?user={user}"

## A backup each day, by the server itself, into a directory that `doorward backup` has made; and of so many days the state.
## Whoever has a recipient's identity can have every secret: let it be another than an auditor's, kept elsewhere.
## [backup]
## to = "/mnt/backup/bastion1"
## recipients = ["age1..."]
## The time is UTC.
## at = "02:00"
## keep = 14
## Remove from it what was erased or removed here.
## prune = false

## Who cosigns the audit log's checkpoints, so that it cannot be put back or changed unnoticed: one [[witness]] each,
## on machines that are not this one. `doorward witness init` prints the key.
## [[witness]]
## url = "https://witness.example/doorward"
## key = "witness.example/w1+01234567+B..."
"##;
