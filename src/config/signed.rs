//! The policies as the configuration names them: read, tested, and signed where that is wanted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Config, FILE_BYTES_MAX, read_bytes, read_policies, read_text};
use crate::model::UserName;
use crate::policy::signed::{SignatureFile, Signers, Signing};
use crate::policy::{Fault, PolicyFile, PolicySet};

/// The file of the hashes that are signed, in the policies' directory.
pub const MANIFEST: &str = "manifest";
/// More signatures than signers are anywhere.
const SIGNATURES_MAX: usize = 64;
const SIGNATURE_BYTES_MAX: u64 = 64 << 10;

/// `policy_signers` and `policy_signatures`: who must sign the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningSettings {
    /// A file of lines `USER KEY`. Who can write it decides whose signatures count.
    pub signers: PathBuf,
    /// So many people must have signed. Default 1.
    pub needed: usize,
}

/// A policy set that may take effect as far as its files say.
#[derive(Debug, Clone)]
pub struct LoadedPolicy {
    /// The rules.
    pub set: PolicySet,
    /// Who has signed them, and the edition; `None` where the configuration wants no signatures.
    pub signed: Option<(BTreeSet<UserName>, u64)>,
}

/// Reads the policies, runs their tests, and checks their signatures where the configuration wants any.
///
/// # Errors
/// Every fault; nothing of such a set may take effect.
pub fn load_policy(config: &Config) -> Result<LoadedPolicy, Vec<Fault>> {
    let files = read_policies(&config.policies)?;
    let signed = match &config.signing {
        Some(settings) => Some(check_signatures(settings, &config.policies, &files)?),
        None => None,
    };
    Ok(LoadedPolicy { set: PolicySet::parse(&files)?, signed })
}

fn check_signatures(
    settings: &SigningSettings,
    directory: &Path,
    files: &[PolicyFile],
) -> Result<(BTreeSet<UserName>, u64), Vec<Fault>> {
    let one = |fault| vec![fault];
    let shown = settings.signers.display().to_string();
    let signers = Signers::parse(&shown, &read_text(&settings.signers, &shown).map_err(one)?)?;
    if signers.people() < settings.needed {
        let message = format!("names {} people, and `policy_signatures` wants {}", signers.people(), settings.needed);
        return Err(one(Fault::in_file(shown, message)));
    }
    let path = directory.join(MANIFEST);
    let shown = path.display().to_string();
    let manifest = read_text(&path, &shown).map_err(|fault| {
        one(fault.hint("policies must be signed here: `doorward policy manifest` writes what is to be signed"))
    })?;
    let signatures = read_signatures(directory)?;
    Signing { signers, needed: settings.needed }.check(files, (&shown, &manifest), &signatures)
}

/// The files `manifest.sig` and `manifest.NAME.sig`, by name.
fn read_signatures(directory: &Path) -> Result<Vec<SignatureFile>, Vec<Fault>> {
    let shown = directory.display().to_string();
    let unreadable = |error: std::io::Error| vec![Fault::in_file(&shown, format!("cannot be searched: {error}"))];
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_prefix(MANIFEST).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".sig")) {
            paths.push(path);
        }
    }
    if paths.len() > SIGNATURES_MAX {
        return Err(vec![Fault::in_file(&shown, format!("has more than {SIGNATURES_MAX} signatures"))]);
    }
    paths.sort();
    let (mut signatures, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        let shown = path.display().to_string();
        match read_bytes(&path, SIGNATURE_BYTES_MAX.min(FILE_BYTES_MAX)) {
            Ok(bytes) => signatures.push(SignatureFile { path: shown, bytes }),
            Err(why) => faults.push(Fault::in_file(shown, why)),
        }
    }
    if faults.is_empty() { Ok(signatures) } else { Err(faults) }
}
