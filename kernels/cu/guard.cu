// Zeroes memory, shows that it is zero, and ends a context that must not go on. [RST-3]

#include "common.cuh"

struct ZeroizeArgs {
    u8* at;
    u64 bytes;
};

SC_KERNEL(sc_zeroize, ZeroizeArgs, 256) {
    u64 step = (u64)gridDim.x * blockDim.x, me = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    // Up to the first multiple of 16, whole blocks, and the rest.
    u64 ahead = (16 - ((u64)a.at & 15)) & 15;
    if (ahead > a.bytes) ahead = a.bytes;
    u64 blocks = (a.bytes - ahead) / 16, tail = ahead + 16 * blocks;
    Block* at = (Block*)(a.at + ahead);
#pragma unroll 1
    for (u64 i = me; i < blocks; i += step) at[i] = block_zero();
    if (me < ahead) a.at[me] = 0;
    if (me < a.bytes - tail) a.at[tail + me] = 0;
}

struct VerifyZeroArgs {
    const u8* at;
    u32* status; // one per block of threads; all must be SC_DONE
    u64 bytes;
};

SC_KERNEL(sc_verify_zero, VerifyZeroArgs, 256) {
    SC_SHARED(shared);
    u32* found = (u32*)shared;
    u64 step = (u64)gridDim.x * blockDim.x, me = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    u64 ahead = (16 - ((u64)a.at & 15)) & 15;
    if (ahead > a.bytes) ahead = a.bytes;
    u64 blocks = (a.bytes - ahead) / 16, tail = ahead + 16 * blocks;
    const Block* at = (const Block*)(a.at + ahead);
    u32 d = 0;
#pragma unroll 1
    for (u64 i = me; i < blocks; i += step) {
        Block b = at[i];
        d |= b.w[0] | b.w[1] | b.w[2] | b.w[3];
    }
    if (me < ahead) d |= a.at[me];
    if (me < a.bytes - tail) d |= a.at[tail + me];
    found[threadIdx.x] = d;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (u32 i = 1; i < blockDim.x; i++) d |= found[i];
        a.status[blockIdx.x] = d ? SC_NOT_ZERO : SC_DONE;
    }
    shared_wipe(shared, 1024);
}

struct TrapArgs {
    u64 pad;
};

// Every later call in the context fails: the last resort, after the zeroizing.
SC_KERNEL(sc_trap, TrapArgs, 32) {
    if (a.pad == 0) __trap();
}
