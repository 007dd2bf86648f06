//! The GPU half of NVIDIA Evidence on the wire, and the id of the device that it names.

use minicbor::{Decode, Encode};
use split_custody_keys::hash;
use split_custody_protocol::suite::{Bytes, DeviceId, Digest, secret_label};
use split_custody_protocol::wire::codec::List;

use super::chain::CHAIN_CAP;
use super::report::REPORT_CAP;
use super::verifier::{Gpu, MOST_GPUS};

/// Report and chain of every GPU of a device, as the driver gave them.
///
/// Reference values are not in it: they are the appraiser's, never the attester's.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct GpuHalf {
    #[n(1)]
    pub gpus: List<GpuEvidence, 1, MOST_GPUS>,
}

/// One GPU of it.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct GpuEvidence {
    #[n(1)]
    pub report: Bytes<REPORT_CAP>,
    /// PEM, the attestation key's certificate first.
    #[n(2)]
    pub chain: Bytes<CHAIN_CAP>,
}

impl GpuHalf {
    /// The longest encoded half.
    pub const CAP: usize = MOST_GPUS * (REPORT_CAP + CHAIN_CAP + 16) + 16;

    pub fn gpus(&self) -> Vec<Gpu<'_>> {
        let gpus = self.gpus.iter();
        gpus.map(|gpu| Gpu { report: gpu.report.as_bytes(), chain: gpu.chain.as_bytes() }).collect()
    }
}

/// Names a device by both halves of its identity: `H("device", SPKI of each GPU's identity
/// certificate, ascending, platform id)`. With one GPU it is the formula for one. [HS-13]
pub fn device_id<'a>(
    identities: impl IntoIterator<Item = &'a [u8]>,
    platform: &Digest,
) -> DeviceId {
    let mut fields: Vec<&[u8]> = identities.into_iter().collect();
    fields.sort_unstable();
    fields.push(platform.as_bytes());
    DeviceId::new(*hash(secret_label::DEVICE, &fields).as_bytes())
}
