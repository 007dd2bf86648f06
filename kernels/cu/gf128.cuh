// GF(2^128) in the order of GCM, in constant time and without tables.
#pragma once

#include "common.cuh"

// Words from the most significant (x^0 to x^31) down; `Block` holds bytes in the order of memory.
struct Gf {
    u32 w[4];
};

DEV Gf gf_of(Block b) {
    Gf r;
#pragma unroll
    for (int i = 0; i < 4; i++) r.w[i] = swap32(b.w[i]);
    return r;
}

DEV Block gf_block(Gf a) {
    Block r;
#pragma unroll
    for (int i = 0; i < 4; i++) r.w[i] = swap32(a.w[i]);
    return r;
}

// One bit of `a` after the other, masks instead of branches.
DEV Gf gf_mul(Gf a, Gf b) {
    Gf z;
#pragma unroll
    for (int i = 0; i < 4; i++) z.w[i] = 0;
#pragma unroll
    for (int w = 0; w < 4; w++) {
        u32 bits = a.w[w];
#pragma unroll 8
        for (int i = 0; i < 32; i++) {
            u32 take = (u32)((s32)bits >> 31);
            bits <<= 1;
#pragma unroll
            for (int j = 0; j < 4; j++) z.w[j] ^= take & b.w[j];
            u32 carry = (0u - (b.w[3] & 1)) & 0xe1000000u;
            b.w[3] = (b.w[3] >> 1) | (b.w[2] << 31);
            b.w[2] = (b.w[2] >> 1) | (b.w[1] << 31);
            b.w[1] = (b.w[1] >> 1) | (b.w[0] << 31);
            b.w[0] = (b.w[0] >> 1) ^ carry;
        }
    }
    return z;
}

DEV Block block_mul(Block a, Block b) { return gf_block(gf_mul(gf_of(a), gf_of(b))); }
