//! Who verifies ECDSA over P-384 with SHA-384.

use split_custody_protocol::suite::BadSignature;

/// A library for P-384; both accept and refuse the same, one is faster.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Provider {
    #[default]
    Ring,
    #[cfg(feature = "aws-lc-rs")]
    AwsLc,
}

/// The signature of certificates, as DER, and the one of reports and RIMs, as `r || s`.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Asn1,
    Fixed,
}

impl Provider {
    /// Every provider of this build.
    pub const ALL: &[Self] = &[
        Self::Ring,
        #[cfg(feature = "aws-lc-rs")]
        Self::AwsLc,
    ];

    /// The fastest of this build.
    pub const fn fastest() -> Self {
        #[cfg(feature = "aws-lc-rs")]
        return Self::AwsLc;
        #[cfg(not(feature = "aws-lc-rs"))]
        Self::Ring
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => "aws-lc-rs",
        }
    }

    /// Verifies under an uncompressed point; the library checks that it lies on the curve.
    pub fn verify(
        self,
        form: Form,
        point: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        match self {
            Self::Ring => {
                use ring::signature::{
                    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey,
                };
                let algorithm: &dyn ring::signature::VerificationAlgorithm = match form {
                    Form::Asn1 => &ECDSA_P384_SHA384_ASN1,
                    Form::Fixed => &ECDSA_P384_SHA384_FIXED,
                };
                UnparsedPublicKey::new(algorithm, point)
                    .verify(message, signature)
                    .map_err(|_| BadSignature)
            }
            #[cfg(feature = "aws-lc-rs")]
            Self::AwsLc => {
                use aws_lc_rs::signature::{
                    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey,
                };
                let algorithm = match form {
                    Form::Asn1 => &ECDSA_P384_SHA384_ASN1,
                    Form::Fixed => &ECDSA_P384_SHA384_FIXED,
                };
                UnparsedPublicKey::new(algorithm, point)
                    .verify(message, signature)
                    .map_err(|_| BadSignature)
            }
        }
    }
}
