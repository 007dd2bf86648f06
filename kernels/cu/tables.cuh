// AES by tables in shared memory, 32 copies, so that no lookup can wait for another.
//
// Lane l reads bank l and no other, whatever the index: the time of a lookup does not depend on the
// data. The same 32 copies are what makes it fast. Two layouts:
// - four tables (128 KB): row b is 256 bytes, 32 lanes of table 0 and 32 of table 1; tables 2 and 3
//   follow at 64 KB. One byte permutation gives row and lane at once.
// - one table (32 KB) and rotations, for GPUs with less than 164 KB of shared memory.
// Word layout: little endian columns, byte 0 is row 0.
#pragma once

#include "schedule.cuh"

#ifndef SC_TABLES
#define SC_TABLES 4
#endif

enum {
#if SC_TABLES == 4
    TABLE_BYTES = 128 << 10,
#else
    TABLE_BYTES = 32 << 10,
#endif
};

// 2S, S, S, 3S: what table 0 holds for a byte.
DEV u32 table_entry(u32 byte) {
    u32 s = aes_sub_word(byte) & 255;
    u32 twice = ((s << 1) ^ ((0u - (s >> 7)) & 0x1b)) & 255;
    return twice | s << 8 | s << 16 | (twice ^ s) << 24;
}

// Fills all copies with all threads. `scratch` has 256 words.
DEV void tables_fill(unsigned char* table, u32* scratch) {
    for (u32 i = threadIdx.x; i < 256; i += blockDim.x) scratch[i] = table_entry(i);
    __syncthreads();
#pragma unroll 1
    for (u32 i = threadIdx.x; i < 256 * LANES; i += blockDim.x) {
        u32 row = i >> 5, lane4 = (i & 31) * 4, v = scratch[row];
#if SC_TABLES == 4
        unsigned char* at = table + row * 256 + lane4;
        *(u32*)at = v;
        *(u32*)(at + 128) = rotl(v, 8);
        *(u32*)(at + 65536) = rotl(v, 16);
        *(u32*)(at + 65536 + 128) = rotl(v, 24);
#else
        *(u32*)(table + row * 128 + lane4) = v;
#endif
    }
}

// Table T at byte K of x.
template <int T, int K>
DEV u32 table_at(const unsigned char* table, u32 x, u32 lane4) {
#if SC_TABLES == 4
    const u32 select = 0x5504 | K << 4;
    return *(const u32*)(table + __byte_perm(x, lane4, select) + (T & 1) * 128 + (T >> 1) * 65536);
#else
    u32 row = K == 0 ? x << 7 : x >> (8 * K - 7);
    u32 v = *(const u32*)(table + ((row & 0x7f80) | lane4));
    if (T == 1) return __byte_perm(v, 0, 0x2103);
    if (T == 2) return __byte_perm(v, 0, 0x1032);
    if (T == 3) return __byte_perm(v, 0, 0x0321);
    return v;
#endif
}

DEV u32 table_column(const unsigned char* t, u32 a, u32 b, u32 c, u32 d, u32 key, u32 lane4) {
    return table_at<0, 0>(t, a, lane4) ^ table_at<1, 1>(t, b, lane4) ^ table_at<2, 2>(t, c, lane4) ^
           table_at<3, 3>(t, d, lane4) ^ key;
}

// The last round has no mix: the S-box lies in the tables, at the byte where it is wanted.
DEV u32 table_last(const unsigned char* t, u32 a, u32 b, u32 c, u32 d, u32 key, u32 lane4) {
#if SC_TABLES == 4
    u32 low = __byte_perm(table_at<2, 0>(t, a, lane4), table_at<3, 1>(t, b, lane4), 0x0050);
    u32 high = __byte_perm(table_at<0, 2>(t, c, lane4), table_at<1, 3>(t, d, lane4), 0x7200);
#else
    u32 low = __byte_perm(table_at<0, 0>(t, a, lane4), table_at<0, 1>(t, b, lane4), 0x0051);
    u32 high = __byte_perm(table_at<0, 2>(t, c, lane4), table_at<0, 3>(t, d, lane4), 0x5100);
#endif
    return __byte_perm(low, high, 0x7610) ^ key;
}

// Rounds `FIRST` to 14. `rk` is an array of registers or of shared memory.
template <int FIRST>
DEV Block table_rounds(const unsigned char* t, const u32* rk, Block s, u32 lane4) {
#pragma unroll
    for (int r = FIRST; r < 14; r++) {
        Block n;
#pragma unroll
        for (int j = 0; j < 4; j++)
            n.w[j] = table_column(t, s.w[j], s.w[(j + 1) & 3], s.w[(j + 2) & 3], s.w[(j + 3) & 3],
                                  rk[4 * r + j], lane4);
        s = n;
    }
    Block out;
#pragma unroll
    for (int j = 0; j < 4; j++)
        out.w[j] = table_last(t, s.w[j], s.w[(j + 1) & 3], s.w[(j + 2) & 3], s.w[(j + 3) & 3],
                              rk[56 + j], lane4);
    return out;
}

// The keystream of one chunk. Only two bytes of its counter ever change (a chunk has 1,024 blocks),
// so 14 of 16 lookups of the first round and 8 of the second are done once for the chunk.
struct Stream {
    u32 first[2];  // columns 0 and 1 of round 1, without the counter's part
    u32 second[4]; // round 2, without the columns that change
    u32 key3;      // the counter's word of the first round key
};

DEV Stream stream_start(const unsigned char* t, const u32* rk, const u32* nonce, u32 lane4) {
    u32 a0 = nonce[0] ^ rk[0], a1 = nonce[1] ^ rk[1], a2 = nonce[2] ^ rk[2], a3 = rk[3];
    Stream s;
    s.key3 = a3;
    s.first[0] = table_at<0, 0>(t, a0, lane4) ^ table_at<1, 1>(t, a1, lane4) ^
                 table_at<2, 2>(t, a2, lane4) ^ rk[4];
    s.first[1] = table_at<0, 0>(t, a1, lane4) ^ table_at<1, 1>(t, a2, lane4) ^
                 table_at<3, 3>(t, a0, lane4) ^ rk[5];
    u32 b2 = table_column(t, a2, a3, a0, a1, rk[6], lane4);
    u32 b3 = table_column(t, a3, a0, a1, a2, rk[7], lane4);
    s.second[0] = table_at<2, 2>(t, b2, lane4) ^ table_at<3, 3>(t, b3, lane4) ^ rk[8];
    s.second[1] = table_at<1, 1>(t, b2, lane4) ^ table_at<2, 2>(t, b3, lane4) ^ rk[9];
    s.second[2] = table_at<0, 0>(t, b2, lane4) ^ table_at<1, 1>(t, b3, lane4) ^ rk[10];
    s.second[3] = table_at<0, 0>(t, b3, lane4) ^ table_at<3, 3>(t, b2, lane4) ^ rk[11];
    return s;
}

// The keystream block of a counter below 65,536.
DEV Block stream_block(const unsigned char* t, const u32* rk, const Stream& s, u32 counter,
                       u32 lane4) {
    u32 a3 = swap32(counter) ^ s.key3;
    u32 b0 = s.first[0] ^ table_at<3, 3>(t, a3, lane4);
    u32 b1 = s.first[1] ^ table_at<2, 2>(t, a3, lane4);
    Block c;
    c.w[0] = s.second[0] ^ table_at<0, 0>(t, b0, lane4) ^ table_at<1, 1>(t, b1, lane4);
    c.w[1] = s.second[1] ^ table_at<0, 0>(t, b1, lane4) ^ table_at<3, 3>(t, b0, lane4);
    c.w[2] = s.second[2] ^ table_at<2, 2>(t, b0, lane4) ^ table_at<3, 3>(t, b1, lane4);
    c.w[3] = s.second[3] ^ table_at<1, 1>(t, b0, lane4) ^ table_at<2, 2>(t, b1, lane4);
    return table_rounds<3>(t, rk, c, lane4);
}
