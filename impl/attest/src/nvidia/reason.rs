//! Why Evidence is rejected: one stable code for each rule, and what an operator can do about it.

use std::fmt;

/// One rule that did not hold, and where.
///
/// For the operator's log and screen. A peer hears `Refused` and nothing else. [HS-21]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Finding {
    pub reason: Reason,
    pub place: Place,
}

/// Where a rule did not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    Whole,
    /// A certificate of a chain, counted from the leaf, which is 0.
    Certificate(u8),
    /// A measurement, by the index that reference values use.
    Measurement(u8),
    /// A field of the report's opaque data, by its type.
    Field(u16),
    /// A RIM, by its place among those that were given.
    Rim(u8),
    RimCertificate(u8, u8),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Certificate(n) => write!(f, "certificate {n}"),
            Self::Measurement(n) => write!(f, "measurement {n}"),
            Self::Field(n) => write!(f, "opaque field {n}"),
            Self::Rim(n) => write!(f, "RIM {}", n.saturating_add(1)),
            Self::RimCertificate(n, c) => {
                write!(f, "RIM {}, certificate {c}", n.saturating_add(1))
            }
        }
    }
}

impl Finding {
    pub const fn whole(reason: Reason) -> Self {
        Self { reason, place: Place::Whole }
    }

    pub const fn at(reason: Reason, place: Place) -> Self {
        Self { reason, place }
    }
}

impl From<Reason> for Finding {
    fn from(reason: Reason) -> Self {
        Self::whole(reason)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place != Place::Whole {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(self.reason.text())
    }
}

impl std::error::Error for Finding {}

macro_rules! reasons {
    ($($name:ident $code:literal $text:literal $advice:literal;)*) => {
        /// A rule that did not hold.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            /// Every reason, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A stable name for logs, counters and JSON.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// What did not hold, in words.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What an operator can do about it.
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$name => $advice,)*
                }
            }
        }
    };
}

reasons! {
    ReportTooLong "report-too-long"
        "the report is longer than 8192 bytes"
        "this is no report of a GPU driver; collect it again";
    ReportTruncated "report-truncated"
        "the report ends before its lengths say"
        "the file was cut; collect it again";
    ReportTrailing "report-trailing-bytes"
        "bytes follow the report's signature"
        "the file was changed; collect it again";
    ReportVersion "report-not-spdm-1-1"
        "request or response is not SPDM 1.1"
        "newer GPUs speak SPDM 1.2 or later, which is not appraised; nothing can be waived";
    ReportRequest "report-request-malformed"
        "the request is not the one that asks for all signed measurements"
        "collect the report with this version's collector";
    ReportResponse "report-response-malformed"
        "the response is not a measurements response"
        "collect it again; if it stays, the driver is not one that we know";
    ReportNotGpu "report-not-a-gpu"
        "the report does not carry the 64 measurements of a GPU"
        "reports of switches and other parts are not Evidence of a GPU";
    ReportBlock "report-block-malformed"
        "a measurement block is not a DMTF digest of 48 bytes in its place"
        "collect it again; if it stays, the driver is not one that we know";
    OpaqueTruncated "opaque-truncated"
        "a field of the opaque data is longer than what is left"
        "the file was changed; collect it again";
    OpaqueDuplicate "opaque-duplicate"
        "a field of the opaque data occurs twice"
        "this is hostile or a driver's defect; do not use this GPU before you know which";
    OpaqueMalformed "opaque-field-malformed"
        "a field of the opaque data has a length or value that it cannot have"
        "collect it again; if it stays, the driver is not one that we know";
    OpaqueAbsent "opaque-field-absent"
        "a field that every GPU report carries is absent"
        "collect it again; if it stays, the driver is not one that we know";
    OpaqueVersion "opaque-version-unknown"
        "the opaque data has a version that we do not know"
        "this driver is newer than this appraiser; update the appraiser, not the policy";
    NonceDiffers "nonce-differs"
        "the report answers another nonce"
        "the report is old or of another session; collect one with this nonce";
    ChainTooLong "chain-too-long"
        "the certificate chain is longer than 5120 bytes"
        "this is no chain of a GPU driver; collect it again";
    ChainMalformed "chain-malformed"
        "the chain is not PEM certificates in their one DER encoding"
        "collect it again; do not edit it";
    ChainLength "chain-length"
        "the chain does not have exactly five certificates"
        "send the whole attestation chain, leaf first and root last";
    ChainRoot "chain-root-differs"
        "the chain's root is not the pinned NVIDIA device root"
        "this is no NVIDIA device, or a chain of another kind";
    ChainAlgorithm "chain-algorithm"
        "a certificate is not ECDSA P-384 with SHA-384"
        "this is no chain of an NVIDIA device";
    ChainExtension "chain-extension"
        "a certificate has a duplicate, malformed or unknown critical extension"
        "this is no chain of an NVIDIA device that we know";
    ChainRole "chain-role"
        "a certificate may not stand at its place in the chain"
        "certificates are missing, exchanged or of another kind; collect the chain again";
    ChainIssuer "chain-issuer-differs"
        "a certificate names another issuer than the one above it"
        "certificates are missing or exchanged; send the whole chain in its order";
    ChainSignature "chain-signature-invalid"
        "a certificate is not signed by the one above it"
        "the chain was changed or mixed; collect it again";
    ChainValidity "chain-not-valid-at"
        "a certificate of the device is not valid at the time of appraisal"
        "device chains do not expire: the time that was given is wrong";
    ChainNotGpu "chain-not-a-gpu"
        "the chain is not of a GPU whose kind we know"
        "switches are not GPUs; newer GPUs need a newer appraiser";
    ChainDeviceId "chain-device-id-malformed"
        "the leaf does not name its device"
        "this is no chain of an NVIDIA device that we know";
    ReportSignature "report-signature-invalid"
        "the report is not signed by the chain's attestation key"
        "report and chain are of two GPUs or two boots, or the report was changed; collect both again";
    FwidAbsent "fwid-absent"
        "report or leaf carries no firmware id, which drivers from 550 on always do"
        "the field was left out to hide other firmware; do not use this GPU";
    FwidMalformed "fwid-malformed"
        "the firmware id in the leaf is malformed, of another device key, or of insecure firmware"
        "this is no chain of an NVIDIA device that we know";
    FwidDiffers "fwid-differs"
        "the report's firmware id is not the one that the leaf was issued for"
        "the chain is of another firmware: collect report and chain in one boot";
    ModeContradictory "mode-contradictory"
        "protected PCIe, feature flag and switches do not name one mode"
        "set the GPU to one mode and reset it; the mode takes effect after a reset";
    ModeNotAdmitted "mode-not-admitted"
        "the mode of the GPU is not admitted"
        "admit the mode in the policy, or set the GPU to single-GPU confidential computing";
    PolicyMalformed "policy-malformed"
        "the policy is not a policy in its one encoding"
        "make it with `custody attest policy sign`";
    PolicySignature "policy-signature-invalid"
        "the policy is not signed by the owner"
        "use the owner's public key; a policy signed by anyone else does not count";
    PolicyNotNow "policy-not-valid-at"
        "the policy is not valid at the time of appraisal"
        "have the owner sign a policy for this time";
    RevocationsAbsent "revocations-absent"
        "no revocation snapshot was given"
        "fetch the owner's newest snapshot; without one nothing is accepted";
    RevocationsMalformed "revocations-malformed"
        "the revocation snapshot is not one in its one encoding"
        "make it with `custody attest policy sign`";
    RevocationsSignature "revocations-signature-invalid"
        "the revocation snapshot is not signed by the owner"
        "use the owner's snapshot";
    RevocationsStale "revocations-stale"
        "the revocation snapshot is not valid at the time of appraisal"
        "fetch the owner's newest snapshot, and check the clock";
    RevocationsOld "revocations-below-floor"
        "the revocation snapshot is older than the policy allows"
        "fetch the owner's newest snapshot";
    CertificateRevoked "certificate-revoked"
        "a certificate of the chain is revoked"
        "take the GPU out of use, or use another RIM, and ask the owner";
    ChipNotListed "chip-not-listed"
        "the kind of GPU is not in the policy"
        "add the chip to the policy, or use another GPU";
    DeviceNotListed "device-not-listed"
        "the GPU is not in the policy's list of devices"
        "enrol the GPU: add its device name to the policy";
    DriverNotListed "driver-not-listed"
        "the driver version is not in the policy"
        "install a listed driver, or add this one with its RIM";
    DriverBelowFloor "driver-below-floor"
        "the driver version is below the policy's floor"
        "update the driver: the floor keeps known flaws from coming back";
    VbiosNotListed "vbios-not-listed"
        "the VBIOS version is not in the policy"
        "flash a listed VBIOS, or add this one with its RIM";
    VbiosBelowFloor "vbios-below-floor"
        "the VBIOS version is below the policy's floor"
        "update the VBIOS: the floor keeps known flaws from coming back";
    DriverRimAbsent "driver-rim-absent"
        "no verified RIM is for the reported driver version"
        "fetch the driver's RIM from the vendor; without it no measurement can be compared";
    VbiosRimAbsent "vbios-rim-absent"
        "no verified RIM is for the reported VBIOS version"
        "fetch the VBIOS' RIM from the vendor; without it no measurement can be compared";
    RimTwice "rim-twice"
        "two RIMs are for one part"
        "give one driver RIM and one VBIOS RIM";
    RimForeign "rim-of-another-version"
        "a RIM is for neither the reported driver nor the reported VBIOS"
        "fetch the RIMs of the reported versions";
    RimTooLong "rim-too-long"
        "the RIM is longer than 65536 bytes"
        "this is no RIM of a GPU";
    RimMalformed "rim-malformed"
        "the RIM is not XML of the profile that is read"
        "use the vendor's file as it is; do not format or edit it";
    RimSignatureShape "rim-signature-malformed"
        "the RIM's signature is not one enveloped signature of the profile that is read"
        "use the vendor's file as it is; a moved or wrapped signature is an attack";
    RimDigest "rim-digest-differs"
        "the RIM was changed after it was signed"
        "use the vendor's file as it is";
    RimSignature "rim-signature-invalid"
        "the RIM's signature does not verify under its signer"
        "use the vendor's file as it is";
    RimChainLength "rim-chain-length"
        "the RIM's chain does not have exactly four certificates"
        "use the vendor's file as it is";
    RimChain "rim-chain-invalid"
        "the RIM's chain does not lead to the pinned NVIDIA RIM root"
        "use the vendor's file as it is";
    RimExpired "rim-not-valid-at"
        "a certificate of the RIM is not valid at the time of appraisal"
        "fetch the vendor's reissued RIM, or have the owner vouch for this one: `rims_as_of`";
    RimContent "rim-content-malformed"
        "what the RIM's signature covers is not a list of reference values"
        "this is no RIM of a GPU that we know";
    RimProduct "rim-product-differs"
        "the RIM is for another product"
        "use a RIM of this GPU's chip";
    RimNotPinned "rim-not-pinned"
        "the policy does not pin this RIM"
        "several signed RIMs exist for one version: pin the one that the owner chose";
    MeasurementTwice "measurement-in-both-rims"
        "driver and VBIOS RIM both give a reference value"
        "the two RIMs do not belong together; fetch both again";
    MeasurementNone "measurement-none-active"
        "a RIM gives no active reference value"
        "this RIM admits anything; fetch it again";
    MeasurementDiffers "measurement-differs"
        "the measured value is none of the reference values"
        "index 9 alone: the RIM is stale, fetch the reissued one, or stop and start the VM. Others: \
         firmware was changed, or the GPU is in devtools mode. Never waive it";
    SetSize "set-size"
        "the set does not have as many GPUs as it must"
        "send Evidence of every GPU of the machine, and of no other";
    SetDuplicate "set-device-twice"
        "one GPU stands twice in the set"
        "collect from every GPU once";
    SetNonce "set-nonce-differs"
        "the GPUs of the set answer different nonces"
        "collect the whole set with one nonce";
    SetMode "set-mode-differs"
        "the GPUs of the set are in different modes"
        "set all GPUs to one mode and reset them";
    SetSwitches "set-switches-differ"
        "the GPUs of the set do not see the same four switches"
        "the set is of two machines, or a link is down";
    EvidenceMalformed "evidence-malformed"
        "the Evidence is not a set of reports and chains in its one encoding"
        "collect it again";
    TokenMalformed "cpu-token-malformed"
        "the CPU token is not an attestation token of our profile in its one encoding"
        "the CPU verifier must follow the profile in `docs/evidence.md`";
    TokenSignature "cpu-token-signature-invalid"
        "no issuer that the policy names signed the CPU token"
        "add the CPU verifier's key to the policy, or use one that is in it";
    TokenNotNow "cpu-token-not-valid-at"
        "the CPU token is not valid at the time of appraisal"
        "ask for a fresh token, and check the clocks";
    TokenDebug "cpu-token-debug"
        "the CPU token does not say that debugging is disabled"
        "start the confidential VM without debugging";
    TokenMeasurement "cpu-measurement-not-listed"
        "a measurement of the CPU token is not in the policy"
        "start a measured image that the policy lists";
    TokenProof "cpu-proof-invalid"
        "the key that the CPU token confirms did not sign the report data"
        "the token was taken from elsewhere; collect the Evidence again";
}
