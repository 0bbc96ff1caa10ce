//! A segment that must stay readable, byte for byte.

use super::*;

/// An independent program (Python, its own HKDF and CRC-32C, another AES) has read it by the format's description.
/// Channel 1 of the session `01890A5D-AC96-774B-BCCE-B302099A8057`, secret 00 01 .. 1f.
const SEGMENT: &str = "\
    445752430101000001890a5dac96774bbcceb302099a805700000000070000000000000061756469746f7273000000000000\
    0000000000000000000000000000000000000000000000000000010000007b292fa31555f077937b1c8709a5bb4d574cef91\
    5c862303c20013664d6bb377c997ea28290000018d5a96c7ebb5c943602222c0269d9c9ec04ea47aa7a0d0bf8e041bdf0e4d\
    8067f607cde923109a372229a32cdd1b0000015615220fc655871d417ca626d2ce9cbfb10207f03b54c8062753024cfaa95a\
    13000001355b2bb323d6ea9aaf2f09c09b32e1a488480c4cd11c7e21000002b9817a0d7f09550b0a39ea7cd691dbd6132044\
    de7f6022f944f1b528243b1f255e411dad54";

#[test]
fn the_vector_opens_as_ever() {
    let bytes = from_hex(SEGMENT);
    let scanned = scan(&bytes);
    assert_eq!(scanned.end, Ok(ScanEnd::Complete));
    assert_eq!(scanned.head.to_string(), "c521ef4b04fd71e103be4577484b7cbae30187291a54dacc161c3d33ace66e73");
    let opened = open_with(&mut Opener::new(secret()), &bytes, usize::MAX).unwrap();
    assert_eq!(opened.batches, [&b"[0,\"o\",\"hello\"]\n"[..], b"[1,\"o\",\"hello\"]\n", b""]);
    assert_eq!(opened.end, Some(End { records: 3, plain_bytes: 32, reason: EndReason::Closed }));
    assert_eq!(opened.header.t0_ms, 7);
}

#[test]
fn sealing_the_vector_s_plaintext_gives_the_vector() {
    // A new zstd may compress otherwise. Then, and only then, may the vector change without a new version.
    assert_eq!(to_hex(&sealed()), SEGMENT);
}

fn sealed() -> Vec<u8> {
    let mut out = Vec::new();
    let session = 0x0189_0A5D_AC96_774B_BCCE_B302_099A_8057_u128.to_be_bytes();
    let source = Source { stream: Stream::Cast3, session, recipients_digest: *b"auditors" };
    let key = SessionKeys::new(&secret()).unwrap().channel(ChannelNumber(1)).unwrap();
    let mut sealer = Sealer::start(source, key, 7, ContextPool::new(1), &mut out).unwrap();
    sealer.record(b"[0,\"o\",\"hello\"]\n", &mut out).unwrap();
    sealer.record(b"[1,\"o\",\"hello\"]\n", &mut out).unwrap();
    sealer.end(EndReason::Closed, &mut out).unwrap();
    out
}

fn secret() -> Dek {
    Dek::from_bytes(&std::array::from_fn(|number| u8::try_from(number).unwrap()))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
