//! The two halves of `software` Evidence, and the identities in them.
//!
//! Each half is a COSE_Sign1 whose payload names the key that signed it. The device id is computed
//! from those two keys and from nothing else: a pair that nobody enrolled gives an id that nobody
//! enrolled, which is why the appraiser needs no list of keys. [HS-14]

use minicbor::{Decode, Encode};
use split_custody_keys::hash;
use split_custody_protocol::suite::{DeviceId, Digest, VerifyKey, secret_label};

/// What the GPU identity key signs.
#[derive(Clone, Debug, Decode, Encode)]
#[cbor(map)]
pub(crate) struct GpuReport {
    /// `H("gpu", S)`. [HS-11]
    #[n(1)]
    pub(crate) nonce: Digest,
    #[n(2)]
    pub(crate) measurement: Digest,
    #[n(3)]
    pub(crate) mode: u8,
    #[n(4)]
    pub(crate) key: VerifyKey,
}

/// What the platform key signs.
#[derive(Clone, Debug, Decode, Encode)]
#[cbor(map)]
pub(crate) struct CpuReport {
    /// `H("cpu", S, H("evidence", GPU half))`. [HS-12]
    #[n(1)]
    pub(crate) data: Digest,
    #[n(2)]
    pub(crate) measurement: Digest,
    /// Must be the [`platform_id`] of `key`: a free choice would let any key speak for any platform.
    #[n(3)]
    pub(crate) platform: Digest,
    #[n(4)]
    pub(crate) key: VerifyKey,
}

/// Names a platform by its identity key.
pub fn platform_id(platform: &VerifyKey) -> Digest {
    hash(PLATFORM, &[platform.as_bytes()])
}

/// Names a device by both halves of its identity: `H("device", GPU key, platform id)`. [HS-13]
pub fn device_id(gpu: &VerifyKey, platform: &VerifyKey) -> DeviceId {
    let platform = platform_id(platform);
    DeviceId::new(*hash(secret_label::DEVICE, &[gpu.as_bytes(), platform.as_bytes()]).as_bytes())
}

/// The label of this kind's platform ids.
const PLATFORM: &str = "split-custody/v1/platform";
