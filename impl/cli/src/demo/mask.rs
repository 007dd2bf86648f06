//! The mask over the linked model: applied at build time, and again to take it off.

/// A fixed sequence of bytes (xorshift64), the same at build time and at run time.
pub fn apply(bytes: &mut [u8]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (byte, mask) in chunk.iter_mut().zip(state.to_le_bytes()) {
            *byte ^= mask;
        }
    }
}
