//! The secrets of a device's suite on a GPU: handles here, keys and shares in device memory.
//!
//! Chapters 20 to 40. What the suite computes over a secret is a launch on the device, of
//! milliseconds: decision 0031 has why that is still a call and no effect.

use std::collections::BTreeMap;

use split_custody_gpu::cuda::CudaDevice;
use split_custody_gpu::{GpuDevice, KeySlot};
use split_custody_kernels::resident::Wrapped;
use split_custody_keys::{dek_prefix, share_prefix};
use split_custody_protocol::effect::Secrets;
use split_custody_protocol::ids::{ShareIndex, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{
    AgreementKey, DekHandle, DeviceSecret, Differs, Digest, NotOpened, SealedShare, ShareHandle,
    SharePlace, SuiteId,
};

use crate::failure::chain;

/// Handles to slots of one device.
pub struct Resident {
    device: CudaDevice,
    slots: BTreeMap<(Kind, u64), KeySlot>,
    last: u64,
}

/// What a handle stands for; one of one kind never opens a slot of another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Kind {
    Key,
    Share,
    Dek,
}

impl Resident {
    pub fn new(device: CudaDevice) -> Self {
        Self { device, slots: BTreeMap::new(), last: 0 }
    }

    /// A failed draw gives a handle that stands for nothing and a key that no suite takes as valid:
    /// the exchange fails at its first use. [REL-12]
    pub fn generate(&mut self, suite: SuiteId) -> (DeviceSecret, AgreementKey) {
        if suite == SuiteId::HPKE_X25519 {
            match self.device.generate_key() {
                Ok((slot, public)) => {
                    if let Some(key) = AgreementKey::new(public.to_vec()) {
                        return (DeviceSecret::new(self.keep(Kind::Key, slot)), key);
                    }
                }
                Err(error) => eprintln!("device: no key was made: {}", chain(&error)),
            }
        }
        // INVARIANT: one byte is within the bounds of every `Bytes`.
        let unusable = AgreementKey::new(vec![0]).expect("one byte is within bounds");
        self.last += 1;
        (DeviceSecret::new(self.last), unusable)
    }

    pub fn open_share(
        &mut self,
        suite: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        let key = self.slot(Kind::Key, secret.value()).ok_or(NotOpened)?;
        let (enc, rest) = sealed.as_bytes().split_first_chunk::<32>().ok_or(NotOpened)?;
        let sealed: &[u8; 48] = rest.try_into().map_err(|_| NotOpened)?;
        if suite != SuiteId::HPKE_X25519 {
            return Err(NotOpened);
        }
        let wrapped = Wrapped { enc, sealed, info: context.as_bytes() };
        let opened = self.device.open_share(key, &wrapped); // [REL-4]
        let slot = opened.map_err(|_| NotOpened)?;
        Ok(ShareHandle::new(self.keep(Kind::Share, slot)))
    }

    pub fn check_share(
        &mut self,
        share: ShareHandle,
        place: SharePlace,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        let slot = self.slot(Kind::Share, share.value()).ok_or(Differs)?;
        let same = self.device.check_secret(slot, &share_prefix(place), commitment.as_bytes()); // [QRM-2]
        same.map_err(|_| self.differs((Kind::Share, share.value())))
    }

    pub fn combine(
        &mut self,
        shares: &[(ShareIndex, ShareHandle)],
    ) -> Result<DekHandle, NotOpened> {
        let place = |(index, share): &(ShareIndex, ShareHandle)| {
            Some((index.value(), self.slot(Kind::Share, share.value())?))
        };
        let shares: Option<Vec<_>> = shares.iter().map(place).collect();
        let slot = self.device.combine(&shares.ok_or(NotOpened)?).map_err(|_| NotOpened)?; // [QRM-4]
        Ok(DekHandle::new(self.keep(Kind::Dek, slot)))
    }

    pub fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        let slot = self.slot(Kind::Dek, dek.value()).ok_or(Differs)?;
        let prefix = dek_prefix(weights, version);
        let same = self.device.check_secret(slot, &prefix, commitment.as_bytes()); // [QRM-3]
        same.map_err(|_| self.differs((Kind::Dek, dek.value())))
    }

    /// Where a DEK lies.
    pub fn dek(&self, dek: DekHandle) -> Option<KeySlot> {
        self.slot(Kind::Dek, dek.value())
    }

    /// Executes an erase effect; unknown handles are erased already. [RST-3]
    pub fn erase(&mut self, secrets: &Secrets) {
        let keys = secrets.keys.iter().map(|key| (Kind::Key, key.value()));
        let shares = secrets.shares.iter().map(|share| (Kind::Share, share.value()));
        let deks = secrets.dek.iter().map(|dek| (Kind::Dek, dek.value()));
        keys.chain(shares).chain(deks).for_each(|handle| self.erase_one(handle));
    }

    fn erase_one(&mut self, handle: (Kind, u64)) {
        if let Some(slot) = self.slots.remove(&handle) {
            // A slot that is gone already is what was wanted; a driver that fails trips.
            let _ = self.device.erase_key(slot);
        }
    }

    /// What does not match its commitment is erased. [QRM-8]
    fn differs(&mut self, handle: (Kind, u64)) -> Differs {
        self.erase_one(handle);
        Differs
    }

    /// Every handle stands for nothing; the device zeroises its own memory. [RST-10]
    pub fn forget(&mut self) {
        self.slots.clear();
    }

    fn keep(&mut self, kind: Kind, slot: KeySlot) -> u64 {
        // Never reused, also not after erasure: a stale handle must not open a later secret.
        self.last += 1;
        self.slots.insert((kind, self.last), slot);
        self.last
    }

    fn slot(&self, kind: Kind, handle: u64) -> Option<KeySlot> {
        self.slots.get(&(kind, handle)).copied()
    }
}

#[cfg(test)]
mod tests {
    use split_custody_gpu::cuda::CudaConfig;
    use split_custody_gpu::{GpuDevice, OwnerKey};
    use split_custody_keys::{Dealing, Dek, Recipient, SoftCustody, provision_context};
    use split_custody_protocol::ids::{CustodianId, ShareSetId};

    use super::*;

    const SET: ShareSetId = ShareSetId::new([1; 16]);
    const CONTEXT: Digest = Digest::new([2; 32]);
    const WEIGHTS: (WeightsId, WeightsVersion) = (WeightsId::new([3; 16]), WeightsVersion::new(1));

    /// A device that is clean, and the one share of a dealing to one custodian, opened there.
    struct Opened {
        resident: Resident,
        share: ShareHandle,
        place: SharePlace,
        commitment: Digest,
        dek: Dek,
    }

    fn opened() -> Opened {
        let owner = OwnerKey([4; 65]); // It verifies nothing here.
        let device = CudaDevice::open(CudaConfig::new(owner, 1 << 20)).expect("a driver");
        device.zeroise().expect("zeroised");
        device.scrub().expect("scrubbed");
        device.plant().expect("planted");
        let mut resident = Resident::new(device);
        let (secret, to) = resident.generate(SuiteId::HPKE_X25519);

        let (custody, dek) = (SoftCustody::generate().expect("keys"), Dek::generate());
        let (custodian, index) = (CustodianId::new(1), ShareIndex::new(1));
        let recipient = Recipient { custodian, index, kek: custody.kek_public() };
        let dealing = Dealing::deal(&dek, SET, 1, &[recipient]).expect("dealt");
        let commitment = dealing.commitments()[0].share;
        let dealt = dealing.seal(&CONTEXT).expect("sealed").remove(0);
        let under = provision_context(&CONTEXT, &SET, custodian, index, &dealt.kek);
        let suite = SuiteId::HPKE_X25519;
        let sealed = custody.rewrap(&dealt.sealed, &under, suite, &to, &CONTEXT).expect("sealed");
        let share = resident.open_share(suite, secret, &CONTEXT, &sealed).expect("opened");
        let place = SharePlace { set: SET, custodian, index };
        Opened { resident, share, place, commitment, dek }
    }

    #[test]
    #[ignore = "on a GPU, or on the fake driver"]
    fn qrm_8_on_the_device_a_share_that_does_not_match_is_erased() {
        let Opened { mut resident, share, place, commitment, .. } = opened();
        assert_eq!(resident.check_share(share, place, &commitment), Ok(()));
        assert!(resident.combine(&[(place.index, share)]).is_ok());
        let slot = resident.slot(Kind::Share, share.value()).expect("held");

        assert_eq!(resident.check_share(share, place, &CONTEXT), Err(Differs));
        assert_eq!(resident.combine(&[(place.index, share)]), Err(NotOpened));
        let digest = commitment.as_bytes();
        assert!(resident.device.check_secret(slot, &share_prefix(place), digest).is_err());
    }

    #[test]
    #[ignore = "on a GPU, or on the fake driver"]
    fn qrm_8_on_the_device_a_dek_that_does_not_match_is_erased() {
        let Opened { mut resident, share, place, dek, .. } = opened();
        let combined = resident.combine(&[(place.index, share)]).expect("combined");
        let (weights, version) = WEIGHTS;
        let commitment = dek.commitment(weights, version);
        assert_eq!(resident.check_dek(combined, weights, version, &commitment), Ok(()));
        let slot = resident.dek(combined).expect("held");

        assert_eq!(resident.check_dek(combined, weights, version, &CONTEXT), Err(Differs));
        assert_eq!(resident.dek(combined), None);
        let (prefix, digest) = (dek_prefix(weights, version), commitment.as_bytes());
        assert!(resident.device.check_secret(slot, &prefix, digest).is_err());
    }
}
