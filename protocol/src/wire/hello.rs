//! `Hello`: what a device offers and asks for. Chapter 20.

use minicbor::{Decode, Encode};

use crate::ids::{DeploymentId, WeightsId, WeightsVersion};
use crate::suite::{DeviceId, SuiteId};
use crate::wire::codec::List;

/// The first message of an exchange; its bytes enter th1 and the exporter's context. [WIRE-6]
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Hello {
    /// In `th1`: stripping a version is noticed.
    #[n(1)]
    pub versions: List<u16, 1, 8>,
    /// In `th1`: stripping a suite is noticed.
    #[n(2)]
    pub suites: List<SuiteId, 1, 16>,
    #[n(3)]
    pub deployment: DeploymentId,
    #[n(4)]
    pub weights: WeightsId,
    #[n(5)]
    pub version: WeightsVersion,
    /// Only a claim, for refusing early; Evidence decides. [HS-5]
    #[n(6)]
    pub device: DeviceId,
}

/// The only protocol version.
pub const VERSION: u16 = 1;
