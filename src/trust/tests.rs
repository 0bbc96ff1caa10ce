use std::net::IpAddr;

use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};

use super::*;

const HERE: [u8; 4] = [192, 0, 2, 7];

#[test]
fn a_certificate_counts_in_its_time() {
    let trust = trusting(b"");
    let at = |seconds: i64| {
        let now = Timestamp::from_millis(seconds * 1000);
        trust.certificate(&certificate(|_| {}), &Circumstances { now, ..here() })
    };
    assert_eq!(at(499), Err(Distrust::NotYet { from: Timestamp::from_millis(500_000) }));
    assert_eq!((at(500), at(1999)), (Ok(()), Ok(())));
    assert_eq!(at(2000), Err(Distrust::Expired { until: Timestamp::from_millis(2_000_000) }));
}

#[test]
fn a_certificate_of_another_authority_or_for_hosts_does_not_count() {
    let trust = trusting(b"");
    let ask = |certificate: &Certificate| trust.certificate(certificate, &here());
    assert_eq!(ask(&certificate(|_| {})), Ok(()));
    let stranger = builder(CertType::User, 7, |_| {}).sign(&private(21)).unwrap();
    assert!(matches!(ask(&stranger), Err(Distrust::UnknownCa { .. })));
    let host = builder(CertType::Host, 7, |_| {}).sign(&private(20)).unwrap();
    assert_eq!(ask(&host), Err(Distrust::NotForUsers));
    assert!(matches!(Trust::default().certificate(&certificate(|_| {}), &here()), Err(Distrust::UnknownCa { .. })));
}

#[test]
fn a_forged_certificate_does_not_count() {
    // Signed by the stranger, and then given the authority's key in the place of theirs.
    let trust = trusting(b"");
    let bytes = builder(CertType::User, 7, |_| {}).sign(&private(21)).unwrap().to_bytes().unwrap();
    let (theirs, ours) = (public(21).to_bytes().unwrap(), public(20).to_bytes().unwrap());
    let at = bytes.windows(theirs.len()).position(|window| window == theirs).unwrap();
    let mut forged = bytes.clone();
    forged[at..at + ours.len()].copy_from_slice(&ours);
    let forged = Certificate::from_bytes(&forged).unwrap();
    assert_eq!(trust.certificate(&forged, &here()), Err(Distrust::BadSignature));
}

#[test]
fn critical_options_that_are_not_kept_are_refused() {
    let trust = trusting(b"");
    let with = |name: &str, value: &str| {
        let certificate = certificate(|builder| {
            builder.critical_option(name, value).unwrap();
        });
        trust.certificate(&certificate, &here())
    };
    for name in ["force-command", "unknown@example.com", "Source-Address"] {
        assert_eq!(with(name, "x"), Err(Distrust::CriticalOption { name: name.to_owned() }));
    }
    assert_eq!(with("verify-required", ""), Ok(()));
    assert!(with("verify-required", "x").is_err());
    for inside in ["192.0.2.7", "192.0.2.0/24", "10.0.0.0/8,192.0.2.7/32", "::/0,192.0.0.0/8"] {
        assert_eq!(with("source-address", inside), Ok(()), "{inside}");
    }
    for outside in ["192.0.2.8", "10.0.0.0/8", "", "192.0.2.7,nonsense", "!192.0.2.8", "192.0.2.7 ", "*"] {
        assert!(matches!(with("source-address", outside), Err(Distrust::SourceAddress { .. })), "{outside}");
    }
}

#[test]
fn extensions_are_no_reason_to_refuse() {
    let trust = trusting(b"");
    let certificate = certificate(|builder| {
        builder.extension("permit-pty", "").unwrap().extension("unknown@example.com", "x").unwrap();
    });
    assert_eq!(trust.certificate(&certificate, &here()), Ok(()));
}

#[test]
fn a_list_of_authorities_is_taken_whole_or_not_at_all() {
    let read = |text: &str| Trust::read(Some(list(text.as_bytes())), None);
    let line = public(20).to_openssh().unwrap();
    assert_eq!(read(&format!("# ours\n\n{line} ca\n")).cas(), 1);
    for broken in ["", "# none\n", &format!("{line}\nnonsense\n"), "ssh-ed25519 AAAA\n", "\u{0}"] {
        let trust = read(broken);
        assert!(trust.faults().next().unwrap().starts_with("list: "), "{broken}");
        assert!(matches!(trust.certificate(&certificate(|_| {}), &here()), Err(Distrust::Unreadable { .. })));
    }
    let missing = List { name: "list".to_owned(), content: Err("cannot be read".to_owned()) };
    assert_eq!(Trust::read(Some(missing), None).faults().collect::<Vec<_>>(), ["list: cannot be read"]);
}

#[test]
fn a_plain_list_revokes_keys_wherever_they_are() {
    let of = |seed| format!("# gone\n{}\n", public(seed).to_openssh().unwrap());
    // The key in the certificate, and the authority's.
    for seed in [9, 20] {
        let trust = trusting(of(seed).as_bytes());
        let refused = trust.certificate(&certificate(|_| {}), &here());
        assert_eq!(
            refused,
            Err(Distrust::KeyRevoked { fingerprint: public(seed).fingerprint(HashAlg::Sha256).to_string() })
        );
        assert!(trust.key(&public(seed), For::Opening).is_err() && trust.key(&public(seed), For::Live).is_err());
        assert_eq!(trust.key(&public(3), For::Opening), Ok(()));
    }
}

#[test]
fn a_binary_list_revokes_by_every_kind_of_entry() {
    let ca = public(20).to_bytes().unwrap();
    let key = public(9).to_bytes().unwrap();
    let (sha1, sha256) = (hash(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &key), hash(&ring::digest::SHA256, &key));
    let of = |ca: &[u8], kind: u8, data: &[u8]| {
        krl(&[(1, [&string(ca)[..], &string(b""), &[kind], &string(data)].concat())])
    };
    let serials = |serials: &[u64]| serials.iter().flat_map(|serial| serial.to_be_bytes()).collect::<Vec<u8>>();
    let bitmap = |offset: u64, bits: &[u8]| [&offset.to_be_bytes()[..], &string(bits)].concat();
    let revoking: [(&str, Vec<u8>); 9] = [
        ("serial", of(&ca, 0x20, &serials(&[3, 7]))),
        ("serial of any authority", of(b"", 0x20, &serials(&[7]))),
        ("range", of(&ca, 0x21, &serials(&[5, 7]))),
        ("bitmap", of(&ca, 0x22, &bitmap(5, &[0b100]))),
        ("long bitmap", of(&ca, 0x22, &bitmap(0, &[0b1000_0000 >> 1, 0b1000_0000]))),
        ("key id", of(&ca, 0x23, &string(b"laptop of alice"))),
        ("key", krl(&[(2, string(&key))])),
        ("SHA-1", krl(&[(3, string(&sha1))])),
        ("SHA-256", krl(&[(5, string(&sha256))])),
    ];
    for (name, bytes) in revoking {
        let trust = trusting(&bytes);
        assert_eq!(trust.faults().collect::<Vec<_>>(), [""; 0], "{name}");
        let refused = trust.certificate(&certificate(|_| {}), &here());
        assert!(matches!(refused, Err(Distrust::KeyRevoked { .. } | Distrust::CertificateRevoked { .. })), "{name}");
        // What is open ends too.
        let live = Circumstances { purpose: For::Live, ..here() };
        assert!(trust.certificate(&certificate(|_| {}), &live).is_err(), "{name}");
    }
    let other = public(21).to_bytes().unwrap();
    let passing: [(&str, Vec<u8>); 7] = [
        ("serial of another authority", of(&other, 0x20, &serials(&[7]))),
        ("another serial", of(&ca, 0x20, &serials(&[8]))),
        ("another range", of(&ca, 0x21, &serials(&[8, u64::MAX]))),
        ("another bit", of(&ca, 0x22, &bitmap(5, &[0b011]))),
        ("a bit below", of(&ca, 0x22, &bitmap(8, &[0x7f]))),
        ("another key id", of(&ca, 0x23, &string(b"laptop of alic"))),
        ("an extension that may be passed over", krl(&[(255, [&string(b"x")[..], &[0], &string(b"y")].concat())])),
    ];
    for (name, bytes) in passing {
        assert_eq!(trusting(&bytes).certificate(&certificate(|_| {}), &here()), Ok(()), "{name}");
    }
}

#[test]
fn a_serial_of_none_is_not_revoked_by_a_range() {
    let bytes = krl(&[(1, [&string(b"")[..], &string(b""), &[0x21], &string(&[[0; 8], [0xff; 8]].concat())].concat())]);
    let none = builder(CertType::User, 0, |_| {}).sign(&private(20)).unwrap();
    assert_eq!(trusting(&bytes).certificate(&none, &here()), Ok(()));
    assert!(trusting(&bytes).certificate(&certificate(|_| {}), &here()).is_err());
}

#[test]
fn a_binary_list_that_is_not_understood_to_its_end_is_refused() {
    let good = krl(&[(2, string(&public(9).to_bytes().unwrap()))]);
    assert!(Revoked::parse(&good).is_ok());
    let header = krl(&[]).len();
    for end in (8..good.len()).filter(|end| *end != header) {
        assert!(Revoked::parse(&good[..end]).is_err(), "cut at {end}");
    }
    let certificates = |rest: &[u8]| krl(&[(1, [&string(b"")[..], &string(b""), rest].concat())]);
    let section = |kind: u8, data: &[u8]| certificates(&[&[kind][..], &string(data)].concat());
    let mut other_format = good.clone();
    other_format[11] = 2;
    for (name, bytes) in [
        ("another format", other_format),
        ("an unknown section", krl(&[(6, Vec::new())])),
        ("a signature", krl(&[(4, Vec::new())])),
        ("a critical extension", krl(&[(255, [&string(b"x")[..], &[1], &string(b"y")].concat())])),
        ("an unknown section of certificates", section(0x24, b"")),
        ("half a serial", section(0x20, &[0; 12])),
        ("a range backwards", section(0x21, &[[0xff; 8], [0; 8]].concat())),
        ("a range and more", section(0x21, &[0; 17])),
        ("a negative bitmap", section(0x22, &[&[0; 8][..], &string(&[0x80])].concat())),
        ("a short fingerprint", krl(&[(5, string(&[0; 20]))])),
        ("a length beyond the end", krl(&[(2, vec![0xff, 0xff, 0xff, 0xff, 0])])),
    ] {
        assert!(Revoked::parse(&bytes).is_err(), "{name}");
        assert!(trusting(&bytes).key(&public(3), For::Opening).is_err(), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_list_makes_the_reader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = Revoked::parse(&[b"SSHKRL\n\0\0\0\0\x01", &bytes[..]].concat());
        let _ = Revoked::parse(&bytes);
    }
}

fn hash(algorithm: &'static ring::digest::Algorithm, bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(algorithm, bytes).as_ref().to_vec()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn krl(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [&b"SSHKRL\n\0"[..], &[0, 0, 0, 1], &[0; 24], &string(b""), &string(b"comment")].concat();
    for (kind, data) in sections {
        bytes.push(*kind);
        bytes.extend(string(data));
    }
    bytes
}

fn list(bytes: &[u8]) -> List {
    List { name: "list".to_owned(), content: Ok(bytes.to_vec()) }
}

fn trusting(revoked: &[u8]) -> Trust {
    Trust::read(Some(list(public(20).to_openssh().unwrap().as_bytes())), Some(list(revoked)))
}

fn here() -> Circumstances {
    let now = Timestamp::from_millis(1_000_000);
    Circumstances { purpose: For::Opening, source: IpAddr::from(HERE), now }
}

fn private(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn public(seed: u8) -> PublicKey {
    private(seed).public_key().clone()
}

fn builder(kind: CertType, serial: u64, change: impl FnOnce(&mut Builder)) -> Builder {
    let mut builder = Builder::new(vec![1; 16], public(9).key_data().clone(), 500, 2000).unwrap();
    builder.cert_type(kind).unwrap().key_id("laptop of alice").unwrap().serial(serial).unwrap();
    builder.valid_principal("alice").unwrap();
    change(&mut builder);
    builder
}

fn certificate(change: impl FnOnce(&mut Builder)) -> Certificate {
    builder(CertType::User, 7, change).sign(&private(20)).unwrap()
}
