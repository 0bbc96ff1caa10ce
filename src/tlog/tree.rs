//! Roots and proofs over tiles, and their verification.

use std::collections::HashMap;
use std::fmt;

use super::edge::fold;
use super::{EMPTY_ROOT, Hash, Tile, node_hash};

/// No proof over a tree of at most 2^64 entries is longer.
pub const PROOF_HASHES_MAX: usize = 64;

/// Where the hashes of a tree come from.
pub trait TileSource {
    /// Why a tile cannot be read.
    type Error;

    /// The hashes of a tile, exactly `tile.width()` of them.
    ///
    /// # Errors
    /// The source's own.
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Self::Error>;
}

/// Why a root or a proof cannot be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeError<E> {
    /// The question makes no sense: an index or an older size beyond the tree, or the size 0 for a proof.
    OutOfRange,
    /// The source gave fewer hashes than the tile has.
    Short(Tile),
    /// The source failed.
    Source(E),
}

/// The root of the tree of the first `size` entries.
///
/// # Errors
/// `Short`, `Source`.
pub fn root<S: TileSource>(size: u64, source: &S) -> Result<Hash, TreeError<S::Error>> {
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    Tree::new(size, source).range(0, size)
}

/// The proof that entry `index` is in the tree of `size` entries; the leaf's sibling first.
///
/// # Errors
/// `OutOfRange`, `Short`, `Source`.
///
/// Source: RFC 6962 section 2.1.1.
pub fn inclusion_proof<S: TileSource>(index: u64, size: u64, source: &S) -> Result<Vec<Hash>, TreeError<S::Error>> {
    if index >= size {
        return Err(TreeError::OutOfRange);
    }
    let mut tree = Tree::new(size, source);
    let mut proof = Vec::new();
    let (mut from, mut to) = (0, size);
    while to - from > 1 {
        let middle = split(from, to);
        if index < middle {
            proof.push(tree.range(middle, to)?);
            to = middle;
        } else {
            proof.push(tree.range(from, middle)?);
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` entries is a beginning of the tree of `size`; empty if `old` is 0 or `size`.
///
/// # Errors
/// `OutOfRange`, `Short`, `Source`.
///
/// Source: RFC 6962 section 2.1.2.
pub fn consistency_proof<S: TileSource>(old: u64, size: u64, source: &S) -> Result<Vec<Hash>, TreeError<S::Error>> {
    if old > size {
        return Err(TreeError::OutOfRange);
    }
    if old == 0 || old == size {
        return Ok(Vec::new());
    }
    let mut tree = Tree::new(size, source);
    let mut proof = Vec::new();
    let (mut from, mut to) = (0, size);
    while to != old {
        let middle = split(from, to);
        if old <= middle {
            proof.push(tree.range(middle, to)?);
            to = middle;
        } else {
            proof.push(tree.range(from, middle)?);
            from = middle;
        }
    }
    // The old tree's own right part is left out where it is all of the old tree: the verifier has its root.
    if from != 0 {
        proof.push(tree.range(from, to)?);
    }
    proof.reverse();
    Ok(proof)
}

/// A tree that is being asked, with the tiles read so far: a proof asks for the same few again and again.
struct Tree<'a, S> {
    size: u64,
    source: &'a S,
    tiles: HashMap<Tile, Vec<Hash>>,
}

impl<'a, S: TileSource> Tree<'a, S> {
    fn new(size: u64, source: &'a S) -> Self {
        Self { size, source, tiles: HashMap::new() }
    }

    /// The hash over the entries `from..to`, one of the ranges that RFC 6962 cuts a tree into.
    fn range(&mut self, from: u64, to: u64) -> Result<Hash, TreeError<S::Error>> {
        let count = to.saturating_sub(from);
        if count.is_power_of_two() {
            return self.perfect(count.trailing_zeros(), from);
        }
        let middle = split(from, to);
        let left = self.range(from, middle)?;
        let right = self.range(middle, to)?;
        Ok(node_hash(&left, &right))
    }

    /// The hash over the 2^`height` entries from `from` on, a multiple of that.
    fn perfect(&mut self, height: u32, from: u64) -> Result<Hash, TreeError<S::Error>> {
        let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
        let position = from.checked_shr(u32::from(level).saturating_mul(8)).unwrap_or(0);
        let tile = Tile::of_tree(level, position / 256, self.size).ok_or(TreeError::OutOfRange)?;
        let hashes = match self.tiles.entry(tile) {
            std::collections::hash_map::Entry::Occupied(read) => read.into_mut(),
            std::collections::hash_map::Entry::Vacant(unread) => {
                unread.insert(self.source.tile(tile).map_err(TreeError::Source)?)
            }
        };
        let start = usize::try_from(position % 256).unwrap_or(usize::MAX);
        let end = start.saturating_add(1 << (height % 8));
        Ok(fold(hashes.get(start..end).ok_or(TreeError::Short(tile))?))
    }
}

/// Where RFC 6962 cuts the entries `from..to`, of which there are at least two: after the largest power of two that
/// is smaller than their number.
fn split(from: u64, to: u64) -> u64 {
    let last = to.saturating_sub(from).saturating_sub(1).max(1);
    from.saturating_add(1 << last.ilog2())
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofError {
    /// The entry, or the older tree, is beyond the tree.
    OutOfRange,
    /// It has too many hashes, or too few.
    Length,
    /// It leads to another root.
    Root,
}

/// Checks that an entry with hash `leaf` is at `index` of the tree of `size` entries with root `root`.
///
/// # Errors
/// `OutOfRange`, `Length`, `Root`.
///
/// Source: RFC 9162 section 2.1.3.2; the proof is that of RFC 6962 section 2.1.1.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let mut place = Place { node: index, last: size - 1 };
    let mut hash = *leaf;
    for sibling in proof {
        hash = match place.step()? {
            Side::Left => node_hash(sibling, &hash),
            Side::Right => node_hash(&hash, sibling),
        };
    }
    place.finish()?;
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `old` entries with root `old_root` is a beginning of the one of `size` with root `root`.
///
/// # Errors
/// `OutOfRange`, `Length`, `Root`.
///
/// Source: RFC 9162 section 2.1.4.2; the proof is that of RFC 6962 section 2.1.2. Of the empty tree the root is
/// checked too.
pub fn verify_consistency(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> Result<(), ProofError> {
    if old > size {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == size {
        let empty_is_empty = (old > 0 || *old_root == EMPTY_ROOT) && (size > 0 || *root == EMPTY_ROOT);
        let same_is_same = old != size || old_root == root;
        return match (proof.is_empty(), empty_is_empty && same_is_same) {
            (true, true) => Ok(()),
            (true, false) => Err(ProofError::Root),
            (false, _) => Err(ProofError::Length),
        };
    }
    let mut place = Place { node: old - 1, last: size - 1 };
    while place.node & 1 == 1 {
        place.up();
    }
    // Where the old tree is perfect it is a node of the new one, and the proof leaves out its hash.
    let (first, rest) =
        if place.node == 0 { (old_root, proof) } else { proof.split_first().ok_or(ProofError::Length)? };
    let (mut before, mut now) = (*first, *first);
    for sibling in rest {
        match place.step()? {
            Side::Left => {
                before = node_hash(sibling, &before);
                now = node_hash(sibling, &now);
            }
            Side::Right => now = node_hash(&now, sibling),
        }
    }
    place.finish()?;
    if before == *old_root && now == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// A place in a row of nodes, on the way up from an entry to the root.
struct Place {
    node: u64,
    /// The last node of the row.
    last: u64,
}

/// On which side of a node its sibling is.
enum Side {
    Left,
    Right,
}

impl Place {
    fn up(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    /// Goes up by one sibling and says on which side it is. At most 64 times, however long a proof is.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::Length);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // The last node of a row without a sibling goes up as it is.
            while self.node & 1 == 0 && self.node != 0 {
                self.up();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.up();
        Ok(side)
    }

    fn finish(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::Length) }
    }
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OutOfRange => "what is to be proven is not within the tree",
            Self::Length => "the proof has too many hashes or too few",
            Self::Root => "the proof leads to another root",
        })
    }
}

impl std::error::Error for ProofError {}

impl<E: fmt::Debug> fmt::Display for TreeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange => f.write_str("what is asked for is not within the tree"),
            Self::Short(tile) => write!(f, "`{}` has too few hashes", tile.path()),
            Self::Source(_) => f.write_str("a tile cannot be read"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for TreeError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::OutOfRange | Self::Short(_) => None,
        }
    }
}
