//! Shamir's secret sharing over GF(256), byte by byte: the dealer's split and the combination.
//!
//! Chapter 40. k shares with distinct indices give the secret back; k−1 say nothing about it. It
//! does not know whether shares are right: commitments decide that. [QRM-2] [QRM-3]

use zeroize::Zeroizing;

use crate::error::DealError;
use crate::gf256;

/// A secret or a share of one.
pub type Secret = Zeroizing<[u8; 32]>;

/// Splits `secret` so that any `k` of the shares at `indices` give it back. [QRM-7]
pub fn split(secret: &[u8; 32], k: u8, indices: &[u8]) -> Result<Vec<Secret>, DealError> {
    let n = indices.len();
    if k == 0 || usize::from(k) > n || n > 255 {
        return Err(DealError::ParametersInvalid { k: usize::from(k), n });
    }
    check_indices(indices.iter().copied())?;
    // One polynomial per byte: the secret is the constant term, the rest is random.
    let mut coefficients: Vec<Secret> = vec![Zeroizing::new(*secret)];
    for _ in 1..k {
        let mut random: Secret = Zeroizing::new([0; 32]);
        crate::memory::fill_random(&mut random[..]);
        coefficients.push(random);
    }
    Ok(indices.iter().map(|index| evaluate(&coefficients, *index)).collect())
}

/// The secret at zero of the polynomials through `shares`. [QRM-4]
pub fn combine(shares: &[(u8, &[u8; 32])]) -> Result<Secret, DealError> {
    if shares.is_empty() || shares.len() > 255 {
        return Err(DealError::ParametersInvalid { k: shares.len(), n: shares.len() });
    }
    check_indices(shares.iter().map(|(index, _)| *index))?;
    let mut secret: Secret = Zeroizing::new([0; 32]);
    for (index, share) in shares {
        let weight = weight_at_zero(*index, shares.iter().map(|(other, _)| *other));
        for (out, byte) in secret.iter_mut().zip(share.iter()) {
            *out ^= gf256::mul(weight, *byte);
        }
    }
    Ok(secret)
}

/// Indices are public, so this may branch on them.
fn check_indices(indices: impl Iterator<Item = u8>) -> Result<(), DealError> {
    let mut seen = [false; 256];
    for index in indices {
        if index == 0 || std::mem::replace(&mut seen[usize::from(index)], true) {
            return Err(DealError::IndexInvalid(index));
        }
    }
    Ok(())
}

/// Horner's rule in every byte.
fn evaluate(coefficients: &[Secret], x: u8) -> Secret {
    let mut value: Secret = Zeroizing::new([0; 32]);
    for coefficient in coefficients.iter().rev() {
        for (out, byte) in value.iter_mut().zip(coefficient.iter()) {
            *out = gf256::mul(*out, x) ^ byte;
        }
    }
    value
}

/// Lagrange's weight of `index` at zero: the product of other / (other − index).
fn weight_at_zero(index: u8, indices: impl Iterator<Item = u8>) -> u8 {
    indices.filter(|other| *other != index).fold(1, |weight, other| {
        gf256::mul(weight, gf256::mul(other, gf256::inverse(other ^ index)))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pick<'a>(shares: &'a [Secret], which: &[usize]) -> Vec<(u8, &'a [u8; 32])> {
        which.iter().map(|i| (*i as u8 + 1, &*shares[*i])).collect()
    }

    #[test]
    fn qrm_4_every_pair_of_two_of_three_gives_the_secret() {
        let shares = split(&[0x5a; 32], 2, &[1, 2, 3]).unwrap();
        assert_eq!(*combine(&pick(&shares, &[0, 1])).unwrap(), [0x5a; 32]);
        assert_eq!(*combine(&pick(&shares, &[0, 2])).unwrap(), [0x5a; 32]);
        assert_eq!(*combine(&pick(&shares, &[2, 1])).unwrap(), [0x5a; 32]);
    }

    #[test]
    fn qrm_4_shares_of_two_dealings_do_not_give_the_secret() {
        let one = split(&[0x5a; 32], 2, &[1, 2, 3]).unwrap();
        let other = split(&[0x5a; 32], 2, &[1, 2, 3]).unwrap();
        let mixed = combine(&[(1, &*one[0]), (2, &*other[1])]).unwrap();
        assert_ne!(*mixed, [0x5a; 32]);
    }

    #[test]
    fn qrm_4_one_share_fewer_is_consistent_with_every_secret() {
        let shares = split(&[0x5a; 32], 2, &[1, 2]).unwrap();
        // For any secret there is a second share that leads to it: one share decides nothing.
        for secret in 0..=255u8 {
            let slope = gf256::mul(shares[0][0] ^ secret, gf256::inverse(1));
            let second = secret ^ gf256::mul(slope, 2);
            let combined = combine(&[(1, &*shares[0]), (2, &[second; 32])]).unwrap();
            assert_eq!(combined[0], secret);
        }
    }

    #[test]
    fn qrm_7_bad_parameters_are_refused() {
        let zero_k = split(&[0; 32], 0, &[1]);
        assert_eq!(zero_k, Err(DealError::ParametersInvalid { k: 0, n: 1 }));
        let k_above_n = split(&[0; 32], 3, &[1, 2]);
        assert_eq!(k_above_n, Err(DealError::ParametersInvalid { k: 3, n: 2 }));
        assert_eq!(split(&[0; 32], 1, &[1, 0]), Err(DealError::IndexInvalid(0)));
        assert_eq!(split(&[0; 32], 1, &[7, 7]), Err(DealError::IndexInvalid(7)));
    }

    #[test]
    fn qrm_7_no_shares_zero_and_repeated_indices_do_not_combine() {
        assert_eq!(combine(&[]), Err(DealError::ParametersInvalid { k: 0, n: 0 }));
        assert_eq!(combine(&[(0, &[1; 32])]), Err(DealError::IndexInvalid(0)));
        let repeated = combine(&[(4, &[1; 32]), (4, &[2; 32])]);
        assert_eq!(repeated, Err(DealError::IndexInvalid(4)));
    }

    proptest! {
        #[test]
        fn qrm_4_any_k_of_n_give_the_secret(
            secret: [u8; 32],
            (n, k, seed) in (1u8..=255).prop_flat_map(|n| (Just(n), 1..=n, any::<u64>())),
        ) {
            let indices: Vec<u8> = (1..=n).collect();
            let shares = split(&secret, k, &indices).unwrap();
            // A stride prime to 2^8 walks over distinct places in an order that depends on seed.
            let start = seed as usize % usize::from(n);
            let chosen: Vec<_> = (0..usize::from(k))
                .map(|i| (start + i) % usize::from(n))
                .map(|i| (indices[i], &*shares[i]))
                .collect();
            prop_assert_eq!(*combine(&chosen).unwrap(), secret);
        }
    }
}
