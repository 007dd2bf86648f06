//! Names and numbers of the protocol, each its own type.
//!
//! Chapter 10. Ids are fixed-size; counters are u64; nothing here is secret.

use minicbor::{Decode, Encode};

/// Declares a fixed-size byte string newtype that is CBOR `bstr .size N`.
macro_rules! fixed_bytes {
    ($($(#[$doc:meta])* $name:ident [$size:literal];)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(n(0), with = "minicbor::bytes")] [u8; $size]);

        impl $name {
            pub const SIZE: usize = $size;

            pub const fn new(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                // Four bytes tell values apart in a log; nobody compares by eye.
                for byte in self.0.iter().take(4) {
                    write!(f, "{byte:02x}")?;
                }
                write!(f, "..)")
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    )*};
}
pub(crate) use fixed_bytes;

/// Declares an unsigned integer newtype that is CBOR `uint`.
macro_rules! number {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] $inner);

        impl $name {
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            pub const fn value(self) -> $inner {
                self.0
            }

            /// The number after this one; saturates, and no honest counter comes near.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )*};
}

fixed_bytes! {
    /// The deployment that operators, devices and custodians belong to.
    DeploymentId[16];
    /// A model, over all its versions.
    WeightsId[16];
    /// One sealed file.
    ContainerId[16];
    /// One dealing of shares of one DEK.
    ShareSetId[16];
    /// One lease of one custodian.
    LeaseId[16];
    /// Joins a peer's `refused` with the operator's log line.
    CorrelationId[16];
}

number! {
    /// A custodian of a manifest, 1 to 255.
    CustodianId(u8);
    /// The x coordinate of a share, 1 to 255.
    ShareIndex(u8);
    /// A monotone version of a model's weights.
    WeightsVersion(u64);
    /// A life of one custodian process over its store.
    Generation(u64);
    /// A custodian's own count of the orders that it applied.
    Epoch(u64);
    /// Orders of one subject by age.
    Serial(u64);
    /// The place of a leaf in a custodian's audit log.
    LogIndex(u64);
    /// The number of a renewal of one lease; the grant is 0.
    Counter(u64);
    /// Uses of a model under one lease and term; [`Budget::UNLIMITED`] is a pure lease.
    Budget(u64);
    /// The version of a policy.
    PolicyVersion(u64);
    /// A connection, named by the driver that holds it.
    ChannelId(u64);
    /// A try of a device to acquire a model.
    Attempt(u64);
    /// A question a machine put to its driver.
    Ticket(u64);
}

impl Budget {
    pub const UNLIMITED: Self = Self(u64::MAX);

    /// One use less; `None` when there is none left.
    pub const fn charged(self) -> Option<Self> {
        match self.0 {
            0 => None,
            u64::MAX => Some(self),
            left => Some(Self(left - 1)),
        }
    }

    /// So many uses less, zero where there were fewer; `None` when there was none left.
    pub const fn less(self, uses: u64) -> Option<Self> {
        match self.0 {
            0 => None,
            u64::MAX => Some(self),
            left => Some(Self(left.saturating_sub(uses))),
        }
    }
}
