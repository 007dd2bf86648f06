//! The context of a tensor: deterministic CBOR of all that its bytes must be bound to.
//!
//! Chapter 15. Two tensors with the same context are the same tensor of the same container. [SEAL-2]
//! It is written, never read.

use crate::ids::Ids;

/// What one tensor's message is bound to. [SEAL-2]
pub(crate) struct Context<'a> {
    pub ids: &'a Ids,
    pub index: u32,
    /// Number of tensors, tensor 0 included.
    pub count: u32,
    pub name: &'a str,
    pub dtype: &'a str,
    pub shape: &'a [u64],
    pub length: u64,
}

impl<'a> Context<'a> {
    /// The context of tensor 0, which no header describes. [SEAL-4]
    pub fn of_header(ids: &'a Ids, count: u32, length: u64) -> Self {
        Self { ids, index: 0, count, name: "header", dtype: "U8", shape: &[], length }
    }

    /// The bytes, shortest form throughout.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.name.len());
        head(&mut out, ARRAY, 10);
        text(&mut out, LABEL);
        bytes(&mut out, &self.ids.container);
        bytes(&mut out, &self.ids.weights);
        head(&mut out, UINT, self.ids.version);
        head(&mut out, UINT, self.index.into());
        head(&mut out, UINT, self.count.into());
        text(&mut out, self.name);
        text(&mut out, self.dtype);
        head(&mut out, ARRAY, self.shape.len() as u64);
        for dimension in self.shape {
            head(&mut out, UINT, *dimension);
        }
        head(&mut out, UINT, self.length);
        out
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A CBOR head: major type and argument in the shortest form (RFC 8949, section 4.2.1).
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let big = argument.to_be_bytes();
    let (info, skip) = match argument {
        0..=23 => return out.push(major << 5 | big[7]),
        24..=0xFF => (24, 7),
        0x100..=0xFFFF => (25, 6),
        0x1_0000..=0xFFFF_FFFF => (26, 4),
        _ => (27, 0),
    };
    out.push(major << 5 | info);
    out.extend_from_slice(&big[skip..]);
}

const LABEL: &str = "split-custody/v1/tensor";
const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::tests::{spec_vectors, unhex};

    #[test]
    fn seal_2_context_is_deterministic_cbor() {
        let ids = Ids { container: [1; 16], weights: [2; 16], version: 500 };
        let (shape, name) = ([3, 70_000, 1 << 32], "w");
        let context = Context {
            ids: &ids,
            index: 7,
            count: 24,
            name,
            dtype: "F32",
            shape: &shape,
            length: 255,
        };
        let mut expected = vec![0x8A, 0x77];
        expected.extend_from_slice(b"split-custody/v1/tensor\x50");
        expected.extend_from_slice(&[1; 16]);
        expected.push(0x50);
        expected.extend_from_slice(&[2; 16]);
        expected.extend_from_slice(b"\x19\x01\xF4\x07\x18\x18\x61w\x63F32");
        expected.extend_from_slice(b"\x83\x03\x1A\x00\x01\x11\x70\x1B\0\0\0\x01\0\0\0\0\x18\xFF");
        assert_eq!(context.encode(), expected);
    }

    #[test]
    fn seal_2_context_agrees_with_the_specification() {
        let contexts = spec_vectors().into_iter().filter(|c| c["expect"]["context"].is_string());
        let mut count = 0;
        for case in contexts {
            let (input, number) =
                (&case["input"], |v: &serde_json::Value| v.as_u64().expect("a number"));
            let id = |field: &str| unhex(&input[field]).try_into().expect("16 bytes");
            let (version, length) = (number(&input["version"]), number(&input["plaintext-length"]));
            let ids = Ids { container: id("container"), weights: id("weights"), version };
            let shape: Vec<u64> =
                input["shape"].as_array().expect("an array").iter().map(number).collect();
            let context = Context {
                ids: &ids,
                index: number(&input["index"]) as u32,
                count: number(&input["count"]) as u32,
                name: input["name"].as_str().expect("text"),
                dtype: input["dtype"].as_str().expect("text"),
                shape: &shape,
                length,
            };
            assert_eq!(context.encode(), unhex(&case["expect"]["context"]), "{}", case["name"]);
            let layout = split_custody_kernels::Layout::of_plaintext(length).expect("small");
            assert_eq!(layout.ciphertext_len(), number(&case["expect"]["sealed-length"]));
            count += 1;
        }
        assert!(count >= 5);
    }
}
