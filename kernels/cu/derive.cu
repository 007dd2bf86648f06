// The key of each tensor: HKDF-Expand-SHA-512 from the input key, commitment checked, schedule built.
//
// One warp per tensor, so many small tensors are set up in one launch. Nothing is opened under a
// schedule whose commitment did not agree: its state says why, and it holds no key. [SEAL-5]

#include "schedule.cuh"
#include "sha.cuh"

struct DeriveJob {
    const u8* key;     // 32 bytes
    const u8* salt;    // 24 bytes
    const u8* context;
    u64 context_bytes;
    const u8* expected; // 32 bytes, or null where a new message is sealed
    u8* commitment;     // where the derived one goes; null if nobody asks
    Schedule* schedule;
};

struct DeriveArgs {
    const DeriveJob* jobs;
    u32 count;
    u32 pad;
};

SC_CONSTANT u8 DERIVE_INFO[] = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM";

struct DeriveSpace {
    HashSpace<Sha512> hash;
    u32 rk[60];
    u8 okm[128]; // key 32, base nonce 12, commitment 32; the rest of the second hash
    u32 differ;
};

// Two hashes give the 76 bytes: T(1) = HMAC(key, info 1), T(2) = HMAC(key, T(1) info 2).
DEV void derive_okm(DeriveSpace& s, const DeriveJob& job) {
    u8* label = s.hash.extra;
    bytes_copy(label, DERIVE_INFO, sizeof DERIVE_INFO); // the zero that ends it belongs to it
    label[64] = 1;
    label[65] = 2;
    s.hash.count = 0;
#pragma unroll 1
    for (u32 n = 0; n < 2; n++) {
        hmac_start(s.hash, job.key, 32);
        if (n) hash_bytes(s.hash, s.okm, 64);
        hash_bytes(s.hash, label, sizeof DERIVE_INFO);
        hash_bytes(s.hash, job.salt, 24);
        hash_bytes(s.hash, job.context, job.context_bytes);
        hash_bytes(s.hash, label + 64 + n, 1);
        hmac_finish(s.hash, job.key, 32, s.okm + 64 * n, 64);
    }
    sha_run(s.hash);
}

SC_KERNEL(sc_derive, DeriveArgs, 32) {
    SC_SHARED(shared);
    DeriveSpace& s = *(DeriveSpace*)shared;
    u32 lane = threadIdx.x;
    if (blockIdx.x < a.count) {
        const DeriveJob job = a.jobs[blockIdx.x];
        if (lane == 0) {
            derive_okm(s, job);
            s.differ = job.expected ? mask_differ(s.okm + 44, job.expected, 32) : 0;
            if (job.commitment) bytes_copy(job.commitment, s.okm + 44, 32);
            bytes_copy((u8*)s.rk, s.okm, 32);
        }
        __syncwarp();
        // Whether it agreed is public. [SEAL-5]
        if (s.differ)
            schedule_refuse(job.schedule, lane, SC_COMMITMENT_WRONG);
        else
            schedule_build(job.schedule, s.rk, (const u32*)(s.okm + 32), lane, SC_DONE);
    }
    shared_wipe(shared, sizeof(DeriveSpace));
}

struct ScheduleArgs {
    const u8* key;   // 32 bytes
    const u8* nonce; // 12 bytes
    Schedule* schedule;
};

// Raw mode: a key and a base nonce as they are. For vectors of AES-GCM; it commits to nothing.
SC_KERNEL(sc_schedule, ScheduleArgs, 32) {
    SC_SHARED(shared);
    DeriveSpace& s = *(DeriveSpace*)shared;
    u32 lane = threadIdx.x;
    if (lane == 0) {
        bytes_copy((u8*)s.rk, a.key, 32);
        bytes_copy(s.okm, a.nonce, 12);
    }
    __syncwarp();
    schedule_build(a.schedule, s.rk, (const u32*)s.okm, lane, SC_DONE);
    shared_wipe(shared, sizeof(DeriveSpace));
}
