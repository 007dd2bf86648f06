// What every kernel leans on: types, the two ways to compile, bytes, wiping, status words.
//
// The same text is compiled by nvcc for a GPU and by g++ against `shim/shim.h` for tests. What that
// asks of it: one struct of arguments per kernel, shared memory only through SC_SHARED, no C++
// library, every barrier reached by all threads that wait for it.
//
// Rules that the tests and the build hold it to:
// - every kernel leaves shared memory zero (SC_WIPE); the shim fails a launch that does not;
// - no kernel has a stack frame or spills, so no secret reaches local memory; the build fails else;
// - no branch and no address depends on a secret, except lookups that are free of bank conflicts.
#pragma once

#include <stdint.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;

#ifdef __CUDACC__
#define SC_KERNEL(name, Args, threads) \
    extern "C" __global__ void __launch_bounds__(threads, 1) name(const __grid_constant__ Args a)
extern __shared__ __align__(128) unsigned char sc_shared[];
#define SC_SHARED(name) unsigned char* name = sc_shared
#define SC_CONSTANT static __constant__
#else
#include "../shim/shim.h"
#endif

#define DEV static __device__ __forceinline__

// What a kernel says about its work. Zero is what memory holds before a kernel ran, and is no pass.
enum Status : u32 {
    SC_DONE = 1,
    SC_TAG_WRONG = 2,
    SC_COMMITMENT_WRONG = 3,
    SC_MARK_WRONG = 4,
    SC_KEY_INVALID = 5,
    SC_LENGTH_WRONG = 6,
    SC_WRAP_WRONG = 7,
    SC_INDEX_WRONG = 8,
    SC_STUCK = 9,
    SC_BIASED = 10,
    SC_TOO_FEW = 11,
    SC_NOT_ZERO = 12,
};

// A 16-byte block as four words in the order of memory.
struct __align__(16) Block {
    u32 w[4];
};

DEV u32 rotl(u32 x, u32 n) { return (x << n) | (x >> (32 - n)); }
DEV u32 swap32(u32 x) { return __byte_perm(x, 0, 0x0123); }

DEV Block block_xor(Block a, Block b) {
    Block r;
#pragma unroll
    for (int i = 0; i < 4; i++) r.w[i] = a.w[i] ^ b.w[i];
    return r;
}

DEV Block block_zero() {
    Block r;
#pragma unroll
    for (int i = 0; i < 4; i++) r.w[i] = 0;
    return r;
}

// `count` bytes, then zeros; `count` is public and below 16.
DEV Block block_load_part(const u8* from, u32 count) {
    Block r = block_zero();
#pragma unroll
    for (u32 i = 0; i < 16; i++)
        if (i < count) r.w[i >> 2] |= (u32)from[i] << (8 * (i & 3));
    return r;
}

DEV void block_store_part(u8* to, Block b, u32 count) {
#pragma unroll
    for (u32 i = 0; i < 16; i++)
        if (i < count) to[i] = (u8)(b.w[i >> 2] >> (8 * (i & 3)));
}

// All ones if x is not zero, without a branch.
DEV u32 mask_nonzero(u32 x) { return (u32)((s32)(x | (0u - x)) >> 31); }

// All ones if the two areas differ.
DEV u32 mask_differ(const u8* x, const u8* y, u32 count) {
    u32 d = 0;
#pragma unroll 1
    for (u32 i = 0; i < count; i++) d |= (u32)(x[i] ^ y[i]);
    return mask_nonzero(d);
}

DEV void bytes_zero(u8* to, u64 count) {
#pragma unroll 1
    for (u64 i = 0; i < count; i++) to[i] = 0;
}

DEV void bytes_copy(u8* to, const u8* from, u64 count) {
#pragma unroll 1
    for (u64 i = 0; i < count; i++) to[i] = from[i];
}

// Shared memory by its address in the multiprocessor's window, 32 bits. Tables that lie on a multiple
// of their size can be indexed without an addition: the base is part of the index.
#ifdef __CUDACC__
DEV u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
DEV void* shared_pointer(u32 at) { return __cvta_shared_to_generic(at); }
#else
DEV u32 shared_address(const void* p) { return shim::shared_address(p); }
DEV void* shared_pointer(u32 at) { return shim::shared_pointer(at); }
#endif

// A block of device memory, streamed: it is used once.
#ifdef __CUDACC__
DEV Block global_load(const u8* from) {
    uint4 v = __ldcs((const uint4*)from);
    Block b = {{v.x, v.y, v.z, v.w}};
    return b;
}
DEV void global_store(u8* to, Block b) {
    __stcs((uint4*)to, make_uint4(b.w[0], b.w[1], b.w[2], b.w[3]));
}
#else
DEV Block global_load(const u8* from) { return *(const Block*)from; }
DEV void global_store(u8* to, Block b) { *(Block*)to = b; }
#endif

DEV u32 shared_word(u32 at) { return *(const u32*)shared_pointer(at); }
DEV Block shared_block(u32 at) { return *(const Block*)shared_pointer(at); }

// Zeroes shared memory with all threads of the block. Volatile: nothing reads it afterwards.
DEV void shared_wipe(unsigned char* shared, u32 bytes) {
    __syncthreads();
    volatile u32* words = (volatile u32*)shared;
#pragma unroll 1
    for (u32 i = threadIdx.x; i < bytes / 4; i += blockDim.x) words[i] = 0;
}

// The mark of the incarnation: what lies in device memory, and what the launch expects. [RST-5]
struct Guard {
    const u32* mark; // null where no incarnation exists, as in tests of a primitive
    u32 expected[8];
};

// All ones if the mark is not the expected one.
DEV u32 guard_mask(const Guard& guard) {
    u32 d = 0;
    if (guard.mark) {
#pragma unroll
        for (int i = 0; i < 8; i++) d |= guard.mark[i] ^ guard.expected[i];
    }
    return mask_nonzero(d);
}
