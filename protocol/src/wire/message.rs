//! Frames: a version, a type, a body. Chapter 10.

use alloc::vec::Vec;

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::error::DecodeError;
use crate::wire::challenge::Challenge;
use crate::wire::codec;
use crate::wire::evidence::Request;
use crate::wire::grant::{Grant, Refused};
use crate::wire::hello::Hello;
use crate::wire::lease::{Renew, Renewal};
use crate::wire::order::{Acknowledged, AwaitDead, Dead, Notice, Submit, Superseded};
use crate::wire::standing::{Activate, Activated, Provision, Provisioned, Query, Status};

/// Declares the registry of messages: number, name, type, cap of the frame in bytes.
macro_rules! messages {
    ($($number:literal $name:ident cap $cap:literal;)*) => {
        /// A message, decoded.
        #[derive(Clone, Debug, Eq, Hash, PartialEq)]
        pub enum Message { $($name($name),)* }

        /// A message's number in the registry.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum MessageType { $($name = $number,)* }

        impl MessageType {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The longest frame of this type in bytes. [WIRE-1]
            pub const fn cap(self) -> usize {
                match self { $(Self::$name => $cap,)* }
            }

            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            fn from_number(number: u16) -> Result<Self, DecodeError> {
                match number {
                    $($number => Ok(Self::$name),)*
                    _ => Err(DecodeError::UnknownType),
                }
            }
        }

        impl Message {
            pub const fn kind(&self) -> MessageType {
                match self { $(Self::$name(_) => MessageType::$name,)* }
            }

            fn encode_body(&self, encoder: &mut Encoder<&mut Vec<u8>>) {
                match self { $(Self::$name(body) => encoder.encode(body),)* }
                    // INVARIANT: writing to a `Vec` cannot fail.
                    .expect("a `Vec` takes all bytes");
            }

            fn decode_body(
                kind: MessageType,
                decoder: &mut Decoder<'_>,
            ) -> Result<Self, minicbor::decode::Error> {
                Ok(match kind { $(MessageType::$name => Self::$name(decoder.decode()?),)* })
            }
        }

        $(impl From<$name> for Message {
            fn from(body: $name) -> Self {
                Self::$name(body)
            }
        })*
    };
}

messages! {
    1 Hello cap 4096;
    2 Challenge cap 4096;
    3 Request cap 1_048_576;
    4 Grant cap 65_536;
    5 Refused cap 4096;
    6 Renew cap 4096;
    7 Renewal cap 4096;
    8 Submit cap 65_536;
    9 Acknowledged cap 65_536;
    10 AwaitDead cap 4096;
    11 Dead cap 65_536;
    12 Notice cap 65_536;
    13 Superseded cap 4096;
    14 Query cap 4096;
    15 Status cap 65_536;
    16 Activate cap 65_536;
    17 Activated cap 4096;
    18 Provision cap 1_048_576;
    19 Provisioned cap 4096;
}

impl Message {
    /// The longest frame of any type. [WIRE-1]
    pub const CAP: usize = 1_048_576;

    /// `[1, type, body]`, its one encoding.
    pub fn to_frame(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        encoder
            .array(3)
            .and_then(|e| e.u8(1))
            .and_then(|e| e.u16(self.kind() as u16))
            // INVARIANT: writing to a `Vec` cannot fail.
            .expect("a `Vec` takes all bytes");
        self.encode_body(&mut encoder);
        bytes
    }

    /// The message whose one frame is `bytes`.
    pub fn from_frame(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > Self::CAP {
            return Err(DecodeError::TooLong { length: bytes.len(), cap: Self::CAP });
        }
        codec::check_profile(bytes)?;
        let mut decoder = Decoder::new(bytes);
        let malformed = |_| DecodeError::Malformed;
        if decoder.array().map_err(malformed)? != Some(3) {
            return Err(DecodeError::Malformed);
        }
        if decoder.u64().map_err(malformed)? != 1 {
            return Err(DecodeError::UnknownVersion); // [WIRE-3]
        }
        let number = decoder.u16().map_err(malformed)?;
        let kind = MessageType::from_number(number)?;
        if bytes.len() > kind.cap() {
            return Err(DecodeError::TooLong { length: bytes.len(), cap: kind.cap() });
        }
        let message = Self::decode_body(kind, &mut decoder).map_err(malformed)?;
        // [WIRE-2] Trailing bytes and second encodings fall here.
        if message.to_frame() != bytes {
            return Err(DecodeError::NotCanonical);
        }
        Ok(message)
    }
}

/// A frame as it was received, beside what it says: transcripts absorb the bytes. [WIRE-6]
#[derive(Clone, Copy, Debug)]
pub struct Received<'a, T> {
    pub body: &'a T,
    pub frame: &'a [u8],
}

/// Encodes one object of this module's kind; see [`crate::wire::encode`].
pub fn frame_of(message: impl Into<Message>) -> Vec<u8> {
    message.into().to_frame()
}

/// Any type with both directions of the codec.
pub trait Wire: Encode<()> + for<'b> Decode<'b, ()> {}

impl<T: Encode<()> + for<'b> Decode<'b, ()>> Wire for T {}
