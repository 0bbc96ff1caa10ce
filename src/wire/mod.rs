//! What both legs of a session share: a socket that can be cut, and a channel as events.

pub mod channel;
mod cut;
mod display;

pub use cut::{Cut, CutStream, Identification};
pub use display::Display;

use russh::{Preferred, cipher, compression, kex, mac};
use std::borrow::Cow;

/// The identification string of both legs (RFC 4253 section 4.2). OpenSSH sends `eow@openssh.com` only to a
/// peer whose string begins so, and without that message `... | head` never ends. It names no version.
pub const IDENTIFICATION: &str = "SSH-2.0-OpenSSH_Doorward";

/// Bytes that a peer may send on a channel before we pass any on (RFC 4254 section 5.2).
pub const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// The largest data packet that we take; OpenSSH never sends a larger one.
pub const PACKET_BYTES_MAX: u32 = 32 * 1024;

/// Messages that may wait on one channel. The window bounds their bytes, this bounds a flood of tiny ones.
pub const CHANNEL_MESSAGES_MAX: usize = 65_536;

/// New keys after so many bytes in one direction, and after an hour (RFC 4253 section 9).
pub fn rekey_limits(bytes: usize) -> russh::Limits {
    // Beyond a gibibyte a cipher could come near its limits, whatever the configuration says.
    let bytes = bytes.min(1 << 30);
    russh::Limits { rekey_write_limit: bytes, rekey_read_limit: bytes, ..russh::Limits::default() }
}

/// Which algorithms both legs speak: no SHA-1, no finite-field groups, no compression (it works on bytes
/// of strangers), encrypt-then-MAC only.
pub fn algorithms(ciphers: &'static [cipher::Name]) -> Preferred {
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_SUPPORT_AS_SERVER,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        key: Preferred::DEFAULT.key.iter().filter(|key| key.to_string() != "ssh-rsa").cloned().collect(),
        cipher: Cow::Borrowed(ciphers),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM]),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// What a target's leg may speak besides, where an operator says so: SHA-1, CBC, finite-field groups down to 1024 bits,
/// MACs over what is not encrypted yet. Old network gear has nothing else. The sound ones come first.
pub fn insecure_algorithms(ciphers: &'static [cipher::Name]) -> Preferred {
    let sound = algorithms(ciphers);
    let old = &[
        kex::ECDH_SHA2_NISTP256,
        kex::ECDH_SHA2_NISTP384,
        kex::ECDH_SHA2_NISTP521,
        kex::DH_G16_SHA512,
        kex::DH_GEX_SHA256,
        kex::DH_G14_SHA256,
        kex::DH_GEX_SHA1,
        kex::DH_G14_SHA1,
        kex::DH_G1_SHA1,
    ];
    let ciphers =
        [cipher::AES_192_CTR, cipher::AES_128_CTR, cipher::AES_256_CBC, cipher::AES_192_CBC, cipher::AES_128_CBC];
    let macs = [mac::HMAC_SHA512, mac::HMAC_SHA256, mac::HMAC_SHA1_ETM, mac::HMAC_SHA1];
    Preferred {
        kex: sound.kex.iter().chain(old).copied().collect(),
        cipher: sound.cipher.iter().copied().chain(ciphers).collect(),
        mac: sound.mac.iter().copied().chain(macs).collect(),
        ..sound
    }
}
