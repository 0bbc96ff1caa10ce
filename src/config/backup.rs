//! `[backup]`: where the server backs itself up, and for whom.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Config, Fault, Faults, Node, Recipient, Table, read_auditors, read_policies, read_text, resolve};

/// Kept states are whole files, each with every secret of its day.
const KEEP_MAX: u32 = 3660;

/// `[backup]`: a backup each day, by the server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    /// `to`: the directory, which `doorward backup` has made. No default. On the disk of `data` it is lost with it.
    pub to: PathBuf,
    /// `recipients`: age recipients who can open the state in it. No default. Each of them can have every secret.
    pub recipients: Vec<Recipient>,
    /// `at`: when, in minutes after midnight UTC; written as `HH:MM`. Default `02:00`. It reads and writes much.
    pub at_minute: u16,
    /// `keep`: of so many backups the state stays in `states/`. Default 14. Rights and keys that were destroyed since are
    /// in those that are older.
    pub keep: u32,
    /// `prune`: what the log says was erased or removed is removed from the backup too. Default false.
    pub prune: bool,
}

impl Config {
    /// What a restored bastion is configured with, by its path in a backup's `config/`.
    ///
    /// # Errors
    /// The faults of files that cannot be read.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, Vec<Fault>> {
        let text = read_text(&self.file, &self.file.display().to_string()).map_err(|fault| vec![fault])?;
        let policies = read_policies(&self.policies)?;
        let mut files: BTreeMap<String, Vec<u8>> =
            policies.into_iter().map(|file| (file.path, file.text.into_bytes())).collect();
        files.insert("doorward.toml".to_owned(), text.into_bytes());
        Ok(files)
    }
}

pub(super) fn read_backup(
    root: &mut Table<'_>,
    base: &Path,
    data: &Path,
    faults: &mut Faults,
) -> Option<BackupSettings> {
    let mut table = root.take("backup").and_then(|node| faults.keep(node.table()))?;
    let to = table.need("to", faults).and_then(|node| {
        let to = faults.keep(node.filled_string().map(|to| base.join(to)))?;
        if resolve(&to).starts_with(resolve(data)) {
            faults.push(node.fault("lies inside `data`: it would be lost with it"));
            return None;
        }
        Some(to)
    });
    let recipients = table.need("recipients", faults).and_then(|node| faults.keep(read_auditors(&node)));
    let at_minute = table.read("at", 120, faults, read_at);
    let keep = table.read("keep", 14, faults, |node| node.integer_in(1..=KEEP_MAX));
    let prune = table.read("prune", false, faults, Node::boolean);
    table.finish(&[], faults);
    Some(BackupSettings { to: to?, recipients: recipients?, at_minute, keep, prune })
}

fn read_at(node: &Node<'_>) -> Result<u16, Fault> {
    let text = node.string()?;
    let number = |part: &str, most: u16| {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|number| plain && *number <= most)
    };
    let read = text.split_once(':').and_then(|(hour, minute)| Some((number(hour, 23)?, number(minute, 59)?)));
    let (hour, minute) =
        read.ok_or_else(|| node.fault(format!("{text:?} is no time of day")).hint("write 02:00; it is UTC"))?;
    Ok(hour * 60 + minute)
}
