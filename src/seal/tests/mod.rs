use proptest::prelude::*;

use super::*;
use crate::model::ChannelNumber;

mod hostile;
mod keys;
mod vector;

#[test]
fn what_was_sealed_opens_again_batch_by_batch() {
    let batches = [b"[0,\"o\",\"one\"]\n".to_vec(), b"two".repeat(40_000), vec![7], random(70_000, 1)];
    let (bytes, sealed) = seal(&batches.each_ref().map(|batch| Step::Record(batch.clone())), EndReason::Closed);
    let opened = open(&bytes).unwrap();
    assert_eq!(opened.batches[..4], batches);
    // The frame's closing bytes are a record that holds nothing.
    assert_eq!(opened.batches[4..], [b""]);
    assert_eq!(opened.end.unwrap(), End { records: 5, plain_bytes: 190_015, reason: EndReason::Closed });
    let scanned = scan(&bytes);
    assert_eq!(scanned.end, Ok(ScanEnd::Complete));
    assert_eq!((scanned.head, scanned.records), (sealed.head, 6));
    assert_eq!((scanned.valid_len, sealed.bytes), (len(&bytes), len(&bytes)));
}

#[test]
fn a_large_batch_becomes_several_records_and_an_empty_one_none() {
    let large = random(2 * PLAIN_BYTES_MAX + 1, 2);
    let (bytes, sealed) = seal(&[Step::Record(Vec::new()), Step::Record(large.clone())], EndReason::Closed);
    assert_eq!(sealed.records, 3 + 1);
    assert_eq!(open(&bytes).unwrap().batches.concat(), large);
}

#[test]
fn the_data_of_a_segment_are_whole_frames_that_any_zstd_reads() {
    let steps = [record("a"), record("b"), Step::EndFrame, Step::EndFrame, record("c")];
    let (bytes, _) = seal(&steps, EndReason::Closed);
    let mut key = SessionKeys::seek(&dek(), ChannelNumber(1)).unwrap();
    let cipher = cipher::Cipher::new(&key).unwrap();
    let compressed: Vec<u8> = records(&bytes)
        .filter(|record| record.kind == Kind::Data)
        .flat_map(|record| {
            let (frame, body) = record.parts().unwrap();
            let mut body = body.to_vec();
            cipher.open(record.index, &record.before, frame, &mut body).unwrap().to_vec()
        })
        .collect();
    assert_eq!(compressed.windows(4).filter(|four| *four == 0xFD2F_B528_u32.to_le_bytes()).count(), 2);
    assert_eq!(zstd::stream::decode_all(compressed.as_slice()).unwrap(), b"abc");
    key.advance().unwrap();
    assert_eq!(key.segment(), 1);
}

#[test]
fn an_ended_frame_gives_its_compressor_back_and_the_next_record_takes_one() {
    let pool = ContextPool::new(1);
    let mut out = Vec::new();
    let mut first = sealer(&pool, 1, &mut out);
    let mut second = sealer(&pool, 2, &mut out);
    assert!(!first.has_frame());
    first.record(b"x", &mut out).unwrap();
    second.record(b"x", &mut out).unwrap();
    assert!(first.has_frame());
    assert_eq!(pool.idle(), 0);
    first.end_frame(&mut out).unwrap();
    assert_eq!(pool.idle(), 1);
    let before = out.len();
    first.end_frame(&mut out).unwrap();
    assert_eq!(out.len(), before, "there was no frame to end");
    drop(second);
    assert_eq!(pool.idle(), 1, "no more are kept than were asked for");
    first.record(b"x", &mut out).unwrap();
    assert_eq!(pool.idle(), 0);
}

#[test]
fn a_used_compressor_writes_the_same_as_a_new_one() {
    let pool = ContextPool::new(1);
    let mut bytes = [Vec::new(), Vec::new()];
    for out in &mut bytes {
        let mut sealer = sealer(&pool, 1, out);
        sealer.record(&random(5000, 3), out).unwrap();
        // Dropped in the middle of a frame.
        sealer.record(b"and some text, and some text", out).unwrap();
    }
    assert_eq!(bytes[0], bytes[1]);
}

#[test]
fn a_compressor_takes_less_than_a_mebibyte() {
    let pool = ContextPool::new(1);
    let mut compressor = pool.lend().unwrap();
    compressor.push(&random(600_000, 4), &mut Vec::new()).unwrap();
    assert!(compressor.memory() < 1024 * 1024, "{} bytes", compressor.memory());
}

#[test]
fn i5_a_rolled_segment_is_linked_to_the_next_and_no_other_end_is() {
    let pool = ContextPool::new(1);
    let (mut first, mut second, mut spare) = (Vec::new(), Vec::new(), Vec::new());
    let mut sealer = sealer(&pool, 1, &mut first);
    assert_eq!(sealer.next_segment(5, &mut spare), Err(SealError::NotRolled));
    sealer.record(b"one", &mut first).unwrap();
    let sealed = sealer.end(EndReason::Rolled, &mut first).unwrap();
    assert_eq!(sealer.record(b"late", &mut spare), Err(SealError::Over));
    assert_eq!(sealer.end_frame(&mut spare), Err(SealError::Over));
    sealer.next_segment(5, &mut second).unwrap();
    assert_eq!(sealer.sealed().prev_head, sealed.head);
    sealer.record(b"two", &mut second).unwrap();
    sealer.end(EndReason::Failed, &mut second).unwrap();
    assert_eq!(sealer.next_segment(6, &mut spare), Err(SealError::NotRolled));
    assert_eq!(sealer.end(EndReason::Closed, &mut spare), Err(SealError::Over));
    assert!(spare.is_empty());

    let header = scan(&second).header.unwrap();
    assert_eq!((header.segment, header.t0_ms, header.prev_head), (1, 5, scan(&first).head));
    // Each starts with a frame of its own, so the second opens alone.
    assert_eq!(open(&second).unwrap().batches.concat(), b"two");
    assert_eq!(open(&first).unwrap().batches.concat(), b"one");
}

#[test]
fn no_plaintext_is_in_what_is_sealed() {
    let canary = "CANARY-b41c-do-not-store-this-anywhere";
    let (bytes, _) = seal(&[record(canary), record(canary)], EndReason::Closed);
    for piece in canary.as_bytes().windows(4) {
        assert!(!bytes.windows(4).any(|four| four == piece));
    }
    assert!(!bytes.windows(4).any(|four| four == 0xFD2F_B528_u32.to_le_bytes()), "nor its compressed form");
}

#[test]
fn i8_each_record_has_its_own_nonce_and_each_segment_its_own_key() {
    let pool = ContextPool::new(1);
    let mut segments = vec![Vec::new(), Vec::new(), Vec::new()];
    let mut sealer = sealer(&pool, 1, &mut segments[0]);
    for (number, out) in segments.iter_mut().enumerate() {
        if number > 0 {
            sealer.next_segment(0, out).unwrap();
        }
        for _ in 0..4 {
            sealer.record(b"the same", out).unwrap();
            sealer.end_frame(out).unwrap();
        }
        sealer.end(EndReason::Rolled, out).unwrap();
    }
    let mut key = SessionKeys::seek(&dek(), ChannelNumber(1)).unwrap();
    let mut keys = Vec::new();
    for bytes in &segments {
        let cipher = cipher::Cipher::new(&key).unwrap();
        keys.push(*key.seal_key().unwrap());
        key.advance().unwrap();
        for record in records(bytes) {
            let (frame, body) = record.parts().unwrap();
            let opening: Vec<u64> = (0..20)
                .filter(|nonce| cipher.open(*nonce, &record.before, frame, &mut body.to_vec()).is_ok())
                .collect();
            assert_eq!(opening, [record.index], "only the record's own number opens it");
        }
        assert_eq!(records(bytes).count(), 9);
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), segments.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_batches_frames_rolls_and_chunks_read_back(
        steps in prop::collection::vec(step(), 0..24),
        chunk in prop_oneof![Just(1_usize), 2..200_usize, Just(1 << 20)],
        end in prop_oneof![Just(None), Just(Some(EndReason::Closed)), Just(Some(EndReason::Failed))],
    ) {
        let pool = ContextPool::new(2);
        let mut segments = vec![Vec::new()];
        let mut plain = vec![Vec::new()];
        let mut sealer = sealer(&pool, 1, &mut segments[0]);
        for step in &steps {
            let out = segments.last_mut().unwrap();
            match step {
                Step::Record(batch) => {
                    sealer.record(batch, out).unwrap();
                    plain.last_mut().unwrap().extend_from_slice(batch);
                }
                Step::EndFrame => sealer.end_frame(out).unwrap(),
                Step::Roll => {
                    sealer.end(EndReason::Rolled, out).unwrap();
                    segments.push(Vec::new());
                    plain.push(Vec::new());
                    sealer.next_segment(9, segments.last_mut().unwrap()).unwrap();
                }
            }
        }
        if let Some(reason) = end {
            sealer.end(reason, segments.last_mut().unwrap()).unwrap();
        }
        let mut opener = Opener::new(dek());
        let mut prev_head = Head::NONE;
        for (number, (bytes, plain)) in segments.iter().zip(&plain).enumerate() {
            let opened = open_with(&mut opener, bytes, chunk).unwrap();
            prop_assert_eq!(&opened.batches.concat(), plain);
            let whole = number + 1 < segments.len() || end.is_some();
            prop_assert_eq!(opened.scan_end, if whole { ScanEnd::Complete } else { ScanEnd::Open });
            prop_assert_eq!(opened.header.prev_head, prev_head);
            prev_head = opened.head;
        }
        prop_assert_eq!(prev_head, sealer.sealed().head);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Record(Vec<u8>),
    EndFrame,
    Roll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Record),
        3 => (1_usize..40_000).prop_map(|len| Step::Record(b"[0.1,\"o\",\"text \"]\n".repeat(len / 16 + 1))),
        1 => (100_000_usize..300_000).prop_map(|len| Step::Record(random(len, 5))),
        2 => Just(Step::EndFrame),
        1 => Just(Step::Roll),
    ]
}

fn record(text: &str) -> Step {
    Step::Record(text.as_bytes().to_vec())
}

fn dek() -> Dek {
    Dek::from_bytes(&[0x42; 32])
}

fn source() -> Source {
    Source { stream: Stream::Cast3, session: [9; 16], recipients_digest: [3; 8] }
}

fn sealer(pool: &std::sync::Arc<ContextPool>, channel: u32, out: &mut Vec<u8>) -> Sealer {
    let ratchet = SessionKeys::new(&dek()).unwrap().channel(ChannelNumber(channel)).unwrap();
    Sealer::start(source(), ratchet, 1234, pool.clone(), out).unwrap()
}

/// One segment of channel 1.
fn seal(steps: &[Step], reason: EndReason) -> (Vec<u8>, Sealed) {
    let mut out = Vec::new();
    let mut sealer = sealer(&ContextPool::new(1), 1, &mut out);
    for step in steps {
        match step {
            Step::Record(batch) => sealer.record(batch, &mut out).unwrap(),
            Step::EndFrame => sealer.end_frame(&mut out).unwrap(),
            Step::Roll => panic!("one segment"),
        }
    }
    let sealed = sealer.end(reason, &mut out).unwrap();
    (out, sealed)
}

/// What a segment gave, up to where it stopped.
#[derive(Debug)]
struct OpenedAll {
    header: SegmentHeader,
    batches: Vec<Vec<u8>>,
    end: Option<End>,
    scan_end: ScanEnd,
    head: Head,
}

#[derive(Debug, PartialEq)]
enum Stopped {
    Altered(Altered),
    Unopened(OpenError),
    NoHeader,
}

fn open(bytes: &[u8]) -> Result<OpenedAll, Stopped> {
    open_with(&mut Opener::new(dek()), bytes, usize::MAX)
}

fn open_with(opener: &mut Opener, bytes: &[u8], chunk: usize) -> Result<OpenedAll, Stopped> {
    let mut batches = Vec::new();
    open_into(opener, bytes, chunk, &mut batches)
}

fn open_into(
    opener: &mut Opener,
    bytes: &[u8],
    chunk: usize,
    batches: &mut Vec<Vec<u8>>,
) -> Result<OpenedAll, Stopped> {
    let mut scanner = Scanner::new();
    let mut opened = None;
    let mut end = None;
    for mut input in bytes.chunks(chunk.min(bytes.len().max(1))) {
        while let Some(item) = scanner.read(&mut input).map_err(Stopped::Altered)? {
            match (item, &mut opened) {
                (Item::Header(header), _) => {
                    opened = Some((opener.segment(&header).map_err(Stopped::Unopened)?, header));
                }
                (Item::Record(record), Some((segment, _))) => {
                    let mut batch = Vec::new();
                    match segment.record(&record, &mut batch).map_err(Stopped::Unopened)? {
                        Opened::Data => batches.push(batch),
                        Opened::End(found) => end = Some(found),
                    }
                }
                (Item::Record(_), None) => panic!("a record before the header"),
            }
        }
        assert!(input.is_empty());
    }
    let scan_end = scanner.finish().map_err(Stopped::Altered)?;
    let (_, header) = opened.ok_or(Stopped::NoHeader)?;
    Ok(OpenedAll { header, batches: batches.clone(), end, scan_end, head: scanner.head() })
}

/// The good records of a segment that is in one piece.
fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut found = Vec::new();
    let mut head = Head::of_header(&Head(bytes[44..76].try_into().unwrap()), &bytes[..HEADER_BYTES]);
    let mut offset = HEADER_BYTES;
    while let Some(Ok((kind, len))) = bytes[offset..].first_chunk().map(|frame| super::record::parse_frame(*frame)) {
        let whole = &bytes[offset..offset + len];
        let after = head.then(whole);
        let index = len_of(&found) + 1;
        found.push(Record { index, kind, offset: offset.try_into().unwrap(), before: head, after, bytes: whole });
        head = after;
        offset += len;
    }
    found.into_iter()
}

fn len_of(records: &[Record<'_>]) -> u64 {
    records.len().try_into().unwrap()
}

fn len(bytes: &[u8]) -> u64 {
    bytes.len().try_into().unwrap()
}

/// Bytes that do not compress.
fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}
