// Combines k shares into the key: Lagrange at zero over GF(256), byte i on lane i. [QRM-4]
//
// Indices are public, shares are not: the product takes the same steps for every operand.

#include "common.cuh"

struct ShareArgs {
    const u8* shares;  // k times 32 bytes
    const u8* indices; // k bytes
    u8* out;           // 32 bytes
    u32* status;
    u32 k;
    u32 pad;
};

DEV u32 gf256_mul(u32 x, u32 y) {
    u32 product = 0;
#pragma unroll
    for (int bit = 0; bit < 8; bit++) {
        product ^= x & (0u - ((y >> bit) & 1));
        x = ((x << 1) ^ (0x1bu & (0u - (x >> 7)))) & 255;
    }
    return product;
}

// x^254, the product of the powers 2, 4, …, 128.
DEV u32 gf256_invert(u32 x) {
    u32 power = x, result = 1;
#pragma unroll 1
    for (int i = 0; i < 7; i++) {
        power = gf256_mul(power, power);
        result = gf256_mul(result, power);
    }
    return result;
}

SC_KERNEL(sc_combine_shares, ShareArgs, 32) {
    u32 lane = threadIdx.x, secret = 0, bad = a.k == 0 || a.k > 255;
#pragma unroll 1
    for (u32 i = 0; i < a.k && !bad; i++) {
        u32 mine = a.indices[i], weight = 1;
        bad |= mine == 0;
#pragma unroll 1
        for (u32 j = 0; j < a.k; j++) {
            u32 other = a.indices[j];
            if (j == i) continue;
            bad |= other == mine;
            weight = gf256_mul(weight, gf256_mul(other, gf256_invert(other ^ mine)));
        }
        secret ^= gf256_mul(a.shares[32 * i + lane], weight);
    }
    a.out[lane] = bad ? 0 : (u8)secret;
    if (lane == 0) *a.status = bad ? SC_INDEX_WRONG : SC_DONE;
}
