//! The slow truth of the P-256 suites: agreement, derivation and wrap, written to be read.
//!
//! Chapter 35. `vectors/hsm.json` is made here, and fast implementations and HSMs are compared with
//! it. Arithmetic is by shift and add, AES by its definition over GF(2^8). Nothing here is constant
//! in time, so nothing here may touch a secret that matters.

use sha2::{Digest as _, Sha256};

use crate::reference::{Hash, gf_inverse, gf_mul, kdf_input};

// ---------------------------------------------------------------------------------------------
// P-256 (FIPS 186-5; SEC 2): y^2 = x^3 - 3x + b over the field of p, group order n

/// A number below 2^256, big endian in 32-bit digits.
type Number = [u32; 8];

const P: Number = [0xffff_ffff, 1, 0, 0, 0, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff];
const B: Number = [
    0x5ac6_35d8,
    0xaa3a_93e7,
    0xb3eb_bd55,
    0x7698_86bc,
    0x651d_06b0,
    0xcc53_b0f6,
    0x3bce_3c3e,
    0x27d2_604b,
];
const GX: Number = [
    0x6b17_d1f2,
    0xe12c_4247,
    0xf8bc_e6e5,
    0x63a4_40f2,
    0x7703_7d81,
    0x2deb_33a0,
    0xf4a1_3945,
    0xd898_c296,
];
const GY: Number = [
    0x4fe3_42e2,
    0xfe1a_7f9b,
    0x8ee7_eb4a,
    0x7c0f_9e16,
    0x2bce_3357,
    0x6b31_5ece,
    0xcbb6_4068,
    0x37bf_51f5,
];

/// A point; the identity has no coordinates.
type Point = Option<(Number, Number)>;

/// The public point of a secret scalar, uncompressed.
pub fn public_key(scalar: &[u8; 32]) -> Option<[u8; 65]> {
    let (x, y) = times(number(scalar), Some((GX, GY)))?;
    let mut out = [4; 65];
    out[1..33].copy_from_slice(&octets(&x));
    out[33..].copy_from_slice(&octets(&y));
    Some(out)
}

/// Z: the x coordinate of scalar times point. `None` for a point that is not valid. [HSM-1]
pub fn agree(scalar: &[u8; 32], point: &[u8]) -> Option<[u8; 32]> {
    let (x, _) = times(number(scalar), Some(valid(point)?))?;
    Some(octets(&x))
}

/// The coordinates of an uncompressed point on the curve; the group has no cofactor.
fn valid(point: &[u8]) -> Option<(Number, Number)> {
    let coordinates = point.strip_prefix(&[4])?;
    let (x, y) = coordinates.split_at_checked(32)?;
    let (x, y) = (number(x.try_into().ok()?), number(y.try_into().ok()?));
    let cube = mul(mul(x, x), x);
    let right = add(sub(cube, add(add(x, x), x)), B);
    (x < P && y < P && mul(y, y) == right).then_some((x, y))
}

fn times(scalar: Number, point: Point) -> Point {
    let mut sum = None;
    for bit in 0..256 {
        sum = plus(sum, sum);
        if scalar[bit / 32] >> (31 - bit % 32) & 1 == 1 {
            sum = plus(sum, point);
        }
    }
    sum
}

fn plus(a: Point, b: Point) -> Point {
    let (Some((ax, ay)), Some((bx, by))) = (a, b) else { return a.or(b) };
    let slope = if ax != bx {
        mul(sub(by, ay), invert(sub(bx, ax)))
    } else if ay != by || ay == [0; 8] {
        return None;
    } else {
        let square = mul(ax, ax);
        let three = [0, 0, 0, 0, 0, 0, 0, 3];
        mul(sub(add(add(square, square), square), three), invert(add(ay, ay)))
    };
    let x = sub(sub(mul(slope, slope), ax), bx);
    Some((x, sub(mul(slope, sub(ax, x)), ay)))
}

fn number(octets: &[u8; 32]) -> Number {
    std::array::from_fn(|i| {
        octets[i * 4..i * 4 + 4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    })
}

fn octets(number: &Number) -> [u8; 32] {
    std::array::from_fn(|i| number[i / 4].to_be_bytes()[i % 4])
}

/// a + b, and what carries out.
fn carry(a: Number, b: Number) -> (Number, bool) {
    let (mut sum, mut over) = ([0; 8], 0u64);
    for i in (0..8).rev() {
        let digit = u64::from(a[i]) + u64::from(b[i]) + over;
        sum[i] = digit as u32;
        over = digit >> 32;
    }
    (sum, over == 1)
}

/// a - b for a ≥ b, or modulo 2^256.
fn less(a: Number, b: Number) -> Number {
    let (mut difference, mut borrow) = ([0; 8], 0i64);
    for i in (0..8).rev() {
        let digit = i64::from(a[i]) - i64::from(b[i]) - borrow;
        difference[i] = digit as u32;
        borrow = i64::from(digit < 0);
    }
    difference
}

fn add(a: Number, b: Number) -> Number {
    let (sum, over) = carry(a, b);
    if over || sum >= P { less(sum, P) } else { sum }
}

fn sub(a: Number, b: Number) -> Number {
    if a >= b { less(a, b) } else { add(a, less(P, b)) }
}

fn mul(a: Number, b: Number) -> Number {
    let mut product = [0; 8];
    for bit in 0..256 {
        product = add(product, product);
        if a[bit / 32] >> (31 - bit % 32) & 1 == 1 {
            product = add(product, b);
        }
    }
    product
}

/// By Fermat: a to the power of p - 2.
fn invert(a: Number) -> Number {
    let exponent = less(P, [0, 0, 0, 0, 0, 0, 0, 2]);
    let mut power = [0, 0, 0, 0, 0, 0, 0, 1];
    for bit in 0..256 {
        power = mul(power, power);
        if exponent[bit / 32] >> (31 - bit % 32) & 1 == 1 {
            power = mul(power, a);
        }
    }
    power
}

// ---------------------------------------------------------------------------------------------
// AES-256 (FIPS 197), forwards and backwards, a block at a time

type Block = [u8; 16];

pub fn aes_encrypt(key: &[u8; 32], block: Block) -> Block {
    let keys = round_keys(key);
    let mut state = xor(block, keys[0]);
    for (round, key) in keys.iter().enumerate().skip(1) {
        state = shift_rows(state.map(substitute), 1);
        if round < 14 {
            state = mix(state, [2, 3, 1, 1]);
        }
        state = xor(state, *key);
    }
    state
}

pub fn aes_decrypt(key: &[u8; 32], block: Block) -> Block {
    let keys = round_keys(key);
    let mut state = block;
    for (round, key) in keys.iter().enumerate().skip(1).rev() {
        state = xor(state, *key);
        if round < 14 {
            state = mix(state, [14, 11, 13, 9]);
        }
        let unsubstitute = |byte| (0..=255).find(|b| substitute(*b) == byte).expect("a bijection");
        state = shift_rows(state, 3).map(unsubstitute);
    }
    xor(state, keys[0])
}

fn round_keys(key: &[u8; 32]) -> [Block; 15] {
    let mut words: Vec<[u8; 4]> = key.chunks(4).map(|w| w.try_into().expect("four")).collect();
    let mut constant = 1;
    for i in 8..60 {
        let mut word = words[i - 1];
        if i % 8 == 0 {
            word.rotate_left(1);
            word = word.map(substitute);
            word[0] ^= constant;
            constant = gf_mul(constant, 2);
        } else if i % 8 == 4 {
            word = word.map(substitute);
        }
        words.push(std::array::from_fn(|j| word[j] ^ words[i - 8][j]));
    }
    std::array::from_fn(|round| std::array::from_fn(|i| words[round * 4 + i / 4][i % 4]))
}

fn substitute(byte: u8) -> u8 {
    let b = gf_inverse(byte).unwrap_or(0);
    (1..5).fold(b, |sum, turn| sum ^ b.rotate_left(turn)) ^ 0x63
}

/// Row r moves by r columns, times `turns`; the state is by columns.
fn shift_rows(state: Block, turns: usize) -> Block {
    std::array::from_fn(|i| state[(i + 4 * turns * (i % 4)) % 16])
}

fn mix(state: Block, row: [u8; 4]) -> Block {
    std::array::from_fn(|i| {
        let column = &state[i / 4 * 4..i / 4 * 4 + 4];
        (0..4).fold(0, |sum, j| sum ^ gf_mul(column[j], row[(j + 4 - i % 4) % 4]))
    })
}

fn xor(a: Block, b: Block) -> Block {
    std::array::from_fn(|i| a[i] ^ b[i])
}

// ---------------------------------------------------------------------------------------------
// Derivation and wrap

/// X9.63 with SHA-256, one block: SHA-256(Z || 00000001 || shared info).
pub fn x963(z: &[u8; 32], info: &Hash) -> [u8; 32] {
    Sha256::new().chain_update(z).chain_update([0, 0, 0, 1]).chain_update(info).finalize().into()
}

/// AES-256-CBC under Z with a zero vector, of the 32 bytes of `info`. For development only.
pub fn cbc_derive(z: &[u8; 32], info: &Hash) -> [u8; 32] {
    let (first, second) = (&info[..16], &info[16..]);
    let first = aes_encrypt(z, first.try_into().expect("sixteen"));
    let second = aes_encrypt(z, xor(second.try_into().expect("sixteen"), first));
    std::array::from_fn(|i| if i < 16 { first[i] } else { second[i - 16] })
}

/// The first eight bytes of what is wrapped: KW (RFC 3394), or KWP (RFC 5649) of 32 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrap {
    Kw,
    Kwp,
}

impl Wrap {
    const fn head(self) -> [u8; 8] {
        match self {
            Self::Kw => [0xa6; 8],
            Self::Kwp => [0xa6, 0x59, 0x59, 0xa6, 0, 0, 0, 32],
        }
    }
}

/// Wraps 32 bytes into 40.
pub fn wrap(key: &[u8; 32], how: Wrap, secret: &[u8; 32]) -> [u8; 40] {
    let mut out = [0; 40];
    out[..8].copy_from_slice(&how.head());
    out[8..].copy_from_slice(secret);
    for step in 1..=24u64 {
        let place = ((step as usize - 1) % 4 + 1) * 8;
        let mut block = [0; 16];
        block[..8].copy_from_slice(&out[..8]);
        block[8..].copy_from_slice(&out[place..place + 8]);
        let block = aes_encrypt(key, block);
        let head = u64::from_be_bytes(block[..8].try_into().expect("eight")) ^ step;
        out[..8].copy_from_slice(&head.to_be_bytes());
        out[place..place + 8].copy_from_slice(&block[8..]);
    }
    out
}

/// Unwraps; `None` when the head is not the one that was wrapped.
pub fn unwrap(key: &[u8; 32], how: Wrap, wrapped: &[u8; 40]) -> Option<[u8; 32]> {
    let mut out = *wrapped;
    for step in (1..=24u64).rev() {
        let place = ((step as usize - 1) % 4 + 1) * 8;
        let head = u64::from_be_bytes(out[..8].try_into().expect("eight")) ^ step;
        let mut block = [0; 16];
        block[..8].copy_from_slice(&head.to_be_bytes());
        block[8..].copy_from_slice(&out[place..place + 8]);
        let block = aes_decrypt(key, block);
        out[..8].copy_from_slice(&block[..8]);
        out[place..place + 8].copy_from_slice(&block[8..]);
    }
    (out[..8] == how.head()).then(|| out[8..].try_into().expect("thirty-two"))
}

/// The key that wraps a share in one of the three suites; `None` for another suite or a bad point.
pub fn wrapping_key(
    suite: u16,
    ours: &[u8; 32],
    theirs: &[u8],
    context: &Hash,
    sender: &[u8; 65],
    receiver: &[u8; 65],
) -> Option<[u8; 32]> {
    let z = agree(ours, theirs)?;
    let info = kdf_input(context, sender, receiver);
    match suite {
        1 | 2 => Some(x963(&z, &info)),
        3 => Some(cbc_derive(&z, &info)),
        _ => None,
    }
}

/// A share sealed to a device key: HSM key, then the wrapped share. [HSM-2]
pub fn seal(
    suite: u16,
    ephemeral: &[u8; 32],
    to: &[u8; 65],
    context: &Hash,
    share: &[u8; 32],
) -> Option<Vec<u8>> {
    let sender = public_key(ephemeral)?;
    let key = wrapping_key(suite, ephemeral, to, context, &sender, to)?;
    let how = if suite == 2 { Wrap::Kwp } else { Wrap::Kw };
    Some([&sender[..], &wrap(&key, how, share)].concat())
}

/// A share sealed to an HSM by the owner: the suite, then the same. [HSM-5]
pub fn seal_provision(
    suite: u16,
    ephemeral: &[u8; 32],
    kek: &[u8; 65],
    context: &Hash,
    share: &[u8; 32],
) -> Option<Vec<u8>> {
    Some([&suite.to_be_bytes()[..], &seal(suite, ephemeral, kek, context, share)?].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> [u8; 32] {
        std::array::from_fn(|i| i as u8)
    }

    #[test]
    fn hsm_2_reference_agrees_with_the_standards() {
        // FIPS 197, appendix C.3.
        let block = std::array::from_fn(|i| (i * 0x11) as u8);
        let expected = 0x8ea2_b7ca_5167_45bf_eafc_4990_4b49_6089_u128.to_be_bytes();
        assert_eq!(aes_encrypt(&key(), block), expected);
        assert_eq!(aes_decrypt(&key(), expected), block);
        // RFC 3394, section 4.6.
        let data = std::array::from_fn(|i| if i < 16 { (i * 0x11) as u8 } else { i as u8 - 16 });
        let wrapped = wrap(&key(), Wrap::Kw, &data);
        let expected = [
            0x28c9_f404_c4b8_10f4_u64,
            0xcbcc_b35c_fb87_f826,
            0x3f57_86e2_d80e_d326,
            0xcbc7_f0e7_1a99_f43b,
            0xfb98_8b9b_7a02_dd21,
        ];
        assert_eq!(wrapped[..], expected.map(u64::to_be_bytes).concat());
        assert_eq!(unwrap(&key(), Wrap::Kw, &wrapped), Some(data));
        assert_eq!(unwrap(&key(), Wrap::Kwp, &wrapped), None);
    }

    #[test]
    fn hsm_1_points_off_the_curve_agree_on_nothing() {
        let mut point = public_key(&[7; 32]).expect("a scalar in range");
        assert!(agree(&[9; 32], &point).is_some());
        point[64] ^= 1;
        assert!(agree(&[9; 32], &point).is_none());
        assert!(agree(&[9; 32], &[0; 65]).is_none());
        assert!(agree(&[9; 32], &point[..64]).is_none());
    }
}
