//! Where the hashes and the entries of a tree lie: tiles of 256, and their paths.

use std::fmt;

use super::Hash;

/// How many hashes a full tile has, and how many entries a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Longest entry, in bytes: its length is written in 16 bits.
pub const ENTRY_BYTES_MAX: usize = 65_535;
/// Longest bundle, in bytes: 256 of the longest entries.
pub const BUNDLE_BYTES_MAX: usize = 256 * (2 + ENTRY_BYTES_MAX);

/// Which tile, and how much of it.
///
/// Source: <https://c2sp.org/tlog-tiles>, "Merkle Tree".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    /// INVARIANT: 1 to 256.
    width: u16,
}

impl Tile {
    /// The tile `index` of `level`, as far as a tree of `size` entries fills it; `None` if the tree has none of it.
    pub fn of_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(u32::from(level).checked_mul(8)?).unwrap_or(0);
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = hashes.saturating_sub(before).min(u64::from(TILE_WIDTH));
        Some(Self { level, index, width: u16::try_from(width).ok().filter(|width| *width > 0)? })
    }

    /// The full tile `index` of `level`.
    pub fn full(level: u8, index: u64) -> Self {
        Self { level, index, width: TILE_WIDTH }
    }

    /// 0 for the tile of entry hashes, and so on upwards.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Its number within its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it has: 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it has all 256.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The tile of the same place that has all 256.
    pub fn filled(&self) -> Self {
        Self::full(self.level, self.index)
    }

    /// Its path below the log's directory, such as `tile/0/x001/x234/067.p/12`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.suffix())
    }

    /// The path of the entries whose hashes this tile of level 0 has, such as `tile/entries/067.p/12`.
    pub fn bundle_path(&self) -> String {
        format!("tile/entries/{}", self.suffix())
    }

    fn suffix(&self) -> String {
        let mut elements = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            elements.push(format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        elements.reverse();
        let partial = if self.is_full() { String::new() } else { format!(".p/{}", self.width) };
        format!("{}{partial}", elements.join("/"))
    }
}

/// The bytes of a tile.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The first `tile.width()` hashes of a tile's bytes, which may be those of a wider tile of the same place; `None` if
/// they are not whole hashes or too few.
pub fn decode_tile(tile: &Tile, bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let width = usize::from(tile.width());
    let whole = rest.is_empty() && hashes.len() <= usize::from(TILE_WIDTH);
    let hashes = hashes.get(..width).filter(|_| whole)?;
    Some(hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect())
}

/// The entries of one bundle.
///
/// Source: <https://c2sp.org/tlog-tiles>, "Log entries": each with its length before it, 16 bits, big-endian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    entries: Vec<Vec<u8>>,
}

/// Why bytes are no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MalformedBundle {
    /// They end within an entry.
    Torn {
        /// Where the entry begins.
        offset: usize,
    },
    /// It has another number of entries than its path says.
    Count {
        /// What the path says.
        expected: u16,
    },
}

impl Bundle {
    /// Appends the form of `entry` to `bytes`; does nothing and gives `None` if it is too long.
    pub fn encode_entry(entry: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
        let length = u16::try_from(entry.len()).ok()?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
        Some(())
    }

    /// Reads the first `tile.width()` entries of a bundle's bytes, which may be those of a wider bundle.
    ///
    /// # Errors
    /// `Torn` or `Count`.
    pub fn decode(tile: &Tile, bytes: &[u8]) -> Result<Self, MalformedBundle> {
        let mut entries = Vec::new();
        let mut rest = bytes;
        let mut count = 0_u16;
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let (length, after) = rest.split_first_chunk::<2>().ok_or(MalformedBundle::Torn { offset })?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).ok_or(MalformedBundle::Torn { offset })?;
            rest = after;
            if count < tile.width() {
                entries.push(entry.to_owned());
            }
            count = count.saturating_add(1);
            if count > TILE_WIDTH {
                return Err(MalformedBundle::Count { expected: tile.width() });
            }
        }
        if count < tile.width() {
            return Err(MalformedBundle::Count { expected: tile.width() });
        }
        Ok(Self { entries })
    }

    /// Its entries in order.
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Its entries in order.
    pub fn into_entries(self) -> Vec<Vec<u8>> {
        self.entries
    }
}

impl fmt::Display for MalformedBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { offset } => write!(f, "the entry at byte {offset} is cut off"),
            Self::Count { expected } => write!(f, "it does not have the {expected} entries that its path says"),
        }
    }
}

impl std::error::Error for MalformedBundle {}
