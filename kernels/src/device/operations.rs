//! The other operations on a device: arguments in, one launch, status and bytes out.

use zeroize::Zeroizing;

use crate::device::args::Args;
use crate::device::{DeviceBackend, DeviceError, Driver, Launch, sizes, status};
use crate::operations::{Aead, Hpke, Kdf, Kem, OperationError, Operations, Secret};

impl<D: Driver> Operations for DeviceBackend<D> {
    fn name(&self) -> &'static str {
        self.driver().name()
    }

    fn public_x25519(&self, secret: &[u8; 32]) -> Result<[u8; 32], OperationError> {
        self.agree(X25519, secret, None).map(|out: Zeroizing<[u8; 32]>| *out)
    }

    fn agree_x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, OperationError> {
        self.agree(X25519, secret, Some(peer))
    }

    fn public_p256(&self, secret: &[u8; 32]) -> Result<[u8; 65], OperationError> {
        self.agree(P256, secret, None).map(|out: Zeroizing<[u8; 65]>| *out)
    }

    fn agree_p256(&self, secret: &[u8; 32], peer: &[u8; 65]) -> Result<Secret, OperationError> {
        self.agree(P256, secret, Some(peer))
    }

    fn hkdf_sha256(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError> {
        self.kdf("sc_hkdf_sha256", sizes::HASH_SPACE_256, input, out)
    }

    fn hkdf_sha512(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError> {
        self.kdf("sc_hkdf_sha512", sizes::HASH_SPACE_512, input, out)
    }

    fn x963_sha256(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError> {
        self.kdf("sc_x963_sha256", sizes::HASH_SPACE_256, input, out)
    }

    fn unwrap_kw(
        &self,
        kek: &[u8; 32],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        self.unwrap_with("sc_unwrap_kw", kek, wrapped)
    }

    fn unwrap_kwp(
        &self,
        kek: &[u8; 32],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        self.unwrap_with("sc_unwrap_kwp", kek, wrapped)
    }

    fn open_aead(&self, message: &Aead<'_>) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        let body = message.sealed.len().checked_sub(16).ok_or(OperationError::LengthWrong)?;
        let (key, nonce) = (self.upload(message.key)?, self.upload(message.nonce)?);
        let (aad, sealed) = (self.upload(message.aad)?, self.upload(message.sealed)?);
        let (out, verdict) = (self.room(body)?, self.room(4)?);
        let mut args = Args::default();
        for memory in [&key, &nonce, &aad, &sealed, &out, &verdict] {
            args.long(self.at(memory));
        }
        args.long(message.aad.len() as u64).long(message.sealed.len() as u64);
        self.one("sc_open_aead", sizes::AEAD_SPACE, &args)?;
        self.verdict("sc_open_aead", &verdict)?;
        self.bytes(&out, body)
    }

    fn open_hpke(&self, message: &Hpke<'_>) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        let body = message.sealed.len().checked_sub(16).ok_or(OperationError::LengthWrong)?;
        let own = match message.kem {
            Kem::P256 => self.public_p256(message.secret)?.to_vec(),
            Kem::X25519 => self.public_x25519(message.secret)?.to_vec(),
        };
        if message.enc.len() != own.len() {
            return Err(OperationError::KeyInvalid);
        }
        let curve = if message.kem == Kem::P256 { P256 } else { X25519 };
        // The agreed secret stays in device memory between the two kernels.
        let (agreed, agreed_status) = self.agree_in_memory(curve, message.secret, message.enc)?;
        let (enc, own) = (self.upload(message.enc)?, self.upload(&own)?);
        let (info, aad) = (self.upload(message.info)?, self.upload(message.aad)?);
        let (sealed, out) = (self.upload(message.sealed)?, self.room(body)?);
        let verdict = self.room(4)?;
        let mut args = Args::default();
        let places = [&agreed, &agreed_status, &enc, &own, &info, &aad, &sealed, &out, &verdict];
        places.iter().for_each(|memory| {
            args.long(self.at(memory));
        });
        let lengths = [message.enc, message.info, message.aad, message.sealed].map(<[u8]>::len);
        lengths.iter().for_each(|length| {
            args.long(*length as u64);
        });
        args.word(message.kem.id().into()).word(0);
        self.one("sc_open_hpke", sizes::HPKE_SPACE, &args)?;
        self.verdict("sc_open_hpke", &verdict)?;
        self.bytes(&out, body)
    }

    fn combine_shares(&self, shares: &[(u8, [u8; 32])]) -> Result<Secret, OperationError> {
        if shares.len() > 255 {
            return Err(OperationError::IndexWrong);
        }
        let indices: Vec<u8> = shares.iter().map(|(index, _)| *index).collect();
        let bytes: Zeroizing<Vec<u8>> =
            Zeroizing::new(shares.iter().flat_map(|(_, share)| *share).collect());
        let (places, indices) = (self.upload(&bytes)?, self.upload(&indices)?);
        let (out, verdict) = (self.room(32)?, self.room(4)?);
        let mut args = Args::default();
        for memory in [&places, &indices, &out, &verdict] {
            args.long(self.at(memory));
        }
        args.word(shares.len() as u32).word(0);
        self.one("sc_combine_shares", 0, &args)?;
        self.verdict("sc_combine_shares", &verdict)?;
        self.array(&out)
    }

    fn hmac_sha256(
        &self,
        key: &[u8],
        prefix: &[u8],
        message: &[u8],
    ) -> Result<[u8; 32], OperationError> {
        let (key_at, prefix_at) = (self.upload(key)?, self.upload(prefix)?);
        let (message_at, out, verdict) = (self.upload(message)?, self.room(32)?, self.room(4)?);
        let mut job = Args::default();
        for memory in [&key_at, &prefix_at, &message_at, &out] {
            job.long(self.at(memory));
        }
        for length in [key.len(), prefix.len(), message.len()] {
            job.long(length as u64);
        }
        let job = self.upload(job.bytes())?;
        let mut args = Args::default();
        args.long(self.at(&job)).long(self.at(&verdict)).word(1).word(0);
        self.guard(&mut args);
        self.one("sc_hmac_sha256", sizes::HASH_SPACE_256, &args)?;
        self.verdict("sc_hmac_sha256", &verdict)?;
        self.array(&out).map(|out| *out)
    }

    fn condition_entropy(
        &self,
        samples: &[u32],
        seed: &[u8; 32],
    ) -> Result<Secret, OperationError> {
        let bytes: Zeroizing<Vec<u8>> =
            Zeroizing::new(samples.iter().flat_map(|sample| sample.to_le_bytes()).collect());
        let count = u32::try_from(samples.len()).map_err(|_| OperationError::LengthWrong)?;
        let (places, seed) = (self.upload(&bytes)?, self.upload(seed)?);
        let (out, verdict) = (self.room(32)?, self.room(4)?);
        let (longest, share) = (self.room(4)?, self.room(4)?);
        let mut args = Args::default();
        for memory in [&places, &seed, &out, &verdict, &longest, &share] {
            args.long(self.at(memory));
        }
        args.word(count).word(0);
        self.one("sc_condition_entropy", sizes::HASH_SPACE_256, &args)?;
        self.verdict("sc_condition_entropy", &verdict)?;
        self.array(&out)
    }

    fn zeroize(&self, bytes: &mut [u8]) -> Result<(), OperationError> {
        // One byte behind the first, so that neither end lies on a boundary.
        let shifted = [&[0xA5][..], bytes, &[0xA5]].concat();
        let memory = self.upload(&shifted)?;
        let mut args = Args::default();
        args.long(self.at(&memory) + 1).long(bytes.len() as u64);
        self.wide("sc_zeroize", 0, &args)?;
        let out = self.bytes(&memory, shifted.len())?;
        if (out.first(), out.last()) != (Some(&0xA5), Some(&0xA5)) {
            return Err(no_verdict("sc_zeroize", 0));
        }
        bytes.copy_from_slice(&out[1..out.len() - 1]);
        Ok(())
    }

    fn verify_zero(&self, bytes: &[u8]) -> Result<(), OperationError> {
        let shifted = [&[0xA5][..], bytes, &[0xA5]].concat();
        let memory = self.upload(&shifted)?;
        let blocks = self.driver().blocks() as usize;
        let verdicts = self.room(4 * blocks)?;
        let mut args = Args::default();
        args.long(self.at(&memory) + 1).long(self.at(&verdicts)).long(bytes.len() as u64);
        self.wide("sc_verify_zero", 1024, &args)?;
        let states = self.bytes(&verdicts, 4 * blocks)?;
        let mut states =
            states.chunks_exact(4).map(|s| u32::from_le_bytes([s[0], s[1], s[2], s[3]]));
        states.try_for_each(|state| judge("sc_verify_zero", state))
    }
}

/// A curve's kernel, its shared memory, and the length of its public keys.
#[derive(Clone, Copy)]
struct Curve {
    kernel: &'static str,
    shared: u32,
    public: usize,
}

const X25519: Curve = Curve { kernel: "sc_agree_x25519", shared: sizes::X25519_SPACE, public: 32 };
const P256: Curve = Curve { kernel: "sc_agree_p256", shared: sizes::P256_SPACE, public: 65 };

impl<D: Driver> DeviceBackend<D> {
    /// The agreed secret, or without a peer the public key.
    fn agree<const N: usize>(
        &self,
        curve: Curve,
        secret: &[u8; 32],
        peer: Option<&[u8]>,
    ) -> Result<Zeroizing<[u8; N]>, OperationError> {
        let (out, verdict) = match peer {
            Some(peer) => self.agree_in_memory(curve, secret, peer)?,
            None => self.agree_job(curve, secret, None)?,
        };
        self.verdict(curve.kernel, &verdict)?;
        self.array(&out)
    }

    fn agree_in_memory(
        &self,
        curve: Curve,
        secret: &[u8; 32],
        peer: &[u8],
    ) -> Result<(D::Memory, D::Memory), OperationError> {
        if peer.len() != curve.public {
            return Err(OperationError::KeyInvalid);
        }
        let peer = self.upload(peer)?;
        self.agree_job(curve, secret, Some(&peer))
    }

    fn agree_job(
        &self,
        curve: Curve,
        secret: &[u8; 32],
        peer: Option<&D::Memory>,
    ) -> Result<(D::Memory, D::Memory), OperationError> {
        let secret = self.upload(secret)?;
        let (out, verdict) = (self.room(curve.public)?, self.room(4)?);
        let mut job = Args::default();
        job.long(self.at(&secret)).long(peer.map_or(0, |peer| self.at(peer)));
        job.long(self.at(&out)).long(self.at(&verdict));
        let job = self.upload(job.bytes())?;
        let mut args = Args::default();
        args.long(self.at(&job)).word(1).word(0);
        self.one(curve.kernel, curve.shared, &args)?;
        Ok((out, verdict))
    }

    fn kdf(
        &self,
        kernel: &'static str,
        shared: u32,
        input: &Kdf<'_>,
        out: &mut [u8],
    ) -> Result<(), OperationError> {
        let (secret, salt) = (self.upload(input.secret)?, self.upload(input.salt)?);
        let (info, place, verdict) =
            (self.upload(input.info)?, self.room(out.len())?, self.room(4)?);
        let mut args = Args::default();
        for memory in [&secret, &salt, &info, &place, &verdict] {
            args.long(self.at(memory));
        }
        for length in [input.secret.len(), input.salt.len(), input.info.len(), out.len()] {
            args.long(length as u64);
        }
        self.one(kernel, shared, &args)?;
        self.verdict(kernel, &verdict)?;
        out.copy_from_slice(&self.bytes(&place, out.len())?);
        Ok(())
    }

    fn unwrap_with(
        &self,
        kernel: &'static str,
        kek: &[u8; 32],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        let room = wrapped.len().saturating_sub(8);
        let (kek, wrapped_at) = (self.upload(kek)?, self.upload(wrapped)?);
        let (out, length, verdict) = (self.room(room)?, self.room(8)?, self.room(4)?);
        let mut args = Args::default();
        for memory in [&kek, &wrapped_at, &out, &length, &verdict] {
            args.long(self.at(memory));
        }
        args.long(wrapped.len() as u64);
        self.one(kernel, sizes::WRAP_SPACE, &args)?;
        self.verdict(kernel, &verdict)?;
        let [length, _] = self.words(&length)?;
        let mut opened = self.bytes(&out, room)?;
        opened.truncate(length as usize);
        Ok(opened)
    }

    /// One warp.
    fn one(&self, kernel: &'static str, shared: u32, args: &Args) -> Result<(), DeviceError> {
        let launch = Launch { kernel, blocks: 1, threads: 32, shared };
        self.driver().launch(&launch, args.bytes())
    }

    /// As many blocks as the device likes.
    fn wide(&self, kernel: &'static str, shared: u32, args: &Args) -> Result<(), DeviceError> {
        let launch = Launch { kernel, blocks: self.driver().blocks(), threads: 256, shared };
        self.driver().launch(&launch, args.bytes())
    }

    fn verdict(&self, kernel: &'static str, memory: &D::Memory) -> Result<(), OperationError> {
        let [state] = self.words(memory)?;
        judge(kernel, state)
    }

    fn bytes(
        &self,
        memory: &D::Memory,
        length: usize,
    ) -> Result<Zeroizing<Vec<u8>>, OperationError> {
        let mut out = Zeroizing::new(vec![0; length]);
        self.driver().read(memory, &mut out)?;
        Ok(out)
    }

    fn array<const N: usize>(
        &self,
        memory: &D::Memory,
    ) -> Result<Zeroizing<[u8; N]>, OperationError> {
        let mut out = Zeroizing::new([0; N]);
        self.driver().read(memory, &mut out[..])?;
        Ok(out)
    }
}

/// What a status word says.
pub(crate) fn judge(kernel: &'static str, state: u32) -> Result<(), OperationError> {
    Err(match state {
        status::DONE => return Ok(()),
        status::TAG_WRONG => OperationError::TagWrong,
        status::COMMITMENT_WRONG => OperationError::CommitmentWrong,
        status::MARK_WRONG => OperationError::MarkMismatch,
        status::KEY_INVALID => OperationError::KeyInvalid,
        status::LENGTH_WRONG => OperationError::LengthWrong,
        status::WRAP_WRONG => OperationError::WrapWrong,
        status::INDEX_WRONG => OperationError::IndexWrong,
        status::STUCK => OperationError::SourceStuck,
        status::BIASED => OperationError::SourceBiased,
        status::TOO_FEW => OperationError::TooFewSamples,
        status::NOT_ZERO => OperationError::NotZero,
        status => no_verdict(kernel, status),
    })
}

fn no_verdict(kernel: &'static str, status: u32) -> OperationError {
    OperationError::Device(DeviceError::NoVerdict { kernel, status })
}

impl From<DeviceError> for OperationError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}
