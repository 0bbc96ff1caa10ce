//! Segments that were cut, changed and mixed.

use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::super::record::{checksum, frame, parse_frame};
use super::*;

/// A small segment, with all that one can have.
fn small() -> (Vec<u8>, Vec<Vec<u8>>) {
    let steps = [record("[0,\"o\",\"one\"]\n"), record("two"), Step::EndFrame, record("three")];
    let (bytes, _) = seal(&steps, EndReason::Rolled);
    let batches = open(&bytes).unwrap().batches;
    assert_eq!(batches.len(), 5);
    (bytes, batches)
}

#[test]
fn a_changed_byte_anywhere_is_noticed_with_and_without_a_key() {
    let (bytes, batches) = small();
    let head = scan(&bytes).head;
    let ends = boundaries(&bytes);
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            let scanned = scan(&changed);
            assert_ne!(scanned.end, Ok(ScanEnd::Complete), "byte {at}");
            assert_ne!(scanned.head, head, "byte {at}");
            // All before the record with the byte is good, and nothing after.
            let valid = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
            assert_eq!(scanned.valid_len, u64::try_from(valid).unwrap(), "byte {at}");

            // Who also sets the checksums right is noticed by the head, and by who has the key.
            set_checksums(&mut changed);
            if changed == bytes {
                continue; // It was a checksum.
            }
            assert_ne!(scan(&changed).head, head, "byte {at}");
            let mut opened = Vec::new();
            let whole = open_into(&mut Opener::new(dek()), &changed, usize::MAX, &mut opened);
            assert!(!matches!(whole, Ok(OpenedAll { scan_end: ScanEnd::Complete, .. })), "byte {at}");
            assert!(batches.starts_with(&opened), "byte {at}");
        }
    }
}

#[test]
fn a_changed_ciphertext_does_not_open_and_the_error_says_which() {
    let (bytes, _) = small();
    for record in records(&bytes) {
        let mut changed = bytes.clone();
        changed[usize::try_from(record.offset).unwrap() + 5] ^= 1;
        set_checksums(&mut changed);
        let fault = OpenFault::Unauthentic;
        let expected = OpenError { record: record.index, offset: record.offset, fault };
        assert_eq!(open(&changed).unwrap_err(), Stopped::Unopened(expected));
    }
}

#[test]
fn i2_a_segment_cut_anywhere_is_a_prefix_and_not_complete() {
    let (bytes, batches) = small();
    let ends = boundaries(&bytes);
    for cut in 0..bytes.len() {
        let good = ends.iter().rev().find(|end| **end <= cut).copied();
        let torn = ScanEnd::Torn { at: u64::try_from(good.unwrap_or(0)).unwrap() };
        let expected = if good == Some(cut) { ScanEnd::Open } else { torn };
        for chunk in [1, 7, usize::MAX] {
            let mut opened = Vec::new();
            let whole = open_into(&mut Opener::new(dek()), &bytes[..cut], chunk, &mut opened);
            assert!(batches.starts_with(&opened), "cut at {cut}");
            match whole {
                Ok(whole) => assert_eq!(whole.scan_end, expected, "cut at {cut}"),
                Err(stopped) => assert!(stopped == Stopped::NoHeader && cut < HEADER_BYTES, "{stopped:?}"),
            }
        }
        assert_eq!(scan(&bytes[..cut]).end, Ok(expected));
        // A file that was made longer before its bytes were written, as a crash may leave it.
        for zeros in [1, 5, 5000] {
            let mut longer = bytes[..cut].to_vec();
            longer.resize(cut + zeros, 0);
            // The bytes that were cut may have been zeros.
            if !bytes.starts_with(&longer) && !longer.starts_with(&bytes) {
                assert_eq!(scan(&longer).end, Ok(torn), "cut at {cut}, {zeros} zeros");
            }
        }
    }
}

#[test]
fn damage_before_other_records_is_not_a_torn_end() {
    let (bytes, _) = small();
    let all: Vec<Record<'_>> = records(&bytes).collect();
    let at = usize::try_from(all[1].offset).unwrap();
    let altered = |fault| Err(Altered { offset: all[1].offset, fault });
    let change = |at: usize, byte| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        scan(&changed).end
    };
    assert_eq!(change(at + 9, !bytes[at + 9]), altered(Fault::Checksum));
    assert_eq!(change(at + 3, 3), altered(Fault::Kind { found: 3 }));
    let found = u32::from_le_bytes([bytes[at], bytes[at + 1], 0xff, 0]);
    assert_eq!(change(at + 2, 0xff), altered(Fault::Length { found }));
    assert_eq!(change(at, 3), altered(Fault::Length { found: 3 }));
    // The same in the last record may be a write that was cut short.
    let last = bytes.len() - 5;
    assert_eq!(change(last, !bytes[last]), Ok(ScanEnd::Torn { at: all.last().unwrap().offset }));
}

#[test]
fn nothing_may_follow_the_end_record() {
    let (bytes, _) = small();
    let expected = Altered { offset: len(&bytes), fault: Fault::AfterEnd };
    for more in [&b"\0"[..], b"x", &bytes[HEADER_BYTES..]] {
        let longer = [&bytes[..], more].concat();
        assert_eq!(scan(&longer).end, Err(expected));
        for chunk in [1, bytes.len()] {
            let stopped = open_with(&mut Opener::new(dek()), &longer, chunk).unwrap_err();
            assert_eq!(stopped, Stopped::Altered(expected));
        }
    }
}

#[test]
fn records_that_are_swapped_repeated_or_missing_are_noticed_with_and_without_a_key() {
    let (bytes, _) = small();
    let all: Vec<&[u8]> = records(&bytes).map(|record| record.bytes).collect();
    let (header, head) = (&bytes[..HEADER_BYTES], scan(&bytes).head);
    for order in [&[1, 0, 2, 3, 4, 5][..], &[0, 0, 1, 2, 3, 4, 5], &[0, 2, 3, 4, 5], &[1, 2, 3, 4, 5], &[0, 1, 2, 3, 5]]
    {
        let mixed: Vec<&[u8]> = std::iter::once(header).chain(order.iter().map(|number| all[*number])).collect();
        let mut mixed = mixed.concat();
        // A record's checksum is of its place too.
        let fault = scan(&mixed).end;
        let last_two = order.ends_with(&[3, 5]);
        assert!(matches!(fault, Err(Altered { fault: Fault::Checksum, .. })) || last_two, "{order:?}: {fault:?}");
        assert_ne!(fault, Ok(ScanEnd::Complete));
        set_checksums(&mut mixed);
        let scanned = scan(&mixed);
        assert_eq!(scanned.end, Ok(ScanEnd::Complete));
        assert_ne!(scanned.head, head);
        let first_wrong = order.iter().enumerate().position(|(place, number)| place != *number).unwrap() + 1;
        match open(&mixed).unwrap_err() {
            Stopped::Unopened(OpenError { record, fault: OpenFault::Unauthentic, .. }) => {
                assert_eq!(record, u64::try_from(first_wrong).unwrap(), "{order:?}");
            }
            other @ (Stopped::Unopened(_) | Stopped::Altered(_) | Stopped::NoHeader) => panic!("{order:?}: {other:?}"),
        }
    }
}

#[test]
fn a_record_from_another_session_channel_or_segment_does_not_open() {
    let pool = ContextPool::new(1);
    let (bytes, _) = small();
    let others = {
        let mut other_session = Vec::new();
        let key = SessionKeys::new(&dek()).unwrap().channel(ChannelNumber(1)).unwrap();
        let facts = Source { session: [8; 16], ..source() };
        let mut sealer = Sealer::start(facts, key, 1234, pool.clone(), &mut other_session).unwrap();
        sealer.record(b"[0,\"o\",\"one\"]\n", &mut other_session).unwrap();
        let mut other_channel = Vec::new();
        let mut sealer = super::sealer(&pool, 2, &mut other_channel);
        sealer.record(b"[0,\"o\",\"one\"]\n", &mut other_channel).unwrap();
        let mut other_segment = Vec::new();
        sealer.end(EndReason::Rolled, &mut Vec::new()).unwrap();
        sealer.next_segment(1234, &mut other_segment).unwrap();
        sealer.record(b"[0,\"o\",\"one\"]\n", &mut other_segment).unwrap();
        [other_session, other_channel, other_segment]
    };
    let rest = usize::try_from(records(&bytes).nth(1).unwrap().offset).unwrap();
    for other in others {
        let foreign = records(&other).next().unwrap().bytes;
        let mut spliced = [&bytes[..HEADER_BYTES], foreign, &bytes[rest..]].concat();
        assert!(matches!(scan(&spliced).end, Err(Altered { offset: 116, fault: Fault::Checksum })));
        set_checksums(&mut spliced);
        let expected = OpenError { record: 1, offset: 116, fault: OpenFault::Unauthentic };
        assert_eq!(open(&spliced).unwrap_err(), Stopped::Unopened(expected));
    }
}

#[test]
fn a_wrong_key_is_called_so() {
    let (bytes, _) = small();
    let expected = Stopped::Unopened(OpenError { record: 0, offset: 0, fault: OpenFault::WrongKey });
    let mut wrong = Opener::new(Dek::from_bytes(&[0x41; 32]));
    assert_eq!(open_with(&mut wrong, &bytes, usize::MAX).unwrap_err(), expected);
    // A header that says it is another segment, or channel, leads to another key.
    for at in [24, 76] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        changed[44] = u8::from(at == 24);
        set_checksums(&mut changed);
        assert_eq!(open(&changed).unwrap_err(), expected);
    }
}

#[test]
fn every_field_of_a_header_is_checked_and_named() {
    let (bytes, _) = small();
    let good: [u8; HEADER_BYTES] = bytes[..HEADER_BYTES].try_into().unwrap();
    assert_eq!(SegmentHeader::decode(&good).unwrap().encode(), good);
    let cases: [(usize, &[u8], HeaderFault); 8] = [
        (0, b"X", HeaderFault::Magic),
        (4, &[2], HeaderFault::Version { found: 2 }),
        (5, &[3], HeaderFault::Stream { found: 3 }),
        (6, &[0, 1], HeaderFault::Flags { found: 0x100 }),
        (24, &[0, 0, 16, 0], HeaderFault::Segment { found: 1 << 20 }),
        (44, &[1], HeaderFault::PrevHead),
        (24, &[1], HeaderFault::PrevHead),
        (76, &[0xff; 4], HeaderFault::Channel { found: u32::MAX }),
    ];
    for (at, wrong, fault) in cases {
        let mut changed = bytes.clone();
        changed[at..at + wrong.len()].copy_from_slice(wrong);
        set_checksums(&mut changed);
        assert_eq!(scan(&changed).end, Err(Altered { offset: 0, fault: Fault::Header(fault) }));
        assert!(fault.offset() == u64::try_from(at).unwrap() || fault == HeaderFault::PrevHead);
    }
    let mut changed = bytes.clone();
    changed[30] ^= 1;
    let fault = Fault::Header(HeaderFault::Checksum);
    assert_eq!(scan(&changed).end, Err(Altered { offset: 0, fault }));
    for short in [&b"{\"version\": 3}"[..], b"D", b""] {
        let expected = if short.starts_with(b"{") {
            Err(Altered { offset: 0, fault: Fault::Header(HeaderFault::Magic) })
        } else {
            Ok(ScanEnd::Torn { at: 0 })
        };
        assert_eq!(scan(short).end, expected);
    }
}

#[test]
fn a_length_that_is_not_true_takes_no_memory() {
    let (bytes, _) = small();
    let most = frame(Kind::Data, RECORD_BYTES_MAX - 8).unwrap();
    assert_eq!(parse_frame(most), Ok((Kind::Data, RECORD_BYTES_MAX)));
    assert_eq!(frame(Kind::Data, RECORD_BYTES_MAX - 7), None);
    let mut scanner = Scanner::new();
    let text = [&bytes[..HEADER_BYTES], &most, &[1; 100]].concat();
    let mut input = text.as_slice();
    assert!(matches!(scanner.read(&mut input), Ok(Some(Item::Header(_)))));
    assert_eq!(scanner.read(&mut input), Ok(None));
    assert_eq!(scanner.finish(), Ok(ScanEnd::Torn { at: 116 }));
    assert!(format!("{scanner:?}").len() < 2000);
}

#[test]
fn a_record_that_decompresses_to_too_much_is_refused() {
    let fits = compressed(17, &vec![0; PLAIN_BYTES_MAX]);
    let bomb = compressed(17, &vec![0; PLAIN_BYTES_MAX + 1]);
    assert!(bomb.len() < 200);
    assert_eq!(open_forged(Kind::Data, &fits), Ok(()));
    assert_eq!(open_forged(Kind::Data, &bomb), Err(OpenFault::TooLarge));
    assert!(matches!(open_forged(Kind::Data, &compressed(18, b"x")), Err(OpenFault::Inflate { .. })));
    assert!(matches!(open_forged(Kind::Data, b"not zstd"), Err(OpenFault::Inflate { .. })));
}

#[test]
fn an_end_record_that_lies_is_refused() {
    let forged = |records: u64, plain_bytes: u64, reason| {
        let mut out = Vec::new();
        End { records, plain_bytes, reason: EndReason::Closed }.encode(&mut out);
        out[16] = reason;
        open_forged(Kind::End, &out)
    };
    assert_eq!(forged(0, 0, 2), Ok(()));
    assert_eq!(forged(1, 0, 2), Err(OpenFault::EndCount));
    assert_eq!(forged(0, 1, 2), Err(OpenFault::EndCount));
    assert_eq!(forged(0, 0, 0), Err(OpenFault::EndForm));
    assert_eq!(open_forged(Kind::End, &[0; 18]), Err(OpenFault::EndForm));
}

#[test]
fn after_an_error_no_record_of_the_segment_opens() {
    let (bytes, _) = small();
    let mut segment = Opener::new(dek()).segment(&scan(&bytes).header.unwrap()).unwrap();
    let all: Vec<Record<'_>> = records(&bytes).collect();
    let mut out = b"kept".to_vec();
    let error = segment.record(&all[1], &mut out).unwrap_err();
    assert_eq!(error.fault, OpenFault::OutOfOrder { expected: Some(1) });
    let error = segment.record(&all[0], &mut out).unwrap_err();
    assert_eq!(error.fault, OpenFault::OutOfOrder { expected: None });
    assert_eq!(out, b"kept");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_a_reader_panic(
        tail in prop::collection::vec(any::<u8>(), 0..600),
        keep in 0_usize..200,
        chunk in 1_usize..100,
        fix in any::<bool>(),
    ) {
        let (bytes, batches) = small();
        let mut bytes = [&bytes[..keep.min(bytes.len())], &tail].concat();
        if fix && bytes.len() >= HEADER_BYTES {
            set_checksums(&mut bytes);
        }
        let mut opened = Vec::new();
        let _ = open_into(&mut Opener::new(dek()), &bytes, chunk, &mut opened);
        prop_assert!(batches.starts_with(&opened));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_that_was_compressed_by_another_hand_makes_the_opener_panic(
        plain in prop::collection::vec(any::<u8>(), 0..300),
        repeats in 1_usize..100,
        window_log in 10_u32..20,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let text = plain.repeat(repeats);
        let mut bytes = compressed(window_log, text.get(..3000).unwrap_or(&text));
        for (at, with) in &changes {
            let at = at.index(bytes.len().max(1));
            bytes.get_mut(at).into_iter().for_each(|byte| *byte = *with);
        }
        // Opened or refused; its length is bounded either way.
        let _ = open_forged(Kind::Data, &bytes);
    }
}

/// Where the header and each record end.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let ends = records(bytes).map(|record| usize::try_from(record.offset).unwrap() + record.bytes.len());
    std::iter::once(HEADER_BYTES).chain(ends).collect()
}

/// Makes all checksums right, as far as the lengths lead: anyone can.
fn set_checksums(bytes: &mut [u8]) {
    let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]).to_le_bytes();
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&sum);
    let mut head = Head::of_header(&Head(bytes[44..76].try_into().unwrap()), &bytes[..HEADER_BYTES]);
    let mut rest = &mut bytes[HEADER_BYTES..];
    while let Some(Ok((_, len))) = rest.first_chunk().map(|frame| parse_frame(*frame)) {
        let Some((record, later)) = rest.split_at_mut_checked(len) else { break };
        let sum = checksum(&head, &record[..len - 4]);
        record[len - 4..].copy_from_slice(&sum);
        head = head.then(record);
        rest = later;
    }
}

/// A frame with a window of 2 to the power of `window_log`.
fn compressed(window_log: u32, plain: &[u8]) -> Vec<u8> {
    let mut context = CCtx::create();
    context.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    let mut out = vec![0; 4096];
    let mut output = OutBuffer::around(&mut out[..]);
    let mut input = InBuffer::around(plain);
    while input.pos() < plain.len() {
        context.compress_stream(&mut output, &mut input).unwrap();
    }
    assert_eq!(context.flush_stream(&mut output).unwrap(), 0);
    let len = output.pos();
    out.truncate(len);
    out
}

/// Opens a segment whose only record was sealed by someone who has the key.
fn open_forged(kind: Kind, plain: &[u8]) -> Result<(), OpenFault> {
    let mut bytes = Vec::new();
    let sealer = sealer(&ContextPool::new(1), 1, &mut bytes);
    let head = sealer.sealed().head;
    let cipher = cipher::Cipher::new(&SessionKeys::seek(&dek(), ChannelNumber(1)).unwrap()).unwrap();
    let frame = frame(kind, plain.len() + 16).unwrap();
    let mut body = plain.to_vec();
    let tag = cipher.seal(1, &head, frame, &mut body).unwrap();
    let record = [&frame[..], &body, &tag].concat();
    bytes.extend_from_slice(&record);
    bytes.extend_from_slice(&checksum(&head, &record));
    match open(&bytes) {
        Ok(_) => Ok(()),
        Err(Stopped::Unopened(error)) => {
            assert_eq!((error.record, error.offset), (1, 116));
            Err(error.fault)
        }
        // An end record of the wrong length is refused without a key.
        Err(Stopped::Altered(Altered { fault: Fault::Length { .. }, .. })) => Err(OpenFault::EndForm),
        Err(other @ (Stopped::Altered(_) | Stopped::NoHeader)) => panic!("{other:?}"),
    }
}
