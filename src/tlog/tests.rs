use std::collections::HashMap;
use std::convert::Infallible;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::secret::Secret;

/// Sizes around every border of tiles, and the example of the specification.
const SIZES: &[u64] = &[0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 1000, 65_535, 65_536, 65_537, 70_000];

#[test]
fn roots_are_those_of_the_reference_tests() {
    // The eight entries and roots of the reference implementation of RFC 6962.
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut edge = Edge::new();
    assert_eq!(edge.root(), EMPTY_ROOT);
    for (entry, root) in entries.iter().zip(roots) {
        edge.append(leaf_hash(entry), |_, _| {});
        assert_eq!(hex(edge.root().as_bytes()), root);
    }
}

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    let tiles = Tiles::of(70_000);
    let mut theirs = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let mut grown = 0;
    for &size in SIZES {
        (grown..size).for_each(|index| theirs.push(entry(index)));
        grown = size;
        if size == 0 {
            continue;
        }
        assert_eq!(tiles.root(size).as_bytes(), theirs.root().as_bytes().as_slice(), "size {size}");
        for index in [0, size / 3, size - 1] {
            let ours = inclusion_proof(index, size, &tiles).unwrap();
            let wanted = theirs.prove_inclusion(usize::try_from(index).unwrap());
            assert_eq!(encode_tile(&ours), wanted.as_bytes(), "entry {index} of {size}");
        }
        for old in [1, size / 2, size.saturating_sub(1)].into_iter().filter(|old| (1..size).contains(old)) {
            let ours = consistency_proof(old, size, &tiles).unwrap();
            let wanted = theirs.prove_consistency(usize::try_from(size - old).unwrap());
            assert_eq!(encode_tile(&ours), wanted.as_bytes(), "{old} of {size}");
        }
    }
}

#[test]
fn proofs_hold_and_no_other_question_is_answered_by_them() {
    let tiles = Tiles::of(70_000);
    for &size in SIZES.iter().filter(|size| **size > 0) {
        let root = tiles.root(size);
        for index in [0, size / 2, size - 1] {
            let leaf = leaf_hash(&entry(index));
            let proof = inclusion_proof(index, size, &tiles).unwrap();
            let check = |leaf: &Hash, index, size, proof: &[Hash]| verify_inclusion(leaf, index, size, &root, proof);
            assert_eq!(check(&leaf, index, size, &proof), Ok(()), "{index} of {size}");
            assert!(check(&leaf_hash(b"x"), index, size, &proof).is_err());
            assert!(size == 1 || check(&leaf, (index + 1) % size, size, &proof).is_err());
            assert_eq!(check(&leaf, size, size, &proof), Err(ProofError::OutOfRange));
            assert!(check(&leaf, index, size, &[&proof[..], &[leaf]].concat()).is_err());
            assert!(proof.is_empty() || check(&leaf, index, size, &proof[1..]).is_err());
        }
        for &old in SIZES.iter().filter(|old| **old <= size) {
            let before = tiles.root(old);
            let proof = consistency_proof(old, size, &tiles).unwrap();
            let check = |before: &Hash, root: &Hash, proof: &[Hash]| verify_consistency(old, before, size, root, proof);
            assert_eq!(check(&before, &root, &proof), Ok(()), "{old} to {size}");
            assert!(check(&leaf_hash(b"x"), &root, &proof).is_err(), "{old} to {size}");
            // The empty tree is a beginning of every tree.
            assert!(old == 0 || check(&before, &leaf_hash(b"x"), &proof).is_err(), "{old} to {size}");
            assert!(check(&before, &root, &[&proof[..], &[root]].concat()).is_err(), "{old} to {size}");
            assert!(proof.is_empty() || check(&before, &root, &proof[1..]).is_err(), "{old} to {size}");
        }
    }
    assert_eq!(verify_consistency(5, &EMPTY_ROOT, 4, &EMPTY_ROOT, &[]), Err(ProofError::OutOfRange));
    assert_eq!(inclusion_proof(7, 7, &tiles), Err(TreeError::OutOfRange));
    assert_eq!(consistency_proof(8, 7, &tiles), Err(TreeError::OutOfRange));
}

#[test]
fn an_edge_made_of_full_tiles_goes_on_like_one_that_grew() {
    for tiles in [0, 1, 255, 256, 257, 600] {
        let size = tiles * 256;
        let all = Tiles::of(size);
        let mut made = Edge::of_full_tiles(size, |tile| all.tile(tile)).unwrap();
        assert_eq!((made.size(), made.root()), (size, all.root(size)));
        (size..size + 300).for_each(|index| made.append(leaf_hash(&entry(index)), |_, _| {}));
        assert_eq!(made.root(), Tiles::of(size + 300).root(size + 300));
    }
}

#[test]
fn a_tree_of_70_000_has_the_tiles_of_the_specification() {
    let tiles = Tiles::of(70_000);
    let full = |level| tiles.0.iter().filter(|(tile, hashes)| tile.0 == level && hashes.len() == 256).count();
    assert_eq!([full(0), full(1), full(2)], [273, 1, 0]);
    let widths = [(0, 273), (1, 1), (2, 0)].map(|(level, n)| Tile::of_tree(level, n, 70_000).unwrap().width());
    assert_eq!(widths, [112, 17, 1]);
    assert_eq!(Tile::of_tree(0, 274, 70_000), None);
    assert_eq!(Tile::of_tree(3, 0, 70_000), None);
    assert_eq!(Tile::of_tree(u8::MAX, u64::MAX, u64::MAX), None);
}

#[test]
fn paths_are_those_of_another_implementation() {
    for index in [0, 1, 67, 999, 1000, 273_000, 1_234_067, u64::MAX / 300] {
        for width in [1, 17, 255, 256] {
            let size = (index * 256).saturating_add(width);
            let tile = Tile::of_tree(0, index, size).unwrap();
            let theirs = tlog_tiles::Tile::new(8, 0, index, u32::try_from(width).unwrap(), false).path();
            assert_eq!(tile.path(), theirs.replacen("tile/8/", "tile/", 1));
            assert_eq!(tile.bundle_path(), theirs.replacen("tile/8/0/", "tile/entries/", 1));
        }
    }
    assert_eq!(Tile::full(1, 1_234_067).path(), "tile/1/x001/x234/067");
}

#[test]
fn bundles_read_back_and_bad_ones_do_not() {
    let mut bytes = Vec::new();
    for entry in [&b"a"[..], b"", &[7; ENTRY_BYTES_MAX]] {
        Bundle::encode_entry(entry, &mut bytes).unwrap();
    }
    assert_eq!(Bundle::encode_entry(&[7; ENTRY_BYTES_MAX + 1], &mut bytes), None);
    let tile = |width| Tile::of_tree(0, 0, width).unwrap();
    let bundle = Bundle::decode(&tile(3), &bytes).unwrap();
    assert_eq!(bundle.entries().iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, ENTRY_BYTES_MAX]);
    assert_eq!(Bundle::decode(&tile(2), &bytes).unwrap().into_entries(), [b"a".to_vec(), Vec::new()]);
    assert_eq!(Bundle::decode(&tile(4), &bytes), Err(MalformedBundle::Count { expected: 4 }));
    assert_eq!(Bundle::decode(&tile(3), &bytes[..bytes.len() - 1]), Err(MalformedBundle::Torn { offset: 5 }));
    assert!(Bundle::decode(&Tile::full(0, 0), &[0; 2 * 257]).is_err());
    assert_eq!(decode_tile(&tile(2), &[0; 32]), None);
    assert_eq!(decode_tile(&tile(1), &[0; 33]), None);
    assert_eq!(decode_tile(&tile(1), &[0; 257 * 32]), None);
    assert_eq!(decode_tile(&tile(1), &[0; 64]).unwrap().len(), 1);
}

#[test]
fn the_key_of_the_specification_verifies_its_note() {
    // From the documentation of golang.org/x/mod/sumdb/note.
    let key = VerifyingKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let note = format!(
        "{text}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    );
    let note = Note::parse(note.as_bytes()).unwrap();
    assert_eq!(note.check(&[&key]).unwrap().text(), text);
    assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    let secret = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    let signer = SigningKey::parse(&Secret::new(secret.to_owned())).unwrap();
    assert_eq!(signer.public(), &key);
    assert_eq!(signer.to_text().expose(), secret);
    let mut again = Note::new(text.to_owned()).unwrap();
    again.add(signer.sign(text).unwrap());
    assert_eq!(again, note);
    assert!(!format!("{signer:?}").contains("AYEK"));
}

#[test]
fn another_implementation_reads_our_notes_and_we_read_theirs() {
    let ours = log_key();
    let checkpoint = Checkpoint { origin: ours.public().name().clone(), size: 7, root: leaf_hash(b"x") };
    let note = checkpoint.sign(&ours).unwrap().to_string();
    let verifier = signed_note::StandardVerifier::new(&ours.public().to_string()).unwrap();
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    let theirs = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
    assert_eq!(theirs.verify(&known).unwrap().0.len(), 1);
    let read = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((read.origin(), read.size(), read.hash().0), ("example.com/log", 7, *checkpoint.root.as_bytes()));

    let signer = signed_note::StandardSigner::new(ours.to_text().expose()).unwrap();
    let mut theirs = signed_note::Note::new(checkpoint.to_string().as_bytes(), &[]).unwrap();
    theirs.add_sigs(&[&signer]).unwrap();
    assert_eq!(theirs.to_bytes(), note.as_bytes());
}

#[test]
fn a_note_is_believed_only_where_a_known_key_signed_it() {
    let (log, witness) = (log_key(), witness_key());
    let checkpoint = Checkpoint { origin: log.public().name().clone(), size: 7, root: leaf_hash(b"x") };
    let mut note = checkpoint.sign(&log).unwrap();
    note.add(witness.cosign(note.unchecked_text(), 1_679_315_147).unwrap());
    note.add(Signature::parse("— unknown.example AAAAAQID").unwrap());
    let note = Note::parse(note.to_string().as_bytes()).unwrap();

    let both = note.check(&[log.public(), witness.public()]).unwrap();
    let times: Vec<_> = both.signers().iter().map(|(name, time)| (name.as_str(), *time)).collect();
    assert_eq!(times, [("example.com/log", None), ("witness.example", Some(1_679_315_147))]);
    let stranger = SigningKey::from_seed(name("other.example"), Algorithm::Note, Secret::new([9; 32])).unwrap();
    assert_eq!(note.check(&[stranger.public()]), Err(NoteError::Unsigned));
    let text = note.to_string();
    for (from, to) in [("\n7\n", "\n8\n"), ("example.com/log\n7", "example.com/lag\n7")] {
        let forged = Note::parse(text.replacen(from, to, 1).as_bytes()).unwrap();
        assert!(matches!(forged.check(&[log.public()]), Err(NoteError::Forged(_))));
        assert!(matches!(forged.check(&[witness.public()]), Err(NoteError::Forged(_))));
    }
    // A witness's key signs no note, a log's no time.
    assert!(witness.sign("x\n").is_none() && log.cosign("x\n", 1).is_none());
    assert!(witness.cosign("x\n", u64::MAX).is_none());
    assert!(checkpoint.sign(&stranger).is_none());
}

#[test]
fn malformed_notes_keys_and_checkpoints_are_refused() {
    let line = "— a AAAAAQID\n";
    for bad in ["", "\n", "x", "x\n", "x\n\n", "\n\n— a AAAAAQID\n", "x\n\n— a AAAAAQID", "x\ty\n\n— a AAAAAQID\n"]
    {
        assert!(Note::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    for bad in ["- a AAAAAQID", "— a AAAAAQI", "— a AAAAAQ==", "— a+b AAAAAQID", "—  AAAAAQID", "— a b AAAAAQID"]
    {
        assert!(Note::parse(format!("x\n\n{bad}\n").as_bytes()).is_err(), "{bad:?}");
    }
    assert!(Note::parse(format!("x\n\n{}", line.repeat(64)).as_bytes()).is_ok());
    assert!(Note::parse(format!("x\n\n{}", line.repeat(65)).as_bytes()).is_err());
    assert!(Note::parse(b"\xff\n\n").is_err());
    let root = leaf_hash(b"x");
    for bad in [
        format!("a\n7\n{root}"),
        format!("a\n07\n{root}\n"),
        format!("a\n+7\n{root}\n"),
        format!("a\n\n{root}\n"),
        format!("a\n18446744073709551616\n{root}\n"),
        format!("a b\n7\n{root}\n"),
        format!("\n7\n{root}\n"),
        format!("a\n7\n{root}\n\nx\n"),
        String::from("a\n7\nAAAA\n"),
        String::from("a\n7\n"),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(Checkpoint::parse(&format!("a\n0\n{root}\nan extension\n")).unwrap().size, 0);
    let key = log_key().public().to_string();
    for bad in ["", "a", "a+b", &key[1..], &key[..key.len() - 4], &key.replace("+AY", "+BY"), "a+00000000+AQ=="] {
        assert!(VerifyingKey::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_proof_that_travels_is_checked_offline() {
    let (log, witness) = (log_key(), witness_key());
    let tiles = Tiles::of(300);
    let checkpoint = Checkpoint { origin: log.public().name().clone(), size: 300, root: tiles.root(300) };
    let mut note = checkpoint.sign(&log).unwrap();
    note.add(witness.cosign(note.unchecked_text(), 5).unwrap());
    let proof = EntryProof {
        extra: Some(b"context".to_vec()),
        index: 123,
        hashes: inclusion_proof(123, 300, &tiles).unwrap(),
        checkpoint: note,
    };
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra Y29udGV4dA==\nindex 123\n"));
    let read = EntryProof::parse(text.as_bytes()).unwrap();
    assert_eq!(read, proof);
    let (covered, cosigners) = read.verify(&entry(123), log.public(), &[witness.public()]).unwrap();
    assert_eq!((covered, cosigners), (checkpoint, vec![(name("witness.example"), 5)]));

    let inclusion = Err(EntryProofError::Inclusion(ProofError::Root));
    assert_eq!(read.verify(&entry(124), log.public(), &[]), inclusion);
    // A witness's signature alone does not make it the log's.
    let mut unsigned = Note::new(read.checkpoint.unchecked_text().to_owned()).unwrap();
    unsigned.add(read.checkpoint.signatures()[1].clone());
    let unsigned = EntryProof { checkpoint: unsigned, ..read.clone() };
    assert_eq!(unsigned.verify(&entry(123), log.public(), &[witness.public()]), Err(EntryProofError::OtherLog));
    for bad in [
        text.replacen("@v1", "@v2", 1),
        text.replacen("index 123", "index 0123", 1),
        text.replacen("index 123\n", &format!("index 123\n{}", format!("{EMPTY_ROOT}\n").repeat(64)), 1),
        text.replacen("extra Y", "extra !", 1),
        text.replacen("\n\n", "\n", 2),
        String::new(),
    ] {
        assert!(EntryProof::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_witness_answers_as_the_specification_says() {
    let log = log_key();
    let keys = [log.public().clone()];
    let tiles = Tiles::of(70_000);
    let head = |size| Checkpoint { origin: name("example.com/log"), size, root: tiles.root(size) };
    let request = |old, size| AddCheckpoint {
        old,
        proof: consistency_proof(old, size, &tiles).unwrap(),
        checkpoint: head(size).sign(&log).unwrap(),
    };
    let ask = |latest: Option<&Checkpoint>, body: &str| match decide(body.as_bytes(), |origin| {
        (origin.as_str() == "example.com/log").then_some((&keys[..], latest))
    }) {
        Answer::Accept { new } => Ok(new.size),
        Answer::Refuse(refused) => Err((refused.http_status(), refused)),
    };
    let status = |latest, body: &str| ask(latest, body).map_err(|(status, _)| status);
    let body = |old, size| request(old, size).to_string();
    assert_eq!(AddCheckpoint::parse(body(300, 70_000).as_bytes()).unwrap(), request(300, 70_000));

    assert_eq!(status(None, &body(0, 300)), Ok(300));
    let latest = head(300);
    assert_eq!(status(Some(&latest), &body(300, 70_000)), Ok(70_000));
    assert_eq!(status(Some(&latest), &body(300, 300)), Ok(300));
    // A rollback, an old request that was overtaken, and one that skips what was signed.
    assert_eq!(ask(Some(&latest), &body(0, 255)), Err((409, Refused::Conflict { size: 300 })));
    assert_eq!(status(Some(&latest), &body(255, 256)), Err(409));
    assert_eq!(status(Some(&latest), &body(512, 1000)), Err(409));
    assert_eq!(status(None, &body(300, 1000)), Err(409));
    // The same size with another root is a split view.
    let other = Checkpoint { root: leaf_hash(b"x"), ..head(300) };
    let split = AddCheckpoint { old: 300, proof: Vec::new(), checkpoint: other.sign(&log).unwrap() };
    assert_eq!(status(Some(&latest), &split.to_string()), Err(409));
    let forked = AddCheckpoint {
        checkpoint: Checkpoint { root: leaf_hash(b"x"), ..head(1000) }.sign(&log).unwrap(),
        ..request(300, 1000)
    };
    assert_eq!(status(Some(&latest), &forked.to_string()), Err(422));
    let unproven = AddCheckpoint { proof: Vec::new(), ..request(300, 1000) };
    assert_eq!(status(Some(&latest), &unproven.to_string()), Err(422));
    let superfluous = AddCheckpoint { proof: vec![EMPTY_ROOT], ..request(0, 1000) };
    assert_eq!(status(None, &superfluous.to_string()), Err(422));

    let elsewhere = SigningKey::from_seed(name("elsewhere.example"), Algorithm::Note, Secret::new([3; 32])).unwrap();
    let foreign = Checkpoint { origin: name("elsewhere.example"), ..head(300) }.sign(&elsewhere).unwrap();
    assert_eq!(status(None, &AddCheckpoint { checkpoint: foreign, ..request(0, 300) }.to_string()), Err(404));
    let stolen = SigningKey::from_seed(name("example.com/log"), Algorithm::Note, Secret::new([3; 32])).unwrap();
    let unsigned = AddCheckpoint { checkpoint: head(300).sign(&stolen).unwrap(), ..request(0, 300) };
    assert_eq!(status(None, &unsigned.to_string()), Err(403));
    assert_eq!(status(None, &body(0, 300).replacen("\n300\n", "\n301\n", 1)), Err(403));
    let backwards = AddCheckpoint { old: 301, ..request(0, 300) };
    assert_eq!(status(Some(&latest), &backwards.to_string()), Err(400));
    let long = AddCheckpoint { proof: vec![EMPTY_ROOT; 64], ..request(300, 1000) };
    for bad in
        [String::new(), body(0, 300).replacen("old 0", "old 00", 1), body(0, 300)[4..].to_owned(), long.to_string()]
    {
        assert_eq!(status(Some(&latest), &bad), Err(400), "{bad}");
    }
}

proptest! {
    #[test]
    fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..600, index in any::<u64>()) {
        let note = Checkpoint { origin: name("example.com/log"), size: 7, root: leaf_hash(b"x") }.sign(&log_key()).unwrap();
        let request = AddCheckpoint { old: 3, proof: vec![EMPTY_ROOT], checkpoint: note.clone() }.to_string();
        let proof = EntryProof { extra: None, index, hashes: vec![EMPTY_ROOT], checkpoint: note.clone() }.to_string();
        for good in [note.to_string(), request, proof] {
            let cut = cut.min(good.len());
            let mixed = [&good.as_bytes()[..cut], &bytes, &good.as_bytes()[cut..]].concat();
            for input in [&bytes, &mixed] {
                let _ = Note::parse(input);
                let _ = AddCheckpoint::parse(input);
                let _ = EntryProof::parse(input);
                let _ = Bundle::decode(&Tile::full(0, 0), input);
                let text = String::from_utf8_lossy(input);
                let _ = Checkpoint::parse(&text);
                let _ = VerifyingKey::parse(&text);
            }
        }
        let hashes = vec![EMPTY_ROOT; cut % 80];
        let _ = verify_inclusion(&EMPTY_ROOT, index, u64::MAX, &EMPTY_ROOT, &hashes);
        let _ = verify_consistency(index, &EMPTY_ROOT, u64::MAX, &EMPTY_ROOT, &hashes);
    }

    #[test]
    fn every_proof_of_a_small_tree_holds(size in 1_u64..600, part in any::<u64>()) {
        let tiles = Tiles::of(size);
        let index = part % size;
        let root = tiles.root(size);
        let proof = inclusion_proof(index, size, &tiles).unwrap();
        prop_assert_eq!(verify_inclusion(&leaf_hash(&entry(index)), index, size, &root, &proof), Ok(()));
        let proof = consistency_proof(index, size, &tiles).unwrap();
        prop_assert_eq!(verify_consistency(index, &tiles.root(index), size, &root, &proof), Ok(()));
    }
}

/// All tiles of a tree.
struct Tiles(HashMap<(u8, u64), Vec<Hash>>);

impl Tiles {
    fn of(size: u64) -> Self {
        let mut edge = Edge::new();
        let mut tiles = HashMap::new();
        for index in 0..size {
            edge.append(leaf_hash(&entry(index)), |tile, hashes| {
                tiles.insert((tile.level(), tile.index()), hashes.to_vec());
            });
        }
        tiles.extend(edge.partial_tiles().map(|(tile, hashes)| ((tile.level(), tile.index()), hashes.to_vec())));
        Self(tiles)
    }

    fn root(&self, size: u64) -> Hash {
        root(size, self).unwrap()
    }
}

impl TileSource for Tiles {
    type Error = Infallible;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Infallible> {
        Ok(decode_tile(&tile, &encode_tile(&self.0[&(tile.level(), tile.index())])).unwrap())
    }
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn name(text: &str) -> KeyName {
    KeyName::parse(text).unwrap()
}

fn log_key() -> SigningKey {
    SigningKey::from_seed(name("example.com/log"), Algorithm::Note, Secret::new([1; 32])).unwrap()
}

fn witness_key() -> SigningKey {
    SigningKey::from_seed(name("witness.example"), Algorithm::Cosignature, Secret::new([2; 32])).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
