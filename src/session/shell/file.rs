//! A file of the target's that is edited at the bastion: fetched, and written back if it is still what was fetched.
//!
//! It is written in place: it stays the same file, with its owner, its mode, its further names and whatever else the target
//! keeps of it, and no right is needed but to read it and to write to it. A temporary file that takes its name would need the
//! right to make, rename and delete files beside it, and would be another file, of another owner. The price: a connection
//! that breaks in the moment of writing may leave it cut. If the target fails in that moment, what was there is put back.
//!
//! What this does **not** guard against: somebody who writes to the file between the look and the writing.

use crate::editor::page::FILE_BYTES_MAX;
use crate::inspect::{FileNote, Note};
use crate::sftp::{Client, Failed, Make, shown};
use crate::store::sha256_hex;
use crate::wire::channel::Sink;

/// `SSH_FX_NO_SUCH_FILE` (draft-ietf-secsh-filexfer-02 section 7).
const NO_SUCH_FILE: u32 = 2;
/// `SSH_FX_PERMISSION_DENIED`.
const DENIED: u32 = 3;

/// A file, as it was when it was looked at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is, without links.
    pub path: Vec<u8>,
    /// What is in it; none if it is not there.
    pub content: Option<Vec<u8>>,
}

/// What became of writing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Yes,
    /// It was not what had been fetched: nothing was written. This is what is there now.
    Changed(Fetched),
}

/// Why it was not done, for its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// In words.
    pub text: String,
    /// Whether the rules say so.
    pub denied: bool,
}

/// Fetches a file to be edited, where its user may read it and write to it.
///
/// # Errors
/// `Why`.
pub async fn fetch<K: Sink>(client: &mut Client<K>, asked: &[u8]) -> Result<Fetched, Why> {
    client.greet().await.map_err(|failed| why(&failed, Doing::Read))?;
    let path = client.real_path(asked).await.map_err(|failed| match failed {
        Failed::Status(NO_SUCH_FILE) => plain("there is no such directory"),
        failed @ (Failed::Denied | Failed::Status(_) | Failed::Lost) => why(&failed, Doing::Read),
    })?;
    let content = content(client, &path).await?;
    client.may_write(&path).await.map_err(|failed| why(&failed, Doing::Write))?;
    Ok(Fetched { path, content })
}

/// Writes a file, if it is still what was fetched.
///
/// # Errors
/// `Why`. What was there is there still, unless it says otherwise.
pub async fn write<K: Sink>(client: &mut Client<K>, fetched: &Fetched, text: &[u8]) -> Result<Written, Why> {
    client.greet().await.map_err(|failed| why(&failed, Doing::Write))?;
    let Fetched { path, content: before } = fetched;
    let now = content(client, path).await?;
    if now != *before {
        return Ok(Written::Changed(Fetched { path: path.clone(), content: now }));
    }
    let make = if before.is_some() { Make::Over } else { Make::New };
    if let Err(failed) = client.write(path, make, text).await {
        return Err(undone(client, fetched, failed).await);
    }
    let sums = format!("before {}; after {}", told(before.as_deref()), told(Some(text)));
    note(client, path, "edit", sums).await.map_err(|failed| why(&failed, Doing::Write))?;
    Ok(Written::Yes)
}

/// Puts back what was there, as far as that is possible.
async fn undone<K: Sink>(client: &mut Client<K>, fetched: &Fetched, failed: Failed) -> Why {
    let Fetched { path, content: before } = fetched;
    let mut told = why(&failed, Doing::Write);
    // What the target did not open is as it was.
    let opened = !matches!(failed, Failed::Denied | Failed::Status(DENIED | NO_SUCH_FILE));
    let Some(before) = before.as_ref().filter(|_| opened) else { return told };
    let unchanged = failed != Failed::Lost && content(client, path).await.as_ref() == Ok(&Some(before.clone()));
    if unchanged {
        return told;
    }
    let back = failed != Failed::Lost && client.write(path, Make::Over, before).await.is_ok();
    if back {
        told.text.push_str("; what was there is put back");
    } else {
        told.text.push_str("; IT MAY BE CUT NOW: save again once this is mended");
    }
    told
}

/// What is at a path: none if nothing is.
async fn content<K: Sink>(client: &mut Client<K>, path: &[u8]) -> Result<Option<Vec<u8>>, Why> {
    let found = match client.look(path).await {
        Ok(found) => found,
        Err(Failed::Status(NO_SUCH_FILE)) => return Ok(None),
        Err(failed) => return Err(why(&failed, Doing::Read)),
    };
    if found.is_directory() {
        return Err(plain("it is a directory"));
    }
    if !found.is_plain() {
        return Err(plain("it is no file, but a device, a pipe or a socket"));
    }
    let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    if found.size.is_some_and(|size| size > most) {
        return Err(plain("it has more than 1 MiB"));
    }
    let content = client.read(path, FILE_BYTES_MAX).await.map_err(|failed| why(&failed, Doing::Read))?;
    if content.len() > FILE_BYTES_MAX {
        return Err(plain("it has more than 1 MiB"));
    }
    Ok(Some(content))
}

async fn note<K: Sink>(client: &Client<K>, path: &[u8], what: &'static str, detail: String) -> Result<(), Failed> {
    let path = shown(path);
    let text = format!("sftp: {what} {path}: {detail}");
    let file = FileNote { what, path, to: None, detail: Some(detail) };
    client.note(Note { text, first: true, file: Some(file), refused: None }).await
}

/// A content on record.
fn told(content: Option<&[u8]>) -> String {
    match content {
        Some(content) => format!("{} bytes, SHA-256 {}", content.len(), sha256_hex(content)),
        None => String::from("nothing"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Read,
    Write,
}

fn plain(text: &str) -> Why {
    Why { text: text.to_owned(), denied: false }
}

fn why(failed: &Failed, doing: Doing) -> Why {
    let (verb, right) = match doing {
        Doing::Read => ("read", "read"),
        Doing::Write => ("write to", "write"),
    };
    match failed {
        Failed::Denied => Why {
            text: format!(
                "no rule lets you {verb} it: ask those who keep the rules for its path in `sftp = {{ {right} = [...] }}`"
            ),
            denied: true,
        },
        Failed::Status(DENIED) => plain(&format!("the account may not {verb} it")),
        Failed::Status(NO_SUCH_FILE) => plain("it, or its directory, is not there"),
        Failed::Status(code) => plain(&format!("the target did not {verb} it (SFTP status {code})")),
        Failed::Lost => plain("the target's file service (SFTP) has ended, or does not answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_refuses_says_what_to_ask_for() {
        let read = why(&Failed::Denied, Doing::Read);
        assert!(read.denied && read.text.contains("sftp = { read = [...] }"), "{read:?}");
        assert!(why(&Failed::Denied, Doing::Write).text.contains("sftp = { write = [...] }"));
        assert!(!why(&Failed::Status(DENIED), Doing::Write).denied);
        assert_eq!(told(None), "nothing");
        assert!(told(Some(b"")).starts_with("0 bytes, SHA-256 e3b0c442"));
    }
}
