//! Signed policy sets: who has signed a manifest of the files, and whether that is enough.
//!
//! The manifest is what `sha256sum` writes of the files, behind a line with a serial number; the signatures are what
//! `ssh-keygen -Y sign -n doorward-policy` makes of it (OpenSSH's PROTOCOL.sshsig), by keys of any kind that logs in.
//!
//! What this module does **not** guard against: signers who sign what they have not read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ring::digest::{SHA256, digest};
use ssh_key::{Algorithm, PublicKey, SshSig};

use super::{Names, PolicyFile, Rule};
use crate::document::Fault;
use crate::model::{GroupName, UserName};

/// What signatures of manifests are for, so that no other signature of the same key counts here.
pub const NAMESPACE: &str = "doorward-policy";
/// RSA keys of fewer bits count nowhere.
const RSA_BITS_MIN: u32 = 2048;
/// More signers than anybody has.
const SIGNERS_MAX: usize = 256;
/// The flag of a security key that was touched (OpenSSH's PROTOCOL.u2f).
const TOUCHED: u8 = 1;

/// Who may sign, each by one key or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers(Vec<(UserName, PublicKey)>);

impl Signers {
    /// Reads a file of lines `USER KEY`, the beginning of OpenSSH's allowed signers; empty lines and those with `#` say
    /// nothing.
    ///
    /// # Errors
    /// Every line that is not one, or that no signer is named.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let (mut signers, mut faults) = (Vec::new(), Vec::new());
        let lines = (1_usize..).zip(text.lines().map(str::trim));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            match signer(line) {
                Ok(signer) if signers.iter().any(|(_, key): &(_, PublicKey)| key.key_data() == signer.1.key_data()) => {
                    faults.push(at_line(file, number, "this key stands above already: a key is one person's"));
                }
                Ok(signer) => signers.push(signer),
                Err(why) => faults.push(at_line(file, number, why)),
            }
        }
        if faults.is_empty() && signers.is_empty() {
            faults.push(
                Fault::in_file(file, "names nobody").hint("write a line `USER ssh-ed25519 AAAA...` for each signer"),
            );
        }
        if signers.len() > SIGNERS_MAX {
            faults.push(Fault::in_file(file, format!("names more than {SIGNERS_MAX} signers")));
        }
        if faults.is_empty() { Ok(Self(signers)) } else { Err(faults) }
    }

    /// How many people are named.
    pub fn people(&self) -> usize {
        self.0.iter().map(|(user, _)| user).collect::<BTreeSet<_>>().len()
    }

    /// Who made this signature of this manifest.
    ///
    /// # Errors
    /// Why it does not count.
    fn by(&self, manifest: &str, signature: &[u8]) -> Result<&UserName, String> {
        let signature = SshSig::from_pem(signature).map_err(|error| format!("is not a signature: {error}"))?;
        let known = self.0.iter().find(|(_, key)| key.key_data() == signature.public_key());
        let (user, key) = known.ok_or("is by a key that is not a signer's")?;
        let algorithm = signature.algorithm();
        if algorithm == (Algorithm::Rsa { hash: None }) {
            return Err(String::from("is by SHA-1"));
        }
        if matches!(algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256) && !touched(&signature) {
            return Err(String::from("is by a security key that nobody touched"));
        }
        if signature.namespace() != NAMESPACE {
            return Err(format!("is not for `{NAMESPACE}`: sign with `ssh-keygen -Y sign -n {NAMESPACE}`"));
        }
        key.verify(NAMESPACE, manifest.as_bytes(), &signature).map_err(|_| String::from("is not of this manifest"))?;
        Ok(user)
    }
}

fn signer(line: &str) -> Result<(UserName, PublicKey), String> {
    let (user, key) = line.split_once(char::is_whitespace).ok_or("expected a user and a public key")?;
    let user = UserName::parse(user).map_err(|invalid| invalid.to_string())?;
    let key = PublicKey::from_openssh(key.trim())
        .map_err(|error| format!("not a public key: {error}; options before it are not supported"))?;
    let data = key.key_data();
    if data.rsa().is_some_and(|rsa| rsa.key_size() < RSA_BITS_MIN) {
        return Err(format!("an RSA key of fewer than {RSA_BITS_MIN} bits"));
    }
    if data.is_certificate() || data.is_dsa() || data.is_other() {
        return Err(format!("{} keys are not accepted", key.algorithm()));
    }
    Ok((user, key))
}

/// Whether somebody touched the security key: its flags are the byte before the counter's four.
fn touched(signature: &SshSig) -> bool {
    let flags = signature.signature_bytes().iter().rev().nth(4);
    flags.is_some_and(|flags| flags & TOUCHED != 0)
}

/// The files of a set, by their hashes, and which edition of it this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// It rises with each edition: one that was signed once cannot be put back.
    pub serial: u64,
    files: BTreeMap<String, String>,
}

impl Manifest {
    /// The manifest of these files.
    pub fn of(files: &[PolicyFile], serial: u64) -> Self {
        let files = files.iter().map(|file| (below_root(&file.path).to_owned(), hash(&file.text)));
        Self { serial, files: files.collect() }
    }

    /// Reads what `Display` writes.
    ///
    /// # Errors
    /// The first line that is not one.
    pub fn parse(file: &str, text: &str) -> Result<Self, Fault> {
        let mut lines = (1_usize..).zip(text.lines());
        let serial = lines.next().and_then(|(_, line)| line.strip_prefix(HEAD)?.parse().ok());
        let serial = serial.ok_or_else(|| {
            let fault = at_line(file, 1, format!("does not begin with `{HEAD}NUMBER`"));
            fault.hint("`doorward policy manifest` writes it")
        })?;
        let mut files = BTreeMap::new();
        for (number, line) in lines {
            let (hash, path) = line.split_once("  ").unwrap_or((line, ""));
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            if !is_hash || path.is_empty() || files.insert(path.to_owned(), hash.to_owned()).is_some() {
                return Err(at_line(file, number, "is not one hash and one file, as `sha256sum` writes them"));
            }
        }
        Ok(Self { serial, files })
    }

    /// What differs between it and these files; empty if nothing does.
    pub fn differences(&self, files: &[PolicyFile]) -> Vec<Fault> {
        let now = Self::of(files, self.serial);
        let shown = |path: &str| files.iter().find(|file| below_root(&file.path) == path).map(|file| file.path.clone());
        let mut faults = Vec::new();
        for (path, hash) in &now.files {
            match self.files.get(path) {
                Some(signed) if signed == hash => {}
                Some(_) => faults.push((path, "has changed since the manifest was made")),
                None => faults.push((path, "is not in the manifest")),
            }
        }
        let gone = self.files.keys().filter(|path| !now.files.contains_key(*path));
        faults.extend(gone.map(|path| (path, "is in the manifest, and missing here")));
        let fault = |(path, why): (&String, &str)| Fault::in_file(shown(path).unwrap_or_else(|| path.clone()), why);
        faults.into_iter().map(fault).collect()
    }
}

const HEAD: &str = "# doorward policy, serial ";

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}{}", self.serial)?;
        self.files.iter().try_for_each(|(path, hash)| writeln!(f, "{hash}  {path}"))
    }
}

/// A manifest or a signature, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureFile {
    /// Its name in faults.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// What must be there for a set to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// Who may sign.
    pub signers: Signers,
    /// So many of them must.
    pub needed: usize,
}

impl Signing {
    /// The people who have signed exactly these files, and the set's serial number.
    ///
    /// # Errors
    /// What is not as it was signed; or whose signatures do not count, if those that do are too few.
    pub fn check(
        &self,
        files: &[PolicyFile],
        manifest: (&str, &str),
        signatures: &[SignatureFile],
    ) -> Result<(BTreeSet<UserName>, u64), Vec<Fault>> {
        let (path, text) = manifest;
        let read = Manifest::parse(path, text).map_err(|fault| vec![fault])?;
        let differences = read.differences(files);
        if !differences.is_empty() {
            return Err(differences);
        }
        let (mut by, mut faults) = (BTreeSet::new(), Vec::new());
        for signature in signatures {
            match self.signers.by(text, &signature.bytes) {
                Ok(user) => drop(by.insert(user.clone())),
                Err(why) => faults.push(Fault::in_file(&signature.path, why)),
            }
        }
        if by.len() >= self.needed {
            return Ok((by, read.serial));
        }
        let signed = if by.is_empty() { String::from("nobody") } else { crate::model::join(&by) };
        let message = format!("{} must have signed it, and {signed} has", people(self.needed));
        let hint =
            format!("`ssh-keygen -Y sign -n {NAMESPACE} -f KEY {path}`, then name the signature `manifest.NAME.sig`");
        faults.push(Fault::in_file(path, message).hint(hint));
        Err(faults)
    }
}

/// A rule that only people have signed to whom it gives something: each is a fault.
///
/// `human` says by which name somebody is known who has several, `groups` in which groups any of these is.
pub fn signed_by_own<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    by: &BTreeSet<UserName>,
    human: impl Fn(&UserName) -> UserName,
    groups: impl Fn(&UserName) -> BTreeSet<GroupName>,
) -> Vec<Fault> {
    let by: Vec<(UserName, BTreeSet<GroupName>)> = by.iter().map(|user| (human(user), groups(user))).collect();
    let names = |rule: &Rule, (own, groups): &(UserName, BTreeSet<GroupName>)| {
        let named = match &rule.who.users {
            // What is for everybody is nobody's own.
            Names::Every => false,
            Names::These(users) => users.iter().any(|user| human(user) == *own),
        };
        named || rule.who.groups.iter().any(|group| groups.contains(group))
    };
    let alone = rules.filter(|rule| by.iter().all(|signer| names(rule, signer)));
    let fault = |rule: &Rule| {
        Fault {
            file: rule.file.clone(),
            line: Some(rule.line),
            key: String::from("rule.who"),
            message: format!("rule `{}` is signed only by people whom it is for", rule.id),
            hint: None,
        }
        .hint("have somebody sign the manifest whom the rule does not name")
    };
    alone.map(fault).collect()
}

fn people(count: usize) -> String {
    if count == 1 { String::from("one signer") } else { format!("{count} signers") }
}

/// A file's name without the policies' own directory, which may be called differently elsewhere.
fn below_root(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, below)| below)
}

fn hash(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn at_line(file: &str, line: usize, message: impl Into<String>) -> Fault {
    Fault { line: Some(line), ..Fault::in_file(file, message) }
}

#[cfg(test)]
mod tests;
