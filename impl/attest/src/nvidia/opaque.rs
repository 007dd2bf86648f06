//! The report's opaque data: typed fields, none twice.
//!
//! Chapter 20. Fields that decide something are read here and nowhere else; a field that we do not
//! know stays bytes, which the signature covers all the same. [HS-22]

use super::bytes::Cursor;
use super::reason::{Finding, Place, Reason};

/// The fields of a report.
#[derive(Clone, Debug)]
pub struct Opaque<'a> {
    fields: Vec<(u16, &'a [u8])>,
    driver: String,
    vbios: String,
    fwid: Option<[u8; 48]>,
    switches: Option<&'a [u8]>,
    mode: Option<Mode>,
}

/// How a GPU protects what it computes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Mode {
    /// One GPU, one confidential VM, encrypted over PCIe.
    Single,
    /// All GPUs and switches of a machine; links between them are trusted and in clear.
    ProtectedPcie,
}

impl Mode {
    /// The number by which policy admits it. [HS-16]
    pub const fn number(self) -> u8 {
        match self {
            Self::Single => 1,
            Self::ProtectedPcie => 2,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single GPU",
            Self::ProtectedPcie => "protected PCIe",
        }
    }
}

impl<'a> Opaque<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Finding> {
        let mut rest = Cursor::new(bytes);
        let mut fields: Vec<(u16, &'a [u8])> = Vec::new();
        while !rest.is_empty() {
            let kind = rest.u16().ok_or(Reason::OpaqueTruncated)?;
            let length = rest.u16().ok_or(Reason::OpaqueTruncated)?;
            let at = Place::Field(kind);
            let truncated = Finding::at(Reason::OpaqueTruncated, at);
            let value = rest.take(length.into()).ok_or(truncated)?;
            if fields.iter().any(|(other, _)| *other == kind) {
                return Err(Finding::at(Reason::OpaqueDuplicate, at));
            }
            fields.push((kind, value));
        }
        Self::read(fields)
    }

    fn read(fields: Vec<(u16, &'a [u8])>) -> Result<Self, Finding> {
        let find = |kind| fields.iter().find(|(other, _)| *other == kind).map(|(_, value)| *value);
        let need = |kind| find(kind).ok_or(Finding::at(Reason::OpaqueAbsent, Place::Field(kind)));
        let malformed = |kind| Finding::at(Reason::OpaqueMalformed, Place::Field(kind));
        let version = match find(VERSION) {
            None => 0,
            Some(bytes) => number(bytes).ok_or(malformed(VERSION))?,
        };
        if version > NEWEST {
            return Err(Finding::at(Reason::OpaqueVersion, Place::Field(VERSION)));
        }
        let driver = driver(need(DRIVER)?).ok_or(malformed(DRIVER))?;
        let vbios = vbios(need(VBIOS)?).ok_or(malformed(VBIOS))?;
        let fwid = match find(FWID) {
            None => None,
            Some(bytes) => Some(bytes.try_into().map_err(|_| malformed(FWID))?),
        };
        let switches = find(SWITCHES);
        if switches.is_some_and(|bytes| bytes.len() != LINKS * LINK) {
            return Err(malformed(SWITCHES));
        }
        let flag = match find(FEATURE) {
            None => None,
            Some(bytes) => Some(number(bytes).ok_or(malformed(FEATURE))?),
        };
        // The flag came with version 1: one without the other was put together by hand.
        if flag.is_some() != (version >= 1) {
            return Err(Finding::at(Reason::OpaqueVersion, Place::Field(FEATURE)));
        }
        let mode = mode(flag, find(PROTECTED_PCIE), switches);
        Ok(Self { fields, driver, vbios, fwid, switches, mode })
    }

    /// `550.90.07`.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// `96.00.5E.00.01`, in capitals.
    pub fn vbios(&self) -> &str {
        &self.vbios
    }

    pub const fn fwid(&self) -> Option<&[u8; 48]> {
        self.fwid.as_ref()
    }

    /// The one mode that all fields name, if there is one.
    pub const fn mode(&self) -> Option<Mode> {
        self.mode
    }

    /// The switch behind each link, in protected PCIe mode; zeros where a link is disabled.
    pub fn switches(&self) -> impl Iterator<Item = &'a [u8]> {
        self.switches.unwrap_or_default().chunks_exact(LINK)
    }

    /// Every field as it came.
    pub fn fields(&self) -> &[(u16, &'a [u8])] {
        &self.fields
    }

    /// A field's name, where it has one.
    pub const fn name(kind: u16) -> &'static str {
        match kind {
            DRIVER => "driver version",
            4 => "GPU info",
            5 => "SKU",
            VBIOS => "VBIOS version",
            7 => "manufacturer id",
            11 => "NVDEC0 status",
            12 => "extend counts",
            13 => "CPR info",
            14 => "board id",
            15 => "chip SKU",
            16 => "chip SKU modifier",
            17 => "project",
            18 => "project SKU",
            19 => "project SKU modifier",
            FWID => "firmware id",
            PROTECTED_PCIE => "protected PCIe",
            SWITCHES => "switch ids",
            33 => "system enable status",
            VERSION => "opaque data version",
            35 => "chip info",
            FEATURE => "feature flag",
            _ => "unknown",
        }
    }
}

/// Two numberings of the feature flag are about; only values on which both data and the other
/// fields agree count. Anything else is no mode.
fn mode(flag: Option<u16>, pcie: Option<&[u8]>, switches: Option<&[u8]>) -> Option<Mode> {
    match (flag, pcie, switches) {
        (None | Some(0), None | Some([DISABLED]), None) => Some(Mode::Single),
        (Some(2), Some([ENABLED]), Some(_)) => Some(Mode::ProtectedPcie),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_le_bytes)
}

/// Digits and dots, ended by zeros.
fn driver(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, padding) = bytes.split_at_checked(end)?;
    let text = std::str::from_utf8(text).ok()?;
    let plain = text.split('.').count() >= 2
        && text.len() <= VERSION_CAP
        && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    (plain && padding.iter().all(|byte| *byte == 0)).then(|| text.to_owned())
}

fn vbios(bytes: &[u8]) -> Option<String> {
    let [b0, b1, b2, b3, b4, 0, 0, 0]: [u8; 8] = bytes.try_into().ok()? else { return None };
    Some(format!("{b3:02X}.{b2:02X}.{b1:02X}.{b0:02X}.{b4:02X}"))
}

/// The longest version that is read.
pub(super) const VERSION_CAP: usize = 32;
const DRIVER: u16 = 3;
const VBIOS: u16 = 6;
const FWID: u16 = 20;
const PROTECTED_PCIE: u16 = 21;
const SWITCHES: u16 = 22;
const VERSION: u16 = 34;
const FEATURE: u16 = 36;
const NEWEST: u16 = 1;
const LINKS: usize = 18;
const LINK: usize = 8;
const ENABLED: u8 = 0xaa;
const DISABLED: u8 = 0x55;
