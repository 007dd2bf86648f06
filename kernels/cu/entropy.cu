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
    u32* samples; // `per_warp` for each warp of the launch, in the order of time
    u32 per_warp;
    u32 hops; // loads behind each sample
};

// How long a few loads take that all multiprocessors compete for. The way to memory crosses clocks:
// that is where the jitter is. (Time spent inside one multiprocessor repeats from launch to launch.)
// One lane of a warp samples, since all lanes of a warp see one clock. Where a load goes does not
// depend on what an earlier one gave, so a deterministic machine would repeat itself and be noticed.
SC_KERNEL(sc_collect_entropy, CollectArgs, 256) {
    if (threadIdx.x % 32 != 0) return;
    u32 warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
    u32 count = gridDim.x * blockDim.x / 32 * a.per_warp, seen = 0;
    volatile u32* cells = a.samples;
    u64 before = clock64();
#pragma unroll 1
    for (u32 i = 0; i < a.per_warp; i++) {
#pragma unroll 1
        // The next load waits for this one: its address needs a bit that is always zero.
        for (u32 hop = 0; hop < a.hops; hop++)
            seen = cells[(warp * 797 + i * 131 + hop * 61 + (seen >> 31)) % count];
        u64 now = clock64();
        cells[warp * a.per_warp + i] = (u32)(now - before) & 0x7FFFFFFF;
        before = now;
    }
}
