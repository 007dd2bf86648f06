//! The GPU's report: an SPDM 1.1 measurements request and its signed response, read strictly.
//!
//! Chapter 20. A report that is read has the one shape that GPU drivers make: every length is
//! bounded and used up, nothing follows the signature, and every measurement stands in its place.
//! Whether its signature verifies is not decided here. [HS-22]
//!
//! ```text
//!   request 37:  11 e0 01 ff  nonce 32  slot 00
//!   response:    11 60 00 00  blocks 64  length 3  64 blocks of 55  nonce 32
//!                length 2  opaque data  signature 96
//! ```

use split_custody_protocol::suite::Digest;

use super::bytes::Cursor;
use super::opaque::Opaque;
use super::reason::{Finding, Place, Reason};

/// A report in its one shape, not yet verified.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    nonce: Digest,
    measurements: Vec<&'a [u8; 48]>,
    opaque: Opaque<'a>,
    signed: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Report<'a> {
    /// Reads a report; every rule of the shape or none. [HS-22]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Finding> {
        if bytes.len() > REPORT_CAP {
            return Err(Reason::ReportTooLong.into());
        }
        let mut rest = Cursor::new(bytes);
        let nonce = request(&mut rest)?;
        let measurements = measurements(&mut rest)?;
        rest.take(RESPONDER_NONCE).ok_or(Reason::ReportTruncated)?;
        let length = rest.u16().ok_or(Reason::ReportTruncated)?;
        let opaque = rest.take(length.into()).ok_or(Reason::ReportTruncated)?;
        let signature = rest.take(SIGNATURE).ok_or(Reason::ReportTruncated)?;
        if !rest.is_empty() {
            return Err(Reason::ReportTrailing.into());
        }
        let opaque = Opaque::parse(opaque)?;
        // INVARIANT: the signature was the last that was taken.
        let signed = bytes.split_at(bytes.len() - SIGNATURE).0;
        Ok(Self { nonce, measurements, opaque, signed, signature })
    }

    /// What the report answers: 32 bytes of the caller.
    pub const fn nonce(&self) -> &Digest {
        &self.nonce
    }

    /// The measured value at an index of the reference values: index k is SPDM block k + 1.
    pub fn measurement(&self, index: u8) -> Option<&'a [u8; 48]> {
        self.measurements.get(usize::from(index)).copied()
    }

    pub const fn opaque(&self) -> &Opaque<'a> {
        &self.opaque
    }

    /// What the signature covers: request and response without the signature.
    pub const fn signed(&self) -> &'a [u8] {
        self.signed
    }

    /// `r || s`, 96 bytes. ECDSA has a second signature for every first: name nothing by it.
    pub const fn signature(&self) -> &'a [u8] {
        self.signature
    }
}

/// The request's nonce; the rest of it has one value.
fn request(rest: &mut Cursor<'_>) -> Result<Digest, Finding> {
    let [version, code, first, second] = rest.array().ok_or(Reason::ReportTruncated)?;
    if version != SPDM_1_1 {
        return Err(Reason::ReportVersion.into());
    }
    if [code, first, second] != [GET_MEASUREMENTS, WITH_SIGNATURE, ALL] {
        return Err(Reason::ReportRequest.into());
    }
    let nonce = rest.array().ok_or(Reason::ReportTruncated)?;
    let [slot] = rest.array().ok_or(Reason::ReportTruncated)?;
    if slot != 0 {
        return Err(Reason::ReportRequest.into());
    }
    Ok(Digest::new(nonce))
}

/// The 64 measured values, in order.
fn measurements<'a>(rest: &mut Cursor<'a>) -> Result<Vec<&'a [u8; 48]>, Finding> {
    let [version, code, first, second] = rest.array().ok_or(Reason::ReportTruncated)?;
    if version != SPDM_1_1 {
        return Err(Reason::ReportVersion.into());
    }
    if [code, first, second] != [MEASUREMENTS, 0, 0] {
        return Err(Reason::ReportResponse.into());
    }
    let [count] = rest.array().ok_or(Reason::ReportTruncated)?;
    let length = rest.length24().ok_or(Reason::ReportTruncated)?;
    if count != BLOCKS || length != usize::from(BLOCKS) * BLOCK {
        return Err(Reason::ReportNotGpu.into());
    }
    let mut record = Cursor::new(rest.take(length).ok_or(Reason::ReportTruncated)?);
    let mut found = Vec::with_capacity(BLOCKS.into());
    for index in 0..BLOCKS {
        let bad = Finding::at(Reason::ReportBlock, Place::Measurement(index));
        let head: [u8; 7] = record.array().ok_or(bad)?;
        // Index, DMTF, size 51, a digest, of 48 bytes; the index counts from 1.
        if head != [index + 1, 1, 51, 0, 1, 48, 0] {
            return Err(bad);
        }
        found.push(record.take(48).and_then(|value| value.try_into().ok()).ok_or(bad)?);
    }
    Ok(found)
}

/// NVML's buffer for a report.
pub const REPORT_CAP: usize = 8192;
/// How many measurements a GPU reports.
pub const BLOCKS: u8 = 64;
const BLOCK: usize = 7 + 48;
const RESPONDER_NONCE: usize = 32;
const SIGNATURE: usize = 96;
const SPDM_1_1: u8 = 0x11;
const GET_MEASUREMENTS: u8 = 0xe0;
const MEASUREMENTS: u8 = 0x60;
const WITH_SIGNATURE: u8 = 1;
const ALL: u8 = 0xff;
