//! Messages as they should be, and as somebody with ill intent would have them.

use ssh_key::PrivateKey;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;

use super::*;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn blob(seed: u8) -> Vec<u8> {
    key(seed).public_key().to_bytes().unwrap()
}

fn certificate(of: u8, by: u8, kind: CertType) -> Vec<u8> {
    let mut builder = Builder::new([7; 32], key(of).public_key().key_data().clone(), 0, u64::MAX - 1).unwrap();
    builder.cert_type(kind).unwrap().key_id("x").unwrap().valid_principal("x").unwrap();
    builder.sign(&key(by)).unwrap().to_bytes().unwrap()
}

fn string(text: &[u8]) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text].concat()
}

fn message(body: &[u8]) -> Vec<u8> {
    string(body)
}

const SESSION: &[u8] = &[9; 32];

/// What a key signs for a login (RFC 4252 section 7).
struct Login {
    session: Vec<u8>,
    number: u8,
    service: &'static str,
    method: &'static str,
    signs: u8,
    algorithm: &'static str,
    key: Vec<u8>,
    host: Option<Vec<u8>>,
    more: &'static [u8],
}

fn login() -> Login {
    Login {
        session: SESSION.to_vec(),
        number: 50,
        service: "ssh-connection",
        method: "publickey",
        signs: 1,
        algorithm: "ssh-ed25519",
        key: blob(1),
        host: None,
        more: b"",
    }
}

fn bound_to(host: Vec<u8>) -> Login {
    Login { method: "publickey-hostbound-v00@openssh.com", host: Some(host), ..login() }
}

impl Login {
    fn data(&self) -> Vec<u8> {
        [
            string(&self.session),
            vec![self.number],
            string(b"deploy"),
            string(self.service.as_bytes()),
            string(self.method.as_bytes()),
            vec![self.signs],
            string(self.algorithm.as_bytes()),
            string(&self.key),
            self.host.as_deref().map(string).unwrap_or_default(),
            self.more.to_vec(),
        ]
        .concat()
    }
}

fn sign(blob: &[u8], data: &[u8], flags: u32) -> Vec<u8> {
    message(&[&[13][..], &string(blob), &string(data), &flags.to_be_bytes()].concat())
}

fn signing_of(message: &[u8]) -> Result<Signing, String> {
    match request(message) {
        Request::Sign(signing) => Ok(*signing),
        Request::Other(why) => Err(why),
        Request::List | Request::Bind(_) => Err("something else".into()),
    }
}

#[test]
fn t22_a_signature_is_for_a_login_and_for_nothing_else() {
    let signing = signing_of(&sign(&blob(1), &login().data(), 0)).unwrap();
    assert_eq!((signing.account.as_str(), signing.blob), ("deploy", blob(1)));
    assert_eq!(signing.key.fingerprint(), key(1).fingerprint(HashAlg::Sha256).to_string());
    assert!(signing.host.is_none());
    let bound = signing_of(&sign(&blob(1), &bound_to(blob(2)).data(), 0)).unwrap();
    assert_eq!(bound.host.unwrap().fingerprint(), key(2).fingerprint(HashAlg::Sha256).to_string());

    let sshsig = [&b"SSHSIG"[..], &string(b"file"), &string(b""), &string(b"sha512"), &string(&[1; 64])].concat();
    let cases = [
        ("sshsig", sshsig),
        ("nothing", Vec::new()),
        ("text", b"a text that somebody wants signed".to_vec()),
        ("short session", Login { session: vec![9; 19], ..login() }.data()),
        ("long session", Login { session: vec![9; 65], ..login() }.data()),
        ("another message", Login { number: 51, ..login() }.data()),
        ("another service", Login { service: "ssh-userauth", ..login() }.data()),
        ("another method", Login { method: "hostbased", ..login() }.data()),
        ("a question only", Login { signs: 0, ..login() }.data()),
        ("neither yes nor no", Login { signs: 2, ..login() }.data()),
        ("another key", Login { key: blob(2), ..login() }.data()),
        ("its certificate", Login { key: certificate(1, 2, CertType::User), ..login() }.data()),
        ("another algorithm", Login { algorithm: "rsa-sha2-512", ..login() }.data()),
        ("more", Login { more: b"x", ..login() }.data()),
        ("a host that it does not name", Login { host: Some(blob(2)), ..login() }.data()),
        ("a host that is none", bound_to(b"host".to_vec()).data()),
        ("no host", Login { host: None, ..bound_to(blob(2)) }.data()),
        ("more behind the host", Login { more: b"x", ..bound_to(blob(2)) }.data()),
    ];
    for (what, data) in cases {
        assert!(signing_of(&sign(&blob(1), &data, 0)).is_err(), "{what}");
    }
    // Each flag asks for another algorithm than the login names.
    for flags in [1, 2, 4, u32::MAX] {
        assert!(signing_of(&sign(&blob(1), &login().data(), flags)).is_err(), "{flags}");
    }
    for cut in 0..login().data().len() {
        assert!(signing_of(&sign(&blob(1), &login().data()[..cut], 0)).is_err(), "{cut}");
    }
    let whole = sign(&blob(1), &login().data(), 0);
    for cut in 4..whole.len() {
        assert!(signing_of(&message(&whole[4..cut])).is_err(), "{cut}");
    }
    assert!(signing_of(&message(&[&whole[4..], b"x"].concat())).is_err());
}

#[test]
fn t22_a_signature_for_the_bastion_itself_is_refused() {
    let own = Own { keys: vec![key(3).public_key().clone(), key(4).public_key().clone()], session: Some(vec![5; 32]) };
    let refused = |login: &Login| signing_of(&sign(&blob(1), &login.data(), 0)).unwrap().refused(&own);
    assert_eq!(refused(&login()), None);
    assert_eq!(refused(&bound_to(blob(2))), None);
    for host in [blob(3), blob(4), certificate(3, 2, CertType::Host), certificate(2, 4, CertType::Host)] {
        assert!(refused(&bound_to(host.clone())).is_some());
        let bind = [&[27][..], &string(SESSION_BIND), &string(&host), &string(SESSION), &string(b"s"), &[0]].concat();
        let Request::Bind(host) = request(&message(&bind)) else { panic!("no binding") };
        assert!(host.refused(&own).is_some());
    }
    assert!(refused(&Login { session: vec![5; 32], ..login() }).is_some());
}

#[test]
fn t22_what_changes_an_agent_is_not_let_through() {
    for number in (0..=u8::MAX).filter(|number| ![11, 13, 27].contains(number)) {
        let told = request(&message(&[&[number][..], &string(b"x")].concat()));
        assert!(matches!(told, Request::Other(_)), "{number}: {told:?}");
    }
    for name in ["query", "restrict-destination-v00@openssh.com", "session-bind@openssh.com", ""] {
        let told = request(&message(&[&[27][..], &string(name.as_bytes())].concat()));
        assert!(matches!(told, Request::Other(_)), "{name}: {told:?}");
    }
    assert!(matches!(request(&message(&[11])), Request::List));
    assert!(matches!(request(&message(&[11, 0])), Request::Other(_)));
    let Request::Other(told) = request(&message(&[&[27][..], &string(b"a\x1b[2Jb")].concat())) else { panic!() };
    assert_eq!(told, "the extension a?[2Jb");
}

#[test]
fn t22_messages_are_cut_however_their_bytes_come_and_a_wrong_length_ends_it() {
    let stream = [message(&[11]), sign(&blob(1), &login().data(), 0), message(&[19])].concat();
    for step in [1, 3, 7, stream.len()] {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for part in stream.chunks(step) {
            frames.push(part);
            while let Some(one) = frames.take().unwrap() {
                found.push(one.to_vec());
            }
        }
        assert_eq!(found.concat(), stream);
        assert_eq!(found.len(), 3);
    }
    for length in [0, MESSAGE_BYTES_MAX + 1, usize::try_from(u32::MAX).unwrap()] {
        let mut frames = Frames::default();
        frames.push(&u32::try_from(length).unwrap().to_be_bytes());
        assert!(frames.take().is_err(), "{length}");
    }
}

#[test]
fn the_list_of_keys_reads_back_and_nothing_else_is_one() {
    let entry = |blob: &[u8]| [string(blob), string(b"a comment")].concat();
    let body = [&[12, 0, 0, 0, 2][..], &entry(&blob(1)), &entry(&certificate(1, 2, CertType::User))].concat();
    let list = identities(&message(&body)).unwrap().unwrap();
    assert_eq!(list_of(&list), message(&body));
    let keys: Vec<Key> = list.iter().map(|one| Key::read(&one.blob).unwrap()).collect();
    assert_eq!(keys[0].fingerprint(), keys[1].fingerprint());
    assert!(keys[0].certificate.is_none() && keys[1].certificate.is_some());
    assert!(identities(&failure()).unwrap().is_none());
    for cut in 1..body.len() {
        assert!(identities(&message(&body[..cut])).is_err(), "{cut}");
    }
    assert!(identities(&message(&[&body[..], b"x"].concat())).is_err());
    assert!(identities(&message(&[12, 255, 255, 255, 255])).is_err());
    assert!(identities(&message(&[6])).is_err());
}

#[test]
fn a_key_of_an_unknown_kind_is_none() {
    for bytes in [&b""[..], b"\0\0\0\x0bssh-ed25519", &string(b"ssh-dss"), &[blob(1), vec![0]].concat()] {
        assert!(Key::read(bytes).is_none(), "{bytes:?}");
    }
    let webauthn = [string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com"), string(b"nistp256")].concat();
    assert!(Key::read(&webauthn).is_none());
}

#[test]
fn answers_are_understood_to_their_last_byte() {
    let signed = message(&[&[14][..], &string(b"signature")].concat());
    assert_eq!(has_signed(&signed), Ok(true));
    assert_eq!(has_signed(&failure()), Ok(false));
    assert!(has_signed(&[&signed[..], b"x"].concat()).is_err());
    assert!(has_signed(&message(&[12, 0, 0, 0, 0])).is_err());
    assert_eq!(
        (is_bound(&message(&[6])), is_bound(&message(&[5])), is_bound(&message(&[28]))),
        (Ok(true), Ok(false), Ok(false))
    );
    assert!(is_bound(&signed).is_err());
    let Request::Bind(host) = request(&forwarded(&blob(2), SESSION, b"signature")) else { panic!("no binding") };
    assert_eq!(host.fingerprint(), key(2).fingerprint(HashAlg::Sha256).to_string());
}
