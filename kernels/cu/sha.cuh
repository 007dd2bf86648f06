// SHA-256 and SHA-512, and whatever is built from them: one hash, HMAC, HKDF, X9.63.
//
// One thread runs a short program of steps over a workspace in shared memory. So the compression
// function appears once per kernel, its registers hold the state, and nothing lies in local memory.
// Lengths and the order of steps are public; only bytes are secret.
#pragma once

#include "common.cuh"

SC_CONSTANT u32 SHA256_ROUNDS[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

SC_CONSTANT u32 SHA256_START[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

SC_CONSTANT u64 SHA512_ROUNDS[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

SC_CONSTANT u64 SHA512_START[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

struct Sha256 {
    typedef u32 Word;
    enum { ROUNDS = 64, BLOCK = 64, DIGEST = 32, BITS = 32 };
    static __device__ __forceinline__ Word start(u32 i) { return SHA256_START[i]; }
    static __device__ __forceinline__ Word round(u32 i) { return SHA256_ROUNDS[i]; }
    static __device__ __forceinline__ Word rot(Word x, u32 n) { return (x >> n) | (x << (32 - n)); }
    static __device__ __forceinline__ Word big0(Word x) { return rot(x, 2) ^ rot(x, 13) ^ rot(x, 22); }
    static __device__ __forceinline__ Word big1(Word x) { return rot(x, 6) ^ rot(x, 11) ^ rot(x, 25); }
    static __device__ __forceinline__ Word small0(Word x) { return rot(x, 7) ^ rot(x, 18) ^ (x >> 3); }
    static __device__ __forceinline__ Word small1(Word x) { return rot(x, 17) ^ rot(x, 19) ^ (x >> 10); }
    static __device__ __forceinline__ Word load(const u32* w, u32 i) { return swap32(w[i]); }
};

struct Sha512 {
    typedef u64 Word;
    enum { ROUNDS = 80, BLOCK = 128, DIGEST = 64, BITS = 64 };
    static __device__ __forceinline__ Word start(u32 i) { return SHA512_START[i]; }
    static __device__ __forceinline__ Word round(u32 i) { return SHA512_ROUNDS[i]; }
    static __device__ __forceinline__ Word rot(Word x, u32 n) { return (x >> n) | (x << (64 - n)); }
    static __device__ __forceinline__ Word big0(Word x) { return rot(x, 28) ^ rot(x, 34) ^ rot(x, 39); }
    static __device__ __forceinline__ Word big1(Word x) { return rot(x, 14) ^ rot(x, 18) ^ rot(x, 41); }
    static __device__ __forceinline__ Word small0(Word x) { return rot(x, 1) ^ rot(x, 8) ^ (x >> 7); }
    static __device__ __forceinline__ Word small1(Word x) { return rot(x, 19) ^ rot(x, 61) ^ (x >> 6); }
    static __device__ __forceinline__ Word load(const u32* w, u32 i) {
        return (u64)swap32(w[2 * i]) << 32 | swap32(w[2 * i + 1]);
    }
};

enum StepKind : u32 {
    STEP_START,  // a new hash
    STEP_PAD,    // a block of key bytes, zeros behind them, each combined with `pad`
    STEP_BYTES,  // what is to be hashed
    STEP_FINISH, // padding; the digest, or its first `count` bytes, go to `to`
};

struct Step {
    const u8* from;
    u8* to;
    u64 count;
    u32 kind;
    u32 pad;
};

enum { STEPS_MAX = 24 };

// All in shared memory. `inner` and `key` are for HMAC; `extra` is the caller's.
template <class H>
struct HashSpace {
    typename H::Word h[8];
    u32 buffer[H::BLOCK / 4];
    u8 inner[64];
    u8 key[64];
    u8 chain[64];
    u8 extra[256];
    Step steps[STEPS_MAX];
    u32 count;
    u32 overflow;
};

template <class H>
DEV void sha_compress(HashSpace<H>& s) {
    typedef typename H::Word Word;
    Word v[8], w[16];
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = s.h[i];
#pragma unroll
    for (int i = 0; i < 16; i++) w[i] = H::load(s.buffer, i);
#pragma unroll 1
    for (u32 first = 0; first < H::ROUNDS; first += 16) {
#pragma unroll
        for (int i = 0; i < 16; i++) {
            Word choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
            Word most = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
            Word t = v[7] + H::big1(v[4]) + choose + H::round(first + i) + w[i];
            Word u = H::big0(v[0]) + most;
            v[7] = v[6];
            v[6] = v[5];
            v[5] = v[4];
            v[4] = v[3] + t;
            v[3] = v[2];
            v[2] = v[1];
            v[1] = v[0];
            v[0] = t + u;
            // The word of sixteen rounds later takes the place of the one just used.
            w[i] += H::small0(w[(i + 1) & 15]) + w[(i + 9) & 15] + H::small1(w[(i + 14) & 15]);
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) s.h[i] += v[i];
}

// One byte of a step's stream. `total` is what was hashed before the padding.
template <class H>
DEV u8 sha_stream(const Step& step, u64 at, u64 length, u64 total) {
    if (step.kind == STEP_BYTES) return step.from[at];
    if (step.kind == STEP_PAD) return (u8)((at < step.count ? step.from[at] : 0) ^ step.pad);
    if (at == 0) return 0x80;
    u64 left = length - 1 - at;
    return left < 8 ? (u8)((total * 8) >> (8 * left)) : 0;
}

// Runs the steps and forgets them. The caller is one thread.
template <class H>
DEV void sha_run(HashSpace<H>& s) {
    u8* buffer = (u8*)s.buffer;
    u64 total = 0;
    u32 fill = 0;
#pragma unroll 1
    for (u32 n = 0; n < s.count; n++) {
        const Step step = s.steps[n];
        u64 length = step.count;
        if (step.kind == STEP_START) {
#pragma unroll 1
            for (u32 i = 0; i < 8; i++) s.h[i] = H::start(i);
            total = 0;
            fill = 0;
            continue;
        }
        if (step.kind == STEP_PAD) length = H::BLOCK;
        if (step.kind == STEP_FINISH) {
            u32 room = H::BLOCK - fill;
            length = room >= 1 + H::BLOCK / 8 ? room : room + H::BLOCK;
        }
#pragma unroll 1
        for (u64 at = 0; at < length;) {
            bool whole = step.kind == STEP_BYTES && fill == 0 && length - at >= H::BLOCK &&
                         ((u64)(step.from + at) & 3) == 0;
            if (whole) {
                const u32* words = (const u32*)(step.from + at);
#pragma unroll
                for (int i = 0; i < H::BLOCK / 4; i++) s.buffer[i] = words[i];
                at += H::BLOCK;
                fill = H::BLOCK;
            } else {
#pragma unroll 1
                for (; fill < H::BLOCK && at < length; fill++, at++)
                    buffer[fill] = sha_stream<H>(step, at, length, total);
            }
            if (fill == H::BLOCK) {
                sha_compress<H>(s);
                fill = 0;
            }
        }
        if (step.kind != STEP_FINISH) total += length;
        if (step.kind == STEP_FINISH) {
#pragma unroll 1
            for (u32 i = 0; i < step.count && i < H::DIGEST; i++) {
                u32 per = H::BITS / 8;
                step.to[i] = (u8)(s.h[i / per] >> (H::BITS - 8 - 8 * (i % per)));
            }
        }
    }
    s.count = 0;
}

template <class H>
DEV void step_add(HashSpace<H>& s, u32 kind, const u8* from, u64 count, u8* to, u32 pad) {
    if (s.count == STEPS_MAX) {
        s.overflow = 1;
        return;
    }
    Step& step = s.steps[s.count++];
    step.from = from;
    step.to = to;
    step.count = count;
    step.kind = kind;
    step.pad = pad;
}

template <class H>
DEV void hash_start(HashSpace<H>& s) {
    step_add(s, STEP_START, 0, 0, 0, 0);
}

template <class H>
DEV void hash_bytes(HashSpace<H>& s, const u8* from, u64 count) {
    step_add(s, STEP_BYTES, from, count, 0, 0);
}

template <class H>
DEV void hash_finish(HashSpace<H>& s, u8* to, u64 count) {
    step_add(s, STEP_FINISH, 0, count, to, 0);
}

// HMAC: start, then the message through `hash_bytes`, then finish with the same key. A key longer
// than a block is first hashed into `s.key`.
template <class H>
DEV void hmac_start(HashSpace<H>& s, const u8* key, u64 count) {
    if (count > H::BLOCK) {
        hash_start(s);
        hash_bytes(s, key, count);
        hash_finish(s, s.key, H::DIGEST);
        key = s.key;
        count = H::DIGEST;
    }
    hash_start(s);
    step_add(s, STEP_PAD, key, count, 0, 0x36);
}

template <class H>
DEV void hmac_finish(HashSpace<H>& s, const u8* key, u64 count, u8* to, u64 want) {
    if (count > H::BLOCK) {
        key = s.key;
        count = H::DIGEST;
    }
    hash_finish(s, s.inner, H::DIGEST);
    hash_start(s);
    step_add(s, STEP_PAD, key, count, 0, 0x5c);
    hash_bytes(s, s.inner, H::DIGEST);
    hash_finish(s, to, want);
}
