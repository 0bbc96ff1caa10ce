//! The right edge of a growing tree: all that is needed to append, to write tiles and to know the root.

use super::{EMPTY_ROOT, Hash, TILE_WIDTH, Tile, node_hash};

/// The rightmost tile of each level of a tree. 256 hashes a level at most, so some 24 KiB for sixteen million entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    /// Per level the hashes of its rightmost tile. INVARIANT: `levels[l]` has `(size >> 8l) % 256` of them.
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` entries, a multiple of 256, made from its full tiles alone.
    ///
    /// Of each level it reads what the rightmost tile of the level above is made of: 255 tiles at most.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn of_full_tiles<E>(size: u64, mut read: impl FnMut(Tile) -> Result<Vec<Hash>, E>) -> Result<Self, E> {
        let mut levels = vec![Vec::new()];
        for level in 1_u8..8 {
            let count = size >> (u32::from(level) * 8);
            let first = count - count % u64::from(TILE_WIDTH);
            let tiles = (first..count).map(|index| Ok(fold(&read(Tile::full(level - 1, index))?)));
            levels.push(tiles.collect::<Result<_, E>>()?);
        }
        Ok(Self { size: size - size % u64::from(TILE_WIDTH), levels })
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry by its hash, and hands each tile that it fills to `filled`.
    pub fn append(&mut self, leaf: Hash, mut filled: impl FnMut(Tile, &[Hash])) {
        self.size = self.size.saturating_add(1);
        self.push(0, leaf, &mut filled);
    }

    fn push(&mut self, from: usize, hash: Hash, filled: &mut dyn FnMut(Tile, &[Hash])) {
        let mut carried = Some(hash);
        for level in from.. {
            let Some(hash) = carried else { return };
            if self.levels.len() <= level {
                self.levels.resize(level.saturating_add(1), Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(level) else { return };
            hashes.push(hash);
            carried = None;
            if hashes.len() == usize::from(TILE_WIDTH) {
                let depth = u8::try_from(level).unwrap_or(u8::MAX);
                let shift = u32::from(depth).saturating_add(1).saturating_mul(8);
                let index = self.size.checked_shr(shift).unwrap_or(0).saturating_sub(1);
                filled(Tile::full(depth, index), hashes);
                carried = Some(fold(hashes));
                hashes.clear();
            }
        }
    }

    /// The partial tiles at the edge, lowest level first; none is empty.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        self.levels.iter().zip(0_u8..).filter_map(|(hashes, level)| {
            let index = self.size.checked_shr(u32::from(level).saturating_add(1).saturating_mul(8)).unwrap_or(0);
            Some((Tile::of_tree(level, index, self.size)?, hashes.as_slice()))
        })
    }

    /// The root of the tree.
    ///
    /// Source: RFC 6962 section 2.1. A tree is cut from the left into the largest perfect subtrees; hashing these
    /// together from the right gives the root.
    pub fn root(&self) -> Hash {
        let mut root = None;
        for hashes in &self.levels {
            for subtree in perfect_subtrees(hashes).into_iter().rev() {
                root = Some(root.map_or(subtree, |right| node_hash(&subtree, &right)));
            }
        }
        root.unwrap_or(EMPTY_ROOT)
    }
}

/// The roots of the perfect subtrees that `hashes` are cut into, the largest first.
fn perfect_subtrees(mut hashes: &[Hash]) -> Vec<Hash> {
    let mut subtrees = Vec::new();
    while !hashes.is_empty() {
        let largest = 1_usize.checked_shl(hashes.len().ilog2()).unwrap_or(0);
        let Some((left, right)) = hashes.split_at_checked(largest) else { break };
        subtrees.push(fold(left));
        hashes = right;
    }
    subtrees
}

/// The hash that stands for a full tile in the level above.
pub fn tile_root(hashes: &[Hash]) -> Hash {
    fold(hashes)
}

/// The root of the perfect tree over `hashes`, whose number is a power of two.
pub(super) fn fold(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().unwrap_or(EMPTY_ROOT)
}
