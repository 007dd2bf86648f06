//! Length framing for what is hashed, keyed or signed here.
//!
//! Chapter 10. A frame is the length as four big-endian bytes, then the bytes. [WIRE-5]

use ring::digest;

/// Something that absorbs bytes.
pub(crate) trait Framed {
    fn update_plain(&mut self, bytes: &[u8]);

    /// Absorbs the length, then the bytes. The label and fields framed here are short.
    fn update_framed(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("labels, names and ids are below 4 GiB");
        self.update_plain(&length.to_be_bytes());
        self.update_plain(bytes);
    }

    /// Absorbs an integer as a field of eight bytes.
    fn update_integer(&mut self, value: u64) {
        self.update_framed(&value.to_be_bytes());
    }
}

impl Framed for digest::Context {
    fn update_plain(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

impl Framed for Vec<u8> {
    fn update_plain(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What keeps the uses of a hash or key apart.
pub(crate) mod label {
    pub(crate) const INCARNATION: &[u8] = b"split-custody/v1/incarnation";
    pub(crate) const USE: &[u8] = b"split-custody/v1/use";
    pub(crate) const PROOF: &[u8] = b"split-custody/v1/proof";
    pub(crate) const PROOF_NONCE: &[u8] = b"split-custody/v1/proof-nonce";
}
