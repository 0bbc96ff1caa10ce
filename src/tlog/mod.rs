//! The transparency log's mathematics and texts: hashes, tiles, proofs, signed notes, what a witness decides.
//!
//! Every form is a public one, so that an outsider checks our log with tools that are not ours: the Merkle tree of
//! RFC 6962 section 2.1, the tiles of <https://c2sp.org/tlog-tiles>, the notes of <https://c2sp.org/signed-note>,
//! <https://c2sp.org/tlog-checkpoint>, <https://c2sp.org/tlog-cosignature>, <https://c2sp.org/tlog-witness> and
//! <https://c2sp.org/tlog-proof>.
//!
//! What is read here may come from an attacker: every length is bounded, every number checked, nothing panics.
//! A proof shows that a tree head covers an entry or an older tree head. It does not show that the head is the only
//! one that was signed: that takes a witness, or a head that the verifier kept.

mod checkpoint;
mod edge;
mod hash;
mod key;
mod note;
mod proof;
#[cfg(test)]
mod tests;
mod tile;
mod tree;
mod witness;

pub use checkpoint::{Checkpoint, MalformedCheckpoint};
pub use edge::{Edge, tile_root};
pub use hash::{EMPTY_ROOT, Hash, MalformedHash, leaf_hash, node_hash};
pub use key::{Algorithm, KeyName, MalformedKey, SigningKey, VerifyingKey};
pub use note::{CheckedNote, MalformedNote, NOTE_BYTES_MAX, Note, NoteError, Signature};
pub use proof::{EntryProof, EntryProofError};
pub use tile::{
    BUNDLE_BYTES_MAX, Bundle, ENTRY_BYTES_MAX, MalformedBundle, TILE_WIDTH, Tile, decode_tile, encode_tile,
};
pub use tree::{
    PROOF_HASHES_MAX, ProofError, TileSource, TreeError, consistency_proof, inclusion_proof, root, verify_consistency,
    verify_inclusion,
};
pub use witness::{AddCheckpoint, Answer, MalformedRequest, REQUEST_BYTES_MAX, Refused, decide};
