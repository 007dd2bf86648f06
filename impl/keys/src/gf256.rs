//! Arithmetic in GF(256) with the AES polynomial, without tables or branches on values.
//!
//! Chapter 40. Every operation takes the same steps for every operand, so shares may be operands.

/// x^8 + x^4 + x^3 + x + 1 without its leading term.
const POLYNOMIAL: u8 = 0x1b;

/// The product of two elements.
#[must_use]
pub const fn mul(a: u8, b: u8) -> u8 {
    let mut product = 0;
    let mut a = a;
    let mut bit = 0;
    while bit < 8 {
        // A mask of all ones or all zeros instead of a branch on a secret bit.
        product ^= a & 0u8.wrapping_sub((b >> bit) & 1);
        let carry = 0u8.wrapping_sub(a >> 7);
        a = (a << 1) ^ (POLYNOMIAL & carry);
        bit += 1;
    }
    product
}

/// The inverse, as a^254; zero for zero.
#[must_use]
pub const fn inverse(a: u8) -> u8 {
    let mut power = a;
    let mut result = 1;
    let mut step = 0;
    // 254 is 0b1111_1110: the product of the powers 2, 4, …, 128.
    while step < 7 {
        power = mul(power, power);
        result = mul(result, power);
        step += 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schoolbook: multiply as polynomials, then divide by the polynomial.
    fn slow_mul(a: u8, b: u8) -> u8 {
        let mut wide = 0u16;
        for bit in 0..8 {
            if b & (1 << bit) != 0 {
                wide ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if wide & (1 << bit) != 0 {
                wide ^= 0x11b << (bit - 8);
            }
        }
        wide as u8
    }

    #[test]
    fn qrm_2_product_agrees_with_schoolbook_on_every_pair() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                assert_eq!(mul(a, b), slow_mul(a, b), "{a} * {b}");
            }
        }
    }

    #[test]
    fn qrm_2_every_element_but_zero_times_its_inverse_is_one() {
        assert_eq!(inverse(0), 0);
        assert!((1..=255u8).all(|a| mul(a, inverse(a)) == 1));
    }

    /// FIPS 197 section 4.2: {57} x {83} = {c1} and {57} x {13} = {fe}.
    #[test]
    fn qrm_2_product_agrees_with_fips_197() {
        assert_eq!(mul(0x57, 0x83), 0xc1);
        assert_eq!(mul(0x57, 0x13), 0xfe);
    }
}
