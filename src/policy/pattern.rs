//! Patterns for one part of a path. Pure.

/// Whether `part` is `wanted`, whose `*` are for anything: the pieces between them, each at its first place.
pub(super) fn part_matches(wanted: &[u8], part: &[u8]) -> bool {
    let mut pieces = wanted.split(|byte| *byte == b'*');
    let (Some(head), tail) = (pieces.next(), pieces.next_back()) else { return false };
    let Some(tail) = tail else { return head == part };
    let Some(mut left) = part.strip_prefix(head).and_then(|part| part.strip_suffix(tail)) else { return false };
    pieces.filter(|piece| !piece.is_empty()).all(|piece| {
        match left.windows(piece.len()).position(|window| window == piece) {
            Some(at) => {
                left = left.get(at.saturating_add(piece.len())..).unwrap_or_default();
                true
            }
            None => false,
        }
    })
}
