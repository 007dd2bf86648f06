// AES-256 one block at a time, bitsliced: for key set-up and key wrap, where speed does not count.
//
// The 16 bytes of a block are the low 16 bits of eight planes, byte i at bit i. The S-box inverts in
// GF(16)[y]/(y^2 + y + 10) with GF(16) = GF(2)[x]/(x^4 + x + 1); the two linear layers are the change
// of basis (found by search for few terms), the second joined to the affine map of FIPS 197.
#pragma once

#include "common.cuh"

struct Planes {
    u32 p[8];
};

struct Nibble {
    u32 b[4];
};

DEV Nibble nibble_xor(Nibble a, Nibble b) {
    Nibble r;
#pragma unroll
    for (int i = 0; i < 4; i++) r.b[i] = a.b[i] ^ b.b[i];
    return r;
}

DEV Nibble nibble_mul(Nibble a, Nibble b) {
    u32 c[7];
#pragma unroll
    for (int i = 0; i < 7; i++) c[i] = 0;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) c[i + j] ^= a.b[i] & b.b[j];
    Nibble r;
    r.b[0] = c[0] ^ c[4];
    r.b[1] = c[1] ^ c[4] ^ c[5];
    r.b[2] = c[2] ^ c[5] ^ c[6];
    r.b[3] = c[3] ^ c[6];
    return r;
}

DEV Nibble nibble_square(Nibble a) {
    Nibble r;
    r.b[0] = a.b[0] ^ a.b[2];
    r.b[1] = a.b[2];
    r.b[2] = a.b[1] ^ a.b[3];
    r.b[3] = a.b[3];
    return r;
}

// 10 a^2, where 10 is the constant of the quadratic extension.
DEV Nibble nibble_square_scale(Nibble a) {
    Nibble r;
    r.b[0] = a.b[2] ^ a.b[3];
    r.b[1] = a.b[0] ^ a.b[1];
    r.b[2] = a.b[1] ^ a.b[2];
    r.b[3] = a.b[0] ^ a.b[1] ^ a.b[2];
    return r;
}

DEV Nibble nibble_fourth(Nibble a) {
    Nibble r;
    r.b[0] = a.b[0] ^ a.b[1] ^ a.b[2] ^ a.b[3];
    r.b[1] = a.b[1] ^ a.b[3];
    r.b[2] = a.b[2] ^ a.b[3];
    r.b[3] = a.b[3];
    return r;
}

// a^14, which is the inverse, and zero for zero.
DEV Nibble nibble_invert(Nibble a) {
    Nibble square = nibble_square(a);
    return nibble_mul(square, nibble_fourth(nibble_mul(a, square)));
}

DEV Planes aes_sub(Planes s) {
    const u32* x = s.p;
    Nibble low, high;
    low.b[0] = x[0] ^ x[2] ^ x[5] ^ x[7];
    low.b[1] = x[2] ^ x[5] ^ x[6] ^ x[7];
    low.b[2] = x[2];
    low.b[3] = x[3] ^ x[4];
    high.b[0] = x[1] ^ x[5] ^ x[7];
    high.b[1] = x[2] ^ x[3];
    high.b[2] = x[1] ^ x[4] ^ x[6] ^ x[7];
    high.b[3] = x[5] ^ x[7];
    Nibble sum = nibble_xor(low, high);
    // The norm: 10 high^2 + high low + low^2.
    Nibble norm = nibble_xor(nibble_square_scale(high), nibble_mul(low, sum));
    Nibble inverse = nibble_invert(norm);
    Nibble h = nibble_mul(high, inverse), l = nibble_mul(sum, inverse);
    Planes r;
    r.p[0] = ~(l.b[0] ^ l.b[1] ^ l.b[2] ^ l.b[3] ^ h.b[1] ^ h.b[3]);
    r.p[1] = ~(l.b[0] ^ l.b[1] ^ h.b[0]);
    r.p[2] = l.b[0] ^ l.b[2] ^ l.b[3] ^ h.b[1] ^ h.b[2] ^ h.b[3];
    r.p[3] = l.b[0] ^ l.b[1] ^ l.b[2] ^ l.b[3] ^ h.b[2];
    r.p[4] = l.b[0] ^ l.b[3] ^ h.b[0];
    r.p[5] = ~(l.b[1] ^ l.b[2] ^ h.b[1] ^ h.b[2]);
    r.p[6] = ~(h.b[0] ^ h.b[1] ^ h.b[2]);
    r.p[7] = l.b[1] ^ l.b[2] ^ l.b[3];
    return r;
}

// The inverse of the affine map, as the second half of the inverse S-box and as its first.
DEV Planes aes_affine_inverse(Planes s) {
    Planes r;
#pragma unroll
    for (int i = 0; i < 8; i++) r.p[i] = s.p[(i + 2) & 7] ^ s.p[(i + 5) & 7] ^ s.p[(i + 7) & 7];
    r.p[0] = ~r.p[0];
    r.p[2] = ~r.p[2];
    return r;
}

DEV Planes aes_sub_inverse(Planes s) {
    return aes_affine_inverse(aes_sub(aes_affine_inverse(s)));
}

DEV u32 half_rotr(u32 x, u32 n) { return ((x >> n) | (x << (16 - n))) & 0xffff; }

DEV Planes aes_shift_rows(Planes s, bool inverse) {
    Planes r;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u32 x = s.p[i] & 0xffff;
        u32 one = half_rotr(x, inverse ? 12 : 4), three = half_rotr(x, inverse ? 4 : 12);
        r.p[i] = (x & 0x1111) | (one & 0x2222) | (half_rotr(x, 8) & 0x4444) | (three & 0x8888);
    }
    return r;
}

// Row r of each column takes row r + n.
DEV u32 rows_up(u32 x, u32 n) {
    u32 low = 0x1111u * ((1u << (4 - n)) - 1);
    return ((x >> n) & low) | ((x << (4 - n)) & (0xffffu ^ low));
}

DEV Planes planes_double(Planes s) {
    Planes r;
    r.p[0] = s.p[7];
    r.p[1] = s.p[0] ^ s.p[7];
    r.p[2] = s.p[1];
    r.p[3] = s.p[2] ^ s.p[7];
    r.p[4] = s.p[3] ^ s.p[7];
    r.p[5] = s.p[4];
    r.p[6] = s.p[5];
    r.p[7] = s.p[6];
    return r;
}

DEV Planes aes_mix(Planes s) {
    Planes up, sum, r;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        up.p[i] = rows_up(s.p[i], 1);
        sum.p[i] = s.p[i] ^ up.p[i];
    }
    r = planes_double(sum);
#pragma unroll
    for (int i = 0; i < 8; i++) r.p[i] ^= up.p[i] ^ rows_up(sum.p[i], 2);
    return r;
}

// The inverse is the mix after a multiplication by (5, 0, 4, 0).
DEV Planes aes_mix_inverse(Planes s) {
    Planes sum;
#pragma unroll
    for (int i = 0; i < 8; i++) sum.p[i] = s.p[i] ^ rows_up(s.p[i], 2);
    sum = planes_double(planes_double(sum));
#pragma unroll
    for (int i = 0; i < 8; i++) s.p[i] ^= sum.p[i];
    return aes_mix(s);
}

// Bit k of each of four bytes, gathered into four bits.
DEV u32 gather4(u32 word, u32 bit) {
    u32 x = (word >> bit) & 0x01010101u;
    return (x | (x >> 7) | (x >> 14) | (x >> 21)) & 15;
}

DEV Planes planes_of(const u32* words) {
    Planes r;
#pragma unroll
    for (int i = 0; i < 8; i++)
        r.p[i] = gather4(words[0], i) | gather4(words[1], i) << 4 | gather4(words[2], i) << 8 |
                 gather4(words[3], i) << 12;
    return r;
}

DEV u32 planes_word(Planes s, int word) {
    u32 r = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u32 x = (s.p[i] >> (4 * word)) & 15;
        r |= ((x | (x << 7) | (x << 14) | (x << 21)) & 0x01010101u) << i;
    }
    return r;
}

DEV Planes planes_xor(Planes a, Planes b) {
#pragma unroll
    for (int i = 0; i < 8; i++) a.p[i] ^= b.p[i];
    return a;
}

DEV u32 aes_sub_word(u32 word) {
    Planes s;
#pragma unroll
    for (int i = 0; i < 8; i++) s.p[i] = gather4(word, i);
    return planes_word(aes_sub(s), 0);
}

// FIPS 197 section 5.2 for 256-bit keys. `rk` has 60 words and begins with the key.
DEV void aes_expand(u32* rk) {
    u32 constant = 1;
#pragma unroll 1
    for (u32 i = 8; i < 60; i++) {
        u32 word = rk[i - 1];
        if ((i & 7) == 0) word = (word >> 8) | (word << 24);
        if ((i & 3) == 0) word = aes_sub_word(word);
        if ((i & 7) == 0) {
            word ^= constant;
            constant <<= 1;
        }
        rk[i] = rk[i - 8] ^ word;
    }
}

DEV Block aes_encrypt(const u32* rk, Block in) {
    Planes s = planes_xor(planes_of(in.w), planes_of(rk));
#pragma unroll 1
    for (int round = 1; round < 15; round++) {
        s = aes_shift_rows(aes_sub(s), false);
        if (round < 14) s = aes_mix(s);
        s = planes_xor(s, planes_of(rk + 4 * round));
    }
    Block out;
#pragma unroll
    for (int i = 0; i < 4; i++) out.w[i] = planes_word(s, i);
    return out;
}

DEV Block aes_decrypt(const u32* rk, Block in) {
    Planes s = planes_xor(planes_of(in.w), planes_of(rk + 56));
#pragma unroll 1
    for (int round = 13; round >= 0; round--) {
        s = aes_sub_inverse(aes_shift_rows(s, true));
        s = planes_xor(s, planes_of(rk + 4 * round));
        if (round > 0) s = aes_mix_inverse(s);
    }
    Block out;
#pragma unroll
    for (int i = 0; i < 4; i++) out.w[i] = planes_word(s, i);
    return out;
}
