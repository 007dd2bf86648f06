//! What a release asks of the device: keys made, shares opened, checked and combined, all in guarded
//! memory; MACs and verdicts come out.

use crate::device::args::Args;
use crate::device::operations::judge;
use crate::device::{DeviceError, Launch, sizes};
use crate::operations::{
    ENTROPY_SAMPLES_MIN, HOPS, OperationError, SAMPLES_PER_BLOCK, SAMPLES_PER_WARP,
};
use crate::resident::desk::Desk;
use crate::resident::memory::{Public, Secret};
use crate::resident::tensors::Marked;

/// A sealed share of suite `HPKE-X25519`, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<'a> {
    /// The encapsulation.
    pub enc: &'a [u8; 32],
    /// Ciphertext and tag.
    pub sealed: &'a [u8; 48],
    /// The context of the grant.
    pub info: &'a [u8],
}

/// Where an unwrap works: all of it guarded.
#[derive(Clone, Copy, Debug)]
pub struct ShareContext {
    /// The device's key of this attempt, 32 bytes.
    pub secret: Secret,
    /// Room for the agreed secret, 32 bytes; zero afterwards.
    pub agreed: Secret,
    /// Where the share goes, 32 bytes.
    pub share: Secret,
}

/// A MAC over guarded memory.
pub struct MacJob {
    /// The key: the owner's nonce or a request's key.
    pub key: [u8; 32],
    /// Framed fields before the bytes.
    pub prefix: Vec<u8>,
    /// The bytes.
    pub message: Secret,
}

impl Desk {
    /// Draws 32 secret bytes from the jitter of the GPU and from `seed`. `samples` is zero afterwards.
    /// Fails closed where the health tests do. [HS-15] [RST-4]
    pub fn draw(
        &mut self,
        samples: Secret,
        seed: &[u8; 32],
        out: Secret,
    ) -> Result<(), OperationError> {
        self.clear()?;
        let samples = samples.part(0, SAMPLES_BYTES)?;
        let mut args = Args::default();
        args.long(samples.address()).word(SAMPLES_PER_WARP).word(HOPS);
        let blocks = (ENTROPY_SAMPLES_MIN / SAMPLES_PER_BLOCK) as u32;
        let launch = Launch { kernel: "sc_collect_entropy", blocks, threads: 256, shared: 0 };
        self.launch(&launch, &args)?;
        let (seed, verdict) = (self.put(seed)?, self.room(4)?);
        let seen = self.room(8)?;
        let mut args = Args::default();
        for at in [samples.address(), seed.address(), out.part(0, 32)?.address()] {
            args.long(at);
        }
        args.long(verdict.address()).long(seen.address()).long(seen.part(4, 4)?.address());
        args.word(ENTROPY_SAMPLES_MIN as u32).word(0);
        self.one("sc_condition_entropy", &args)?;
        self.stream.zero(samples)?;
        self.verdict("sc_condition_entropy", verdict)
    }

    /// The public half of an X25519 key.
    pub fn public_x25519(&mut self, secret: Secret) -> Result<[u8; 32], OperationError> {
        self.clear()?;
        let (out, verdict) = (self.room(32)?, self.room(4)?);
        self.agree(secret, None, out.address(), verdict)?;
        self.verdict("sc_agree_x25519", verdict)?;
        let mut public = [0; 32];
        self.fetch(out, &mut public)?;
        Ok(public)
    }

    /// Opens a share with the device's key, both in guarded memory. [REL-4]
    pub fn open_share(
        &mut self,
        places: &ShareContext,
        wrapped: &Wrapped<'_>,
    ) -> Result<(), OperationError> {
        let own = self.public_x25519(places.secret)?;
        self.clear()?;
        let (enc, own) = (self.put(wrapped.enc)?, self.put(&own)?);
        let (info, sealed) = (self.put(wrapped.info)?, self.put(wrapped.sealed)?);
        let (agreed_verdict, verdict) = (self.room(4)?, self.room(4)?);
        let agreed = places.agreed.part(0, 32)?;
        self.agree(places.secret, Some(enc), agreed.address(), agreed_verdict)?;
        let mut args = Args::default();
        args.long(agreed.address()).long(agreed_verdict.address());
        for place in [enc, own, info, info, sealed] {
            args.long(place.address());
        }
        args.long(places.share.part(0, 32)?.address()).long(verdict.address());
        for length in [wrapped.enc.len(), wrapped.info.len(), 0, wrapped.sealed.len()] {
            args.long(length as u64);
        }
        args.word(0x0020).word(0);
        self.one("sc_open_hpke", &args)?;
        self.stream.zero(agreed)?;
        self.verdict("sc_open_hpke", verdict)
    }

    /// Whether SHA-256 over `prefix` and the secret is `expected`. [QRM-2] [QRM-3]
    pub fn check_digest(
        &mut self,
        prefix: &[u8],
        secret: Secret,
        expected: &[u8; 32],
    ) -> Result<(), OperationError> {
        self.clear()?;
        let (prefix_at, expected) = (self.put(prefix)?, self.put(expected)?);
        let verdict = self.room(4)?;
        let mut args = Args::default();
        for at in [prefix_at.address(), secret.address(), expected.address(), verdict.address()] {
            args.long(at);
        }
        args.long(prefix.len() as u64).long(secret.bytes() as u64);
        self.one("sc_check_digest", &args)?;
        self.verdict("sc_check_digest", verdict)
    }

    /// Combines shares; `gathered` is room for all of them, and zero afterwards. [QRM-4]
    pub fn combine(
        &mut self,
        shares: &[(u8, Secret)],
        gathered: Secret,
        out: Secret,
    ) -> Result<(), OperationError> {
        self.clear()?;
        let gathered = gathered.part(0, 32 * shares.len())?;
        for (i, (_, share)) in shares.iter().enumerate() {
            self.stream.copy_secret(gathered.part(32 * i, 32)?, share.part(0, 32)?)?;
        }
        let indices: Vec<u8> = shares.iter().map(|(index, _)| *index).collect();
        let (indices, verdict) = (self.put(&indices)?, self.room(4)?);
        let mut args = Args::default();
        args.long(gathered.address()).long(indices.address());
        args.long(out.part(0, 32)?.address()).long(verdict.address());
        args.word(shares.len() as u32).word(0);
        self.one("sc_combine_shares", &args)?;
        self.stream.zero(gathered)?;
        self.verdict("sc_combine_shares", verdict)
    }

    /// HMAC-SHA-256 of each, all at once, if the mark is in place. [RST-5]
    pub fn macs(
        &mut self,
        jobs: &[MacJob],
        marked: &Marked<'_>,
    ) -> Result<Vec<[u8; 32]>, OperationError> {
        self.clear()?;
        let (out, verdicts) = (self.room(32 * jobs.len())?, self.room(4 * jobs.len())?);
        let mut described = Args::default();
        for (i, job) in jobs.iter().enumerate() {
            let (key, prefix) = (self.put(&job.key)?, self.put(&job.prefix)?);
            described.long(key.address()).long(prefix.address()).long(job.message.address());
            described.long(out.part(32 * i, 32)?.address());
            for length in [job.key.len(), job.prefix.len(), job.message.bytes()] {
                described.long(length as u64);
            }
        }
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let described = self.put(described.bytes())?;
        let mut args = Args::default();
        args.long(described.address()).long(verdicts.address()).word(jobs.len() as u32).word(0);
        marked.enter(&mut args);
        let (kernel, blocks) = ("sc_hmac_sha256", jobs.len() as u32);
        let launch = Launch { kernel, blocks, threads: 32, shared: sizes::HASH_SPACE_256 };
        self.launch(&launch, &args)?;
        for word in self.words(verdicts)? {
            judge(kernel, word)?;
        }
        let mut bytes = vec![0; out.bytes()];
        self.fetch(out, &mut bytes)?;
        Ok(bytes.chunks_exact(32).map(|mac| mac.try_into().unwrap_or_default()).collect())
    }

    /// Says whether every byte is zero. [RST-3]
    pub fn verify_zero(&mut self, place: Secret) -> Result<(), OperationError> {
        self.clear()?;
        let kernel = "sc_verify_zero";
        // Each thread has one load under way, so a multiprocessor needs all the threads that it takes.
        let blocks = 8 * self.stream.context().blocks();
        let verdicts = self.room(4 * blocks as usize)?;
        let mut args = Args::default();
        args.long(place.address()).long(verdicts.address()).long(place.bytes() as u64);
        let launch = Launch { kernel, blocks, threads: 256, shared: shared_of(kernel) };
        self.launch(&launch, &args)?;
        self.words(verdicts)?.into_iter().try_for_each(|word| judge(kernel, word))
    }

    fn agree(
        &mut self,
        secret: Secret,
        peer: Option<Public>,
        out: u64,
        verdict: Public,
    ) -> Result<(), DeviceError> {
        let mut job = Args::default();
        job.long(secret.part(0, 32)?.address()).long(peer.map_or(0, |peer| peer.address()));
        job.long(out).long(verdict.address());
        let job = self.put(job.bytes())?;
        let mut args = Args::default();
        args.long(job.address()).word(1).word(0);
        self.one("sc_agree_x25519", &args)
    }

    fn verdict(&mut self, kernel: &'static str, place: Public) -> Result<(), OperationError> {
        self.words(place)?.into_iter().try_for_each(|word| judge(kernel, word))
    }
}

/// Bytes of the samples of one draw.
const SAMPLES_BYTES: usize = 4 * ENTROPY_SAMPLES_MIN;

/// Every kernel that a device in use runs, and its shared memory; `MAX` is that of the tables.
pub(super) const KERNELS: [(&str, u32); 12] = [
    ("sc_agree_x25519", sizes::X25519_SPACE),
    ("sc_check_digest", sizes::HASH_SPACE_256),
    ("sc_collect_entropy", 0),
    ("sc_combine_shares", 0),
    ("sc_condition_entropy", sizes::HASH_SPACE_256),
    ("sc_derive", sizes::DERIVE_SPACE),
    ("sc_hmac_sha256", sizes::HASH_SPACE_256),
    ("sc_open_chunks", u32::MAX),
    ("sc_open_hpke", sizes::HPKE_SPACE),
    ("sc_settle", 1024),
    ("sc_trap", 0),
    ("sc_verify_zero", 1024),
];

pub(super) fn shared_of(kernel: &str) -> u32 {
    KERNELS.iter().find(|(name, _)| *name == kernel).map_or(0, |(_, shared)| *shared)
}
