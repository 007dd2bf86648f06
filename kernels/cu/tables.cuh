// AES by tables in shared memory, 32 copies, so that no lookup can wait for another.
//
// Lane l reads bank l and no other, whatever the index: the time of a lookup does not depend on the
// data. The same 32 copies are what makes it fast. Two layouts:
// - four tables (128 KB): row b is 256 bytes, 32 lanes of table 0 and 32 of table 1; tables 2 and 3
//   follow at 64 KB. One byte permutation gives base, row and lane at once.
// - one table (32 KB) and rotations, for GPUs with less than 197 KB of shared memory.
//
// The tables lie on a multiple of 64 KB (or of 32) of the shared window, so their base is bits of the
// index. The table of nibbles for the hash, 32 places of 2 KB, fills the room before and behind:
//
//     four tables:  0x00800 places 0-30 | 0x10000 tables | 0x30000 place 31     | 0x30800 the rest
//     one table:    0x00800 places 0-14 | 0x08000 table  | 0x10000 places 15-31 | 0x18800 the rest
// Word layout: little endian columns, byte 0 is row 0.
#pragma once

#include "schedule.cuh"

#ifndef SC_TABLES
#define SC_TABLES 4
#endif

enum {
#if SC_TABLES == 4
    TABLE_AT = 0x10000,
    TABLE_END = 0x30000,
#else
    TABLE_AT = 0x8000,
    TABLE_END = 0x10000,
#endif
    NIBBLES_AT = 0x800,
    PLACE_BYTES = 2048,
    PLACES_BEFORE = (TABLE_AT - NIBBLES_AT) / PLACE_BYTES,
    REST_AT = TABLE_END + (32 - PLACES_BEFORE) * PLACE_BYTES,
};

// Where the nibbles of a place lie, counted from those of place 0.
DEV constexpr u32 place_offset(u32 place) {
    return place < PLACES_BEFORE ? place * PLACE_BYTES
                                 : TABLE_END - NIBBLES_AT + (place - PLACES_BEFORE) * PLACE_BYTES;
}

// What a lane adds to every index: its own column, and the tables' base.
DEV u32 lane_column(u32 lane) {
#if SC_TABLES == 4
    return lane * 4 | (TABLE_AT >> 8 & 0xff00);
#else
    return lane * 4 | TABLE_AT;
#endif
}

// 2S, S, S, 3S: what table 0 holds for a byte.
DEV u32 table_entry(u32 byte) {
    u32 s = aes_sub_word(byte) & 255;
    u32 twice = ((s << 1) ^ ((0u - (s >> 7)) & 0x1b)) & 255;
    return twice | s << 8 | s << 16 | (twice ^ s) << 24;
}

// Fills all copies with all threads. `scratch` has 256 words.
DEV void tables_fill(u32* scratch) {
    for (u32 i = threadIdx.x; i < 256; i += blockDim.x) scratch[i] = table_entry(i);
    __syncthreads();
#pragma unroll 1
    for (u32 i = threadIdx.x; i < 256 * LANES; i += blockDim.x) {
        u32 row = i >> 5, lane4 = (i & 31) * 4, v = scratch[row];
#if SC_TABLES == 4
        u32 at = TABLE_AT + row * 256 + lane4;
        *(u32*)shared_pointer(at) = v;
        *(u32*)shared_pointer(at + 128) = rotl(v, 8);
        *(u32*)shared_pointer(at + 65536) = rotl(v, 16);
        *(u32*)shared_pointer(at + 65536 + 128) = rotl(v, 24);
#else
        *(u32*)shared_pointer(TABLE_AT + row * 128 + lane4) = v;
#endif
    }
}

// Table T at byte K of x.
template <int T, int K>
DEV u32 table_at(u32 x, u32 column) {
#if SC_TABLES == 4
    return shared_word(__byte_perm(x, column, 0x6504 | K << 4) + (T & 1) * 128 + (T >> 1) * 65536);
#else
    u32 row = K == 0 ? x << 7 : x >> (8 * K - 7);
    u32 v = shared_word((row & 0x7f80) | column);
    if (T == 1) return __byte_perm(v, 0, 0x2103);
    if (T == 2) return __byte_perm(v, 0, 0x1032);
    if (T == 3) return __byte_perm(v, 0, 0x0321);
    return v;
#endif
}

DEV u32 table_column(u32 a, u32 b, u32 c, u32 d, u32 key, u32 column) {
    return table_at<0, 0>(a, column) ^ table_at<1, 1>(b, column) ^ table_at<2, 2>(c, column) ^
           table_at<3, 3>(d, column) ^ key;
}

// The last round has no mix: the S-box lies in the tables, at the byte where it is wanted.
DEV u32 table_last(u32 a, u32 b, u32 c, u32 d, u32 key, u32 column) {
#if SC_TABLES == 4
    u32 low = __byte_perm(table_at<2, 0>(a, column), table_at<3, 1>(b, column), 0x0050);
    u32 high = __byte_perm(table_at<0, 2>(c, column), table_at<1, 3>(d, column), 0x7200);
#else
    u32 low = __byte_perm(table_at<0, 0>(a, column), table_at<0, 1>(b, column), 0x0051);
    u32 high = __byte_perm(table_at<0, 2>(c, column), table_at<0, 3>(d, column), 0x5100);
#endif
    return __byte_perm(low, high, 0x7610) ^ key;
}

// Rounds `FIRST` to 14. `rk` is an array of registers or of shared memory.
template <int FIRST>
DEV Block table_rounds(const Block* rk, Block s, u32 column) {
#pragma unroll
    for (int r = FIRST; r < 14; r++) {
        Block n;
#pragma unroll
        for (int j = 0; j < 4; j++)
            n.w[j] = table_column(s.w[j], s.w[(j + 1) & 3], s.w[(j + 2) & 3], s.w[(j + 3) & 3],
                                  rk[r].w[j], column);
        s = n;
    }
    Block out;
#pragma unroll
    for (int j = 0; j < 4; j++)
        out.w[j] = table_last(s.w[j], s.w[(j + 1) & 3], s.w[(j + 2) & 3], s.w[(j + 3) & 3],
                              rk[14].w[j], column);
    return out;
}

// The keystream of one chunk. Only two bytes of its counter ever change (a chunk has 1,024 blocks),
// so 14 of 16 lookups of the first round and 8 of the second are done once for the chunk.
struct Stream {
    u32 first[2];  // columns 0 and 1 of round 1, without the counter's part
    u32 second[4]; // round 2, without the columns that change
    u32 key3;      // the counter's word of the first round key
};

DEV Stream stream_start(const Block* rk, const u32* nonce, u32 column) {
    u32 a0 = nonce[0] ^ rk[0].w[0], a1 = nonce[1] ^ rk[0].w[1], a2 = nonce[2] ^ rk[0].w[2], a3 = rk[0].w[3];
    Stream s;
    s.key3 = a3;
    s.first[0] = table_at<0, 0>(a0, column) ^ table_at<1, 1>(a1, column) ^
                 table_at<2, 2>(a2, column) ^ rk[1].w[0];
    s.first[1] = table_at<0, 0>(a1, column) ^ table_at<1, 1>(a2, column) ^
                 table_at<3, 3>(a0, column) ^ rk[1].w[1];
    u32 b2 = table_column(a2, a3, a0, a1, rk[1].w[2], column);
    u32 b3 = table_column(a3, a0, a1, a2, rk[1].w[3], column);
    s.second[0] = table_at<2, 2>(b2, column) ^ table_at<3, 3>(b3, column) ^ rk[2].w[0];
    s.second[1] = table_at<1, 1>(b2, column) ^ table_at<2, 2>(b3, column) ^ rk[2].w[1];
    s.second[2] = table_at<0, 0>(b2, column) ^ table_at<1, 1>(b3, column) ^ rk[2].w[2];
    s.second[3] = table_at<0, 0>(b3, column) ^ table_at<3, 3>(b2, column) ^ rk[2].w[3];
    return s;
}

// The keystream block of a counter below 65,536.
DEV Block stream_block(const Block* rk, const Stream& s, u32 counter,
                       u32 column) {
    u32 a3 = swap32(counter) ^ s.key3;
    u32 b0 = s.first[0] ^ table_at<3, 3>(a3, column);
    u32 b1 = s.first[1] ^ table_at<2, 2>(a3, column);
    Block c;
    c.w[0] = s.second[0] ^ table_at<0, 0>(b0, column) ^ table_at<1, 1>(b1, column);
    c.w[1] = s.second[1] ^ table_at<0, 0>(b1, column) ^ table_at<3, 3>(b0, column);
    c.w[2] = s.second[2] ^ table_at<2, 2>(b0, column) ^ table_at<3, 3>(b1, column);
    c.w[3] = s.second[3] ^ table_at<1, 1>(b0, column) ^ table_at<2, 2>(b1, column);
    return table_rounds<3>(rk, c, column);
}
