use super::*;
use crate::model::SessionId;

#[test]
fn a_channel_s_key_is_taken_once_and_not_from_afar() {
    let mut keys = SessionKeys::new(&dek()).unwrap();
    let none = |channel| Err(SealError::NoChannelKey { channel: ChannelNumber(channel) });
    let mut take = |channel| keys.channel(ChannelNumber(channel)).map(|key| key.commitment().unwrap());
    assert_eq!(take(70), none(70), "more than 64 would be passed over");
    let third = take(3).unwrap();
    let first = take(1).unwrap();
    assert_eq!(take(1), none(1));
    assert_eq!(take(3), none(3));
    assert_eq!(take(67), none(67), "0 and 2 are still kept, so 62 more may be");
    let later = take(65).unwrap();
    for (channel, commitment) in [(1, first), (3, third), (65, later)] {
        let sought = SessionKeys::seek(&dek(), ChannelNumber(channel)).unwrap();
        assert_eq!((sought.channel(), sought.commitment().unwrap()), (ChannelNumber(channel), commitment));
    }
}

#[test]
fn every_key_of_a_session_differs() {
    let mut found = Vec::new();
    for secret in [[0x42; 32], [0x43; 32]] {
        let mut keys = SessionKeys::new(&Dek::from_bytes(&secret)).unwrap();
        for channel in 0..4 {
            let mut key = keys.channel(ChannelNumber(channel)).unwrap();
            for _ in 0..4 {
                found.push(*key.seal_key().unwrap());
                found.push(key.commitment().unwrap());
                key.advance().unwrap();
            }
        }
    }
    let all = found.len();
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), all);
}

#[test]
fn new_secrets_differ() {
    assert_ne!(Dek::random().unwrap().expose(), Dek::random().unwrap().expose());
}

#[test]
fn nothing_prints_a_key() {
    let key = SessionKeys::new(&dek()).unwrap().channel(ChannelNumber(1)).unwrap();
    let sealing = *key.seal_key().unwrap();
    let mut out = Vec::new();
    let mut sealer = sealer(&ContextPool::new(1), 1, &mut out);
    sealer.record(b"x", &mut out).unwrap();
    let mut opener = Opener::new(dek());
    let segment = opener.segment(&scan(&out).header.unwrap()).unwrap();
    let printed = format!("{:?} {key:?} {:?} {sealer:?} {opener:?} {segment:?}", dek(), SessionKeys::new(&dek()));
    for secret in [dek().expose(), &sealing] {
        let first = format!("{}, {}", secret[0], secret[1]);
        assert!(!printed.contains(&first) && !printed.contains(&format!("{:02x}{:02x}", secret[0], secret[1])));
    }
    assert_eq!(printed.matches("<secret>").count(), 8, "{printed}");
}

#[test]
fn a_session_id_is_16_bytes_and_only_in_one_spelling() {
    let id = SessionId::parse("01JD5X9YXA0000000000000123").unwrap();
    assert_eq!(SessionId::from_bytes(id.to_bytes().unwrap()), id);
    assert_eq!(id.to_bytes().unwrap()[..2], [0x01, 0x93]);
    for other in ["01JD5X9YXA000000000000012O", "81JD5X9YXA0000000000000123", "01JD5X9YXAUUUUUUUUUUUUU123"] {
        assert_eq!(SessionId::parse(other).unwrap().to_bytes(), None, "{other}");
    }
}
