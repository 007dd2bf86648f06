//! Incarnation: the name of a life of a device between two scrubs, and the secret that it stands on.
//!
//! Chapter 70. A [`Mark`] lies in device memory and with the measured code; [`Mark::check`] is what
//! each opening, load and use does first. When it returns `Ok`, no reset came between. [RST-4] [RST-5]
//! It does not decide what follows a mismatch: that is a tamper signal for the device machine.

use std::fmt;

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::GpuError;
use crate::hash::{Framed, label};

/// 32 secret random bytes, planted after a scrub.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Mark([u8; Mark::BYTES]);

impl Mark {
    /// The length of a mark.
    pub const BYTES: usize = 32;

    /// Draws a fresh mark. [RST-4]
    pub fn draw() -> Result<Self, GpuError> {
        let mut mark = Self([0; Self::BYTES]);
        SystemRandom::new().fill(&mut mark.0).map_err(|_| GpuError::NoRandomness)?;
        Ok(mark)
    }

    /// `H("incarnation", mark)`.
    pub fn incarnation(&self) -> Incarnation {
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update_framed(label::INCARNATION);
        hash.update_framed(&self.0);
        let mut name = [0; 32];
        name.copy_from_slice(hash.finish().as_ref());
        Incarnation(name)
    }

    /// Compares with what device memory holds, in constant time. [RST-5]
    pub fn check(&self, in_memory: &[u8]) -> Result<(), GpuError> {
        if bool::from(self.0.ct_eq(in_memory)) { Ok(()) } else { Err(GpuError::Tamper) }
    }

    /// The bytes, for the memory they are planted in.
    pub(crate) fn expose(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mark(..)")
    }
}

/// Names a life of a device; public.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Incarnation(pub [u8; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash as the specification frames it, written out by hand.
    #[test]
    fn rst_4_incarnation_is_the_framed_hash_of_the_mark() {
        let mark = Mark([7; 32]);
        let mut framed = vec![0, 0, 0, 28];
        framed.extend_from_slice(b"split-custody/v1/incarnation");
        framed.extend_from_slice(&[0, 0, 0, 32]);
        framed.extend_from_slice(&[7; 32]);
        let expected = digest::digest(&digest::SHA256, &framed);
        assert_eq!(mark.incarnation().0, expected.as_ref());
    }

    #[test]
    fn rst_4_two_marks_never_agree() {
        let (a, b) = (Mark::draw().unwrap(), Mark::draw().unwrap());
        assert_ne!(a.incarnation(), b.incarnation());
        assert!(matches!(a.check(b.expose()), Err(GpuError::Tamper)));
    }

    #[test]
    fn rst_5_a_mark_of_another_length_is_a_mismatch() {
        let mark = Mark::draw().unwrap();
        assert!(matches!(mark.check(&mark.0[..31]), Err(GpuError::Tamper)));
        assert!(mark.check(&mark.0).is_ok());
    }
}
