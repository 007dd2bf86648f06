// Keys from an agreed secret, the MAC of a tensor, and the check of a commitment: HKDF, X9.63, HMAC,
// SHA-256. One thread each.

#include "sha.cuh"

struct KdfArgs {
    const u8* secret;
    const u8* salt;
    const u8* info;
    u8* out;
    u32* status;
    u64 secret_bytes;
    u64 salt_bytes;
    u64 info_bytes;
    u64 out_bytes;
};

// RFC 5869. `extra` keeps the counter of a block.
template <class H>
DEV void hkdf_run(const KdfArgs& a, HashSpace<H>& s) {
    u64 blocks = (a.out_bytes + H::DIGEST - 1) / H::DIGEST;
    if (blocks > 255) {
        bytes_zero(a.out, a.out_bytes);
        *a.status = SC_LENGTH_WRONG;
        return;
    }
    u8* prk = s.extra + 64;
    s.count = 0;
    s.overflow = 0;
#pragma unroll 1
    for (u64 i = 0; i <= blocks; i++) {
        if (i == 0) {
            hmac_start(s, a.salt, a.salt_bytes);
            hash_bytes(s, a.secret, a.secret_bytes);
            hmac_finish(s, a.salt, a.salt_bytes, prk, H::DIGEST);
        } else {
            s.extra[0] = (u8)i;
            hmac_start(s, prk, H::DIGEST);
            if (i > 1) hash_bytes(s, s.chain, H::DIGEST);
            hash_bytes(s, a.info, a.info_bytes);
            hash_bytes(s, s.extra, 1);
            hmac_finish(s, prk, H::DIGEST, s.chain, H::DIGEST);
        }
        sha_run(s);
        if (i) {
            u64 at = (i - 1) * H::DIGEST, left = a.out_bytes - at;
            bytes_copy(a.out + at, s.chain, left < H::DIGEST ? left : (u64)H::DIGEST);
        }
    }
    *a.status = SC_DONE;
}

#define HKDF_KERNEL(name, H)                                    \
    SC_KERNEL(name, KdfArgs, 32) {                              \
        SC_SHARED(shared);                                      \
        if (threadIdx.x == 0) hkdf_run<H>(a, *(HashSpace<H>*)shared); \
        shared_wipe(shared, sizeof(HashSpace<H>));              \
    }

HKDF_KERNEL(sc_hkdf_sha256, Sha256)
HKDF_KERNEL(sc_hkdf_sha512, Sha512)

// ANSI X9.63: hash of secret, counter from 1, info. The salt is not used.
SC_KERNEL(sc_x963_sha256, KdfArgs, 32) {
    SC_SHARED(shared);
    HashSpace<Sha256>& s = *(HashSpace<Sha256>*)shared;
    if (threadIdx.x == 0) {
        s.count = 0;
        s.overflow = 0;
#pragma unroll 1
        for (u64 at = 0; at < a.out_bytes; at += 32) {
            u64 left = a.out_bytes - at;
            u32 counter = (u32)(at / 32) + 1;
#pragma unroll
            for (int i = 0; i < 4; i++) s.extra[i] = (u8)(counter >> (24 - 8 * i));
            hash_start(s);
            hash_bytes(s, a.secret, a.secret_bytes);
            hash_bytes(s, s.extra, 4);
            hash_bytes(s, a.info, a.info_bytes);
            hash_finish(s, a.out + at, left < 32 ? left : 32);
            sha_run(s);
        }
        *a.status = SC_DONE;
    }
    shared_wipe(shared, sizeof(HashSpace<Sha256>));
}

struct MacJob {
    const u8* key;
    const u8* prefix; // framed fields before the tensor's bytes
    const u8* message;
    u8* out; // 32 bytes
    u64 key_bytes;
    u64 prefix_bytes;
    u64 message_bytes;
};

struct MacArgs {
    const MacJob* jobs;
    u32* status; // one per job
    u32 count;
    u32 pad;
    Guard guard;
};

// HMAC-SHA-256 is serial: one thread per tensor, all tensors at once.
SC_KERNEL(sc_hmac_sha256, MacArgs, 32) {
    SC_SHARED(shared);
    HashSpace<Sha256>& s = *(HashSpace<Sha256>*)shared;
    if (threadIdx.x == 0 && blockIdx.x < a.count) {
        const MacJob job = a.jobs[blockIdx.x];
        if (guard_mask(a.guard)) {
            bytes_zero(job.out, 32);
            a.status[blockIdx.x] = SC_MARK_WRONG; // [RST-5]
        } else {
            s.count = 0;
            s.overflow = 0;
            hmac_start(s, job.key, job.key_bytes);
            hash_bytes(s, job.prefix, job.prefix_bytes);
            hash_bytes(s, job.message, job.message_bytes);
            hmac_finish(s, job.key, job.key_bytes, job.out, 32);
            sha_run(s);
            a.status[blockIdx.x] = SC_DONE;
        }
    }
    shared_wipe(shared, sizeof(HashSpace<Sha256>));
}

struct DigestArgs {
    const u8* prefix; // public fields before the secret
    const u8* secret;
    const u8* expected; // 32 bytes
    u32* status;
    u64 prefix_bytes;
    u64 secret_bytes;
};

// Whether SHA-256 of a public prefix and a secret is the expected digest. Only the verdict leaves: a
// digest of a secret lets others test guesses. [QRM-2] [QRM-3]
SC_KERNEL(sc_check_digest, DigestArgs, 32) {
    SC_SHARED(shared);
    HashSpace<Sha256>& s = *(HashSpace<Sha256>*)shared;
    if (threadIdx.x == 0) {
        s.count = 0;
        s.overflow = 0;
        hash_start(s);
        hash_bytes(s, a.prefix, a.prefix_bytes);
        hash_bytes(s, a.secret, a.secret_bytes);
        hash_finish(s, s.extra, 32);
        sha_run(s);
        *a.status = mask_differ(s.extra, a.expected, 32) ? SC_COMMITMENT_WRONG : SC_DONE;
    }
    shared_wipe(shared, sizeof(HashSpace<Sha256>));
}
