// Jitter into a seed: health tests of SP 800-90B section 4.4, then SHA-256.
//
// The claim is half a bit of min-entropy per sample, of its lowest byte. Cut-offs for false alarms of
// 2^-30: 61 equal samples in a row; 422 of a window of 512 equal to its first. 8,192 samples claim
// 4,096 bits, sixteen times what a seed holds. Any failure gives zeros. The host's seed adds, and
// cannot take away. None of this is a validated source.

#include "sha.cuh"

enum {
    ENTROPY_REPEATS = 61,
    ENTROPY_WINDOW = 512,
    ENTROPY_SHARE = 422,
    ENTROPY_LEAST = 8192,
};

struct EntropyArgs {
    const u32* samples;
    const u8* seed; // 32 bytes from elsewhere
    u8* out;        // 32 bytes
    u32* status;
    u32* longest; // what the tests saw: the longest run, the largest share of a window
    u32* share;
    u32 count;
    u32 pad;
};

SC_CONSTANT u8 ENTROPY_LABEL[] = "split-custody/v1/jitter";

SC_KERNEL(sc_condition_entropy, EntropyArgs, 32) {
    SC_SHARED(shared);
    HashSpace<Sha256>& s = *(HashSpace<Sha256>*)shared;
    if (threadIdx.x == 0) {
        u32 longest = 0, share = 0, run = 0, seen = 0;
#pragma unroll 1
        for (u32 i = 0; i < a.count; i++) {
            u32 now = a.samples[i] & 255, start = i - i % ENTROPY_WINDOW;
            run = i && now == (a.samples[i - 1] & 255) ? run + 1 : 1;
            seen = (i == start ? 0 : seen) + (now == (a.samples[start] & 255));
            longest = run > longest ? run : longest;
            share = seen > share ? seen : share;
        }
        u32 status = SC_DONE;
        if (a.count < ENTROPY_LEAST) status = SC_TOO_FEW;
        if (share >= ENTROPY_SHARE) status = SC_BIASED;
        if (longest >= ENTROPY_REPEATS) status = SC_STUCK;
        *a.longest = longest;
        *a.share = share;
        s.count = 0;
        s.overflow = 0;
        bytes_copy(s.extra, ENTROPY_LABEL, sizeof ENTROPY_LABEL);
        hash_start(s);
        hash_bytes(s, s.extra, sizeof ENTROPY_LABEL);
        hash_bytes(s, a.seed, 32);
        hash_bytes(s, (const u8*)a.samples, 4 * (u64)a.count);
        hash_finish(s, a.out, 32);
        sha_run(s);
        if (status != SC_DONE) bytes_zero(a.out, 32);
        *a.status = status;
    }
    shared_wipe(shared, sizeof(HashSpace<Sha256>));
}

struct CollectArgs {
    u32* samples; // one per thread of the launch
    u32 rounds;
    u32 pad;
};

// How long a few contended operations take, on every multiprocessor at once. What comes of it on real
// hardware has to be assessed there.
SC_KERNEL(sc_collect_entropy, CollectArgs, 256) {
    SC_SHARED(shared);
    volatile u32* cell = (volatile u32*)shared;
    if (threadIdx.x < 32) cell[threadIdx.x] = 0;
    __syncthreads();
    u64 before = clock64();
    u32 mixed = 0;
#pragma unroll 1
    for (u32 i = 0; i < a.rounds; i++) {
        cell[(threadIdx.x + mixed) & 31] = (u32)clock64();
        mixed = (mixed << 1) ^ cell[(threadIdx.x * 7 + i) & 31];
    }
    u64 after = clock64();
    a.samples[blockIdx.x * blockDim.x + threadIdx.x] = (u32)(after - before) ^ rotl(mixed, 16);
    shared_wipe(shared, 128);
}
