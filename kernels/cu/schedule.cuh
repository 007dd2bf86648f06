// What opening a tensor needs beside its bytes: round keys, base nonce, powers of the hash key.
#pragma once

#include "aes.cuh"
#include "gf128.cuh"

enum {
    CHUNK_BYTES = 16384,
    STRIDE_BYTES = CHUNK_BYTES + 16,
    CHUNK_BLOCKS = CHUNK_BYTES / 16,
    LANES = 32,
    // Powers 1 to 128: what a chunk needs on up to four warps.
    POWERS = 128,
};

// In device memory, one for each tensor. No copy to the host exists.
struct __align__(16) Schedule {
    u32 rk[60];
    u32 nonce[3];
    u32 state; // SC_DONE, or why the tensor must not be opened
    Block power[POWERS + 1];
};

// From key and nonce in `rk` and `nonce` (shared memory) to a schedule, by one warp.
// The powers come by doubling: the first 2^k give the next 2^k.
DEV void schedule_build(Schedule* to, u32* rk, const u32* nonce, u32 lane, u32 state) {
    if (lane == 0) aes_expand(rk);
    __syncwarp();
    for (u32 i = lane; i < 60; i += LANES) to->rk[i] = rk[i];
    if (lane < 3) to->nonce[lane] = nonce[lane];
    if (lane == 0) {
        to->power[0] = block_zero();
        to->power[1] = aes_encrypt(rk, block_zero());
    }
    __syncwarp();
#pragma unroll 1
    for (u32 have = 1; have < POWERS; have *= 2) {
        Gf top = gf_of(to->power[have]);
#pragma unroll 1
        for (u32 i = have + 1 + lane; i <= 2 * have; i += LANES)
            to->power[i] = gf_block(gf_mul(top, gf_of(to->power[i - have])));
        __syncwarp();
    }
    if (lane == 0) to->state = state;
}

// A schedule that opens nothing.
DEV void schedule_refuse(Schedule* to, u32 lane, u32 state) {
    u32* words = (u32*)to;
#pragma unroll 1
    for (u32 i = lane; i < sizeof(Schedule) / 4; i += LANES) words[i] = 0;
    __syncwarp();
    if (lane == 0) to->state = state;
}
