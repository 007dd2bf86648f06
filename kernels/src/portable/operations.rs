//! The portable backend's other operations: well-kept crates behind the same names.

use aes_kw::KekAes256;
use hpke::aead::{AeadTag, AesGcm256};
use hpke::kdf::HkdfSha256;
use hpke::kem::{DhP256HkdfSha256, X25519HkdfSha256};
use hpke::{Deserializable, OpModeR};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{PublicKey as P256Public, SecretKey as P256Secret};
use ring::{aead, digest, hkdf, hmac};
use x25519_dalek::{PublicKey as X25519Public, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::operations::{
    Aead, ENTROPY_SAMPLES_MIN, Hpke, Kdf, Kem, OperationError, Operations, Secret,
};
use crate::portable::Portable;

impl Operations for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn public_x25519(&self, secret: &[u8; 32]) -> Result<[u8; 32], OperationError> {
        Ok(X25519Public::from(&StaticSecret::from(*secret)).to_bytes())
    }

    fn agree_x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, OperationError> {
        let agreed = StaticSecret::from(*secret).diffie_hellman(&X25519Public::from(*peer));
        if agreed.was_contributory() {
            Ok(Zeroizing::new(agreed.to_bytes()))
        } else {
            Err(OperationError::KeyInvalid) // [HS-15]
        }
    }

    fn public_p256(&self, secret: &[u8; 32]) -> Result<[u8; 65], OperationError> {
        let point = p256_secret(secret)?.public_key().to_encoded_point(false);
        point.as_bytes().try_into().map_err(|_| OperationError::KeyInvalid)
    }

    fn agree_p256(&self, secret: &[u8; 32], peer: &[u8; 65]) -> Result<Secret, OperationError> {
        let peer = P256Public::from_sec1_bytes(peer).map_err(|_| OperationError::KeyInvalid)?;
        let secret = p256_secret(secret)?;
        let agreed = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), peer.as_affine());
        Ok(Zeroizing::new((*agreed.raw_secret_bytes()).into()))
    }

    fn hkdf_sha256(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError> {
        hkdf_with(hkdf::HKDF_SHA256, input, out)
    }

    fn hkdf_sha512(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError> {
        hkdf_with(hkdf::HKDF_SHA512, input, out)
    }

    fn x963_sha256(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError> {
        for (out, counter) in out.chunks_mut(32).zip(1u32..) {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(input.secret);
            context.update(&counter.to_be_bytes());
            context.update(input.info);
            out.copy_from_slice(&context.finish().as_ref()[..out.len()]);
        }
        Ok(())
    }

    fn unwrap_kw(
        &self,
        kek: &[u8; 32],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        if wrapped.len() < 24 || !wrapped.len().is_multiple_of(8) {
            return Err(OperationError::LengthWrong);
        }
        let opened = KekAes256::from(*kek).unwrap_vec(wrapped);
        opened.map(Zeroizing::new).map_err(|_| OperationError::WrapWrong)
    }

    fn unwrap_kwp(
        &self,
        kek: &[u8; 32],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        if wrapped.len() < 16 || !wrapped.len().is_multiple_of(8) {
            return Err(OperationError::LengthWrong);
        }
        let opened = KekAes256::from(*kek).unwrap_with_padding_vec(wrapped);
        opened.map(Zeroizing::new).map_err(|_| OperationError::WrapWrong)
    }

    fn open_aead(&self, message: &Aead<'_>) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        if message.sealed.len() < 16 {
            return Err(OperationError::LengthWrong);
        }
        let key = aead::UnboundKey::new(&aead::AES_256_GCM, message.key);
        let key = aead::LessSafeKey::new(key.map_err(|_| OperationError::KeyInvalid)?);
        let nonce = aead::Nonce::assume_unique_for_key(*message.nonce);
        let mut buffer = Zeroizing::new(message.sealed.to_vec());
        let opened = key.open_in_place(nonce, aead::Aad::from(message.aad), &mut buffer);
        let len = opened.map_err(|_| OperationError::TagWrong)?.len();
        buffer[len..].zeroize();
        buffer.truncate(len);
        Ok(buffer)
    }

    fn open_hpke(&self, message: &Hpke<'_>) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        match message.kem {
            Kem::P256 => hpke_with::<DhP256HkdfSha256>(message),
            Kem::X25519 => hpke_with::<X25519HkdfSha256>(message),
        }
    }

    fn combine_shares(&self, shares: &[(u8, [u8; 32])]) -> Result<Secret, OperationError> {
        let repeated = |at: usize| shares[..at].iter().any(|(other, _)| *other == shares[at].0);
        if shares.is_empty() || (0..shares.len()).any(|at| shares[at].0 == 0 || repeated(at)) {
            return Err(OperationError::IndexWrong);
        }
        let mut secret = Zeroizing::new([0; 32]);
        for (index, share) in shares {
            let others = shares.iter().map(|(other, _)| *other).filter(|other| other != index);
            let weight = others.fold(1, |weight, other| {
                gf256_mul(weight, gf256_mul(other, gf256_invert(other ^ index)))
            });
            secret.iter_mut().zip(share).for_each(|(out, byte)| *out ^= gf256_mul(weight, *byte));
        }
        Ok(secret)
    }

    fn hmac_sha256(
        &self,
        key: &[u8],
        prefix: &[u8],
        message: &[u8],
    ) -> Result<[u8; 32], OperationError> {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        context.update(prefix);
        context.update(message);
        context.sign().as_ref().try_into().map_err(|_| OperationError::LengthWrong)
    }

    fn condition_entropy(
        &self,
        samples: &[u32],
        seed: &[u8; 32],
    ) -> Result<Secret, OperationError> {
        check_samples(samples)?;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(ENTROPY_LABEL);
        context.update(seed);
        samples.iter().for_each(|sample| context.update(&sample.to_le_bytes()));
        let mut out = Zeroizing::new([0; 32]);
        out.copy_from_slice(context.finish().as_ref());
        Ok(out)
    }

    fn zeroize(&self, bytes: &mut [u8]) -> Result<(), OperationError> {
        bytes.zeroize();
        Ok(())
    }

    fn verify_zero(&self, bytes: &[u8]) -> Result<(), OperationError> {
        if bytes.iter().fold(0, |seen, byte| seen | byte) == 0 {
            Ok(())
        } else {
            Err(OperationError::NotZero)
        }
    }
}

fn p256_secret(secret: &[u8; 32]) -> Result<P256Secret, OperationError> {
    P256Secret::from_bytes(&(*secret).into()).map_err(|_| OperationError::KeyInvalid)
}

#[derive(Clone, Copy)]
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf_with(
    algorithm: hkdf::Algorithm,
    input: &Kdf<'_>,
    out: &mut [u8],
) -> Result<(), OperationError> {
    let prk = hkdf::Salt::new(algorithm, input.salt).extract(input.secret);
    let filled = prk.expand(&[input.info], Length(out.len())).and_then(|okm| okm.fill(out));
    filled.map_err(|_| OperationError::LengthWrong)
}

fn hpke_with<K: hpke::Kem>(message: &Hpke<'_>) -> Result<Zeroizing<Vec<u8>>, OperationError> {
    let body = message.sealed.len().checked_sub(16).ok_or(OperationError::LengthWrong)?;
    let (ciphertext, tag) = message.sealed.split_at(body);
    let invalid = |_| OperationError::KeyInvalid;
    let secret = K::PrivateKey::from_bytes(message.secret).map_err(invalid)?;
    let enc = K::EncappedKey::from_bytes(message.enc).map_err(invalid)?;
    let tag = AeadTag::<AesGcm256>::from_bytes(tag).map_err(|_| OperationError::LengthWrong)?;
    let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(
        &OpModeR::Base,
        &secret,
        &enc,
        message.info,
    )
    .map_err(invalid)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    context
        .open_in_place_detached(&mut buffer, message.aad, &tag)
        .map_err(|_| OperationError::TagWrong)?;
    Ok(buffer)
}

/// The health tests of SP 800-90B section 4.4 over the low bytes, at half a bit per sample.
fn check_samples(samples: &[u32]) -> Result<(), OperationError> {
    let low: Vec<u8> = samples.iter().map(|sample| *sample as u8).collect();
    if low.chunk_by(|one, next| one == next).any(|run| run.len() >= REPEATS) {
        return Err(OperationError::SourceStuck);
    }
    let share = |window: &[u8]| window.iter().filter(|byte| **byte == window[0]).count();
    if low.chunks(WINDOW).any(|window| share(window) >= SHARE) {
        return Err(OperationError::SourceBiased);
    }
    if low.len() < ENTROPY_SAMPLES_MIN {
        return Err(OperationError::TooFewSamples);
    }
    Ok(())
}

fn gf256_mul(a: u8, b: u8) -> u8 {
    let (mut a, mut product) = (a, 0);
    for bit in 0..8 {
        product ^= a & 0u8.wrapping_sub((b >> bit) & 1);
        a = (a << 1) ^ (0x1b & 0u8.wrapping_sub(a >> 7));
    }
    product
}

/// The 254th power: the product of the powers 2, 4, …, 128.
fn gf256_invert(a: u8) -> u8 {
    let step = |(power, result): (u8, u8), _| {
        let power = gf256_mul(power, power);
        (power, gf256_mul(result, power))
    };
    (0..7).fold((a, 1), step).1
}

const ENTROPY_LABEL: &[u8] = b"split-custody/v1/jitter\0";
const REPEATS: usize = 61;
const WINDOW: usize = 512;
const SHARE: usize = 422;
