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
#pragma unroll 4
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

// A product before its reduction. Products can be added up first, and reduced once.
struct GfWide {
    u32 w[8];
};

// One bit of each word of `a` after the other, masks instead of branches.
DEV GfWide gf_mul_wide(Gf a, Gf b) {
    GfWide z;
#pragma unroll
    for (int i = 0; i < 8; i++) z.w[i] = 0;
    // The last bit of each word first; between bits, the whole product moves towards the end.
#pragma unroll 4
    for (int bit = 0; bit < 32; bit++) {
#pragma unroll
        for (int i = 7; i > 0; i--) z.w[i] = (z.w[i] >> 1) | (z.w[i - 1] << 31);
        z.w[0] >>= 1;
#pragma unroll
        for (int w = 0; w < 4; w++) {
            u32 take = (u32)((s32)(a.w[w] << 31) >> 31);
            a.w[w] >>= 1;
#pragma unroll
            for (int j = 0; j < 4; j++) z.w[w + j] ^= take & b.w[j];
        }
    }
    return z;
}

// x^128 = x^7 + x^2 + x + 1: the second half folds into the first.
DEV Gf gf_reduce(GfWide z) {
    // Its last seven bits reach over the end once more.
    u32 over = z.w[7];
    z.w[4] ^= (over << 31) ^ (over << 30) ^ (over << 25);
    Gf r;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u32 x = z.w[4 + i], before = i ? z.w[3 + i] : 0;
        r.w[i] = z.w[i] ^ x ^ (x >> 1 | before << 31) ^ (x >> 2 | before << 30) ^
                 (x >> 7 | before << 25);
    }
    return r;
}
