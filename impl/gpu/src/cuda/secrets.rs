//! Keys and shares of a release: made, opened, checked and combined on the GPU.
//!
//! Chapters 20 to 40. What comes out is a public key or a verdict. [REL-4] [QRM-2] [QRM-4]

use ring::rand::{SecureRandom, SystemRandom};
use split_custody_kernels::resident::{ShareContext, Wrapped};
use zeroize::Zeroizing;

use crate::backend::KeySlot;
use crate::cuda::device::CudaDevice;
use crate::cuda::life::Hold;
use crate::error::GpuError;

impl CudaDevice {
    /// Draws an X25519 key on the GPU; gives its slot and its public half.
    pub fn generate_key(&self) -> Result<(KeySlot, [u8; 32]), GpuError> {
        self.with_new_key(|hold, place| {
            let mut seed = Zeroizing::new([0; 32]);
            SystemRandom::new().fill(&mut seed[..]).map_err(|_| GpuError::NoRandomness)?;
            let samples = hold.keys.samples()?;
            hold.desk.draw(samples, &seed, place)?;
            Ok(hold.desk.public_x25519(place)?)
        })
    }

    /// Opens a share that was sealed to a key of this device under a context. [REL-4]
    pub fn open_share(&self, key: KeySlot, wrapped: &Wrapped<'_>) -> Result<KeySlot, GpuError> {
        let opened = self.with_new_key(|hold, share| {
            let places =
                ShareContext { secret: hold.keys.place(key)?, agreed: hold.keys.agreed()?, share };
            Ok(hold.desk.open_share(&places, wrapped)?)
        });
        opened.map(|(slot, ())| slot)
    }

    /// Whether SHA-256 over `prefix` and the secret is the expected digest. [QRM-2] [QRM-3]
    pub fn check_secret(
        &self,
        secret: KeySlot,
        prefix: &[u8],
        expected: &[u8; 32],
    ) -> Result<(), GpuError> {
        self.0.clean(|hold, mark| {
            hold.check_mark(mark)?; // [RST-5]
            let place = hold.keys.place(secret)?;
            Ok(hold.desk.check_digest(prefix, place, expected)?)
        })
    }

    /// Combines shares into a key. [QRM-4]
    pub fn combine(&self, shares: &[(u8, KeySlot)]) -> Result<KeySlot, GpuError> {
        let combined = self.with_new_key(|hold, out| {
            let place = |(index, slot): &(u8, KeySlot)| Ok((*index, hold.keys.place(*slot)?));
            let shares = shares.iter().map(place).collect::<Result<Vec<_>, GpuError>>()?;
            let gathered = hold.keys.gathered()?;
            Ok(hold.desk.combine(&shares, gathered, out)?)
        });
        combined.map(|(slot, ())| slot)
    }

    /// Takes a slot for what `make` leaves there; on an error the slot is zero and free again.
    fn with_new_key<T>(
        &self,
        make: impl FnOnce(&mut Hold, split_custody_kernels::resident::Secret) -> Result<T, GpuError>,
    ) -> Result<(KeySlot, T), GpuError> {
        self.0.clean(|hold, mark| {
            hold.check_mark(mark)?; // [RST-5]
            let (slot, place) = hold.keys.take(32, &mut self.0.next_slot())?;
            let made = make(hold, place);
            if made.is_err() {
                let place = hold.keys.give_up(slot)?;
                hold.desk.stream().zero(place)?;
            }
            Ok((slot, made?))
        })
    }
}
