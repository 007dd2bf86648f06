// Opens and seals chunks of 16 KiB under AES-256-GCM, many tensors in one launch.
//
// A chunk belongs to one warp (or, for comparison, to two or four): lane l takes blocks l, l + 32, …
// and runs Horner's rule with H^32, so all lanes of all warps share one table of nibbles. The length
// block is the last step of whichever lane is next. At the end each lane multiplies by its own power
// and the lanes are added up. The table has eight copies, so a 16-byte lookup never meets a
// neighbour's bank either: no access time depends on a secret.
//
// A chunk whose tag is wrong is overwritten with zeros before the kernel ends, and so is every chunk
// of a tensor whose schedule is not good or whose launch finds another mark. `sc_settle` then makes
// the tensor whole: all of it, or zeros. [SEAL-7] [RST-5]

#pragma once

#include "tables.cuh"

// Whether the mappings for comparison are built in.
#ifndef SC_COMPARE
#define SC_COMPARE 1
#endif

// One tensor of a launch. `sealed` and `plain` are aligned to 16 bytes; so are the strides.
struct Tensor {
    const Schedule* schedule;
    u8* sealed;     // the first chunk's ciphertext
    u8* tags;       // the first chunk's tag, at any alignment; null if tags lie behind their chunks
    u8* plain;      // may be `sealed`, with the same stride
    u32* status;    // one word per chunk
    u64 bytes;      // of plaintext
    u64 first;      // number of the first chunk in its message
    u64 chunks;     // all full, but the last may be short or empty
    u64 stride;       // between chunks of `sealed`
    u64 plain_stride; // between chunks of `plain`
    u64 tag_stride;   // between tags
    u64 pad;
};

struct GcmArgs {
    const Tensor* tensors;
    const u32* tile_first; // number of each tensor's first tile, and of all tiles: count + 1 entries
    u32 count;
    u32 pad;
    Guard guard;
};

enum {
    GCM_THREADS = 512,
    GCM_WARPS = GCM_THREADS / LANES,
};

// Behind the tables.
struct GcmSpace {
    Block rk[15];
    Block first_block[GCM_WARPS]; // keystream of counter 1, which masks the tag
    Block sum[GCM_WARPS];
    u32 tensor;
    u32 pad[3];
};

// What a launch asks for: enough wherever in the window it begins.
enum { GCM_SHARED = REST_AT + sizeof(GcmSpace) };

// Copy l mod 8 of the products of `power` with every nibble at every place.
DEV void nibbles_fill(Block power) {
    Gf p = gf_of(power);
#pragma unroll 1
    for (u32 e = threadIdx.x; e < 512; e += blockDim.x) {
        u32 place = e >> 4, value = e & 15, byte = place >> 1;
        u32 bits = ((place & 1) ? value : value << 4) << (8 * (byte & 3));
        Block b = block_zero();
#pragma unroll
        for (u32 i = 0; i < 4; i++) b.w[i] = (byte >> 2) == i ? bits : 0;
        Block product = gf_block(gf_mul(p, gf_of(b)));
        Block* row = (Block*)shared_pointer(NIBBLES_AT + place_offset(place) + value * 128);
#pragma unroll
        for (u32 copy = 0; copy < 8; copy++) row[(copy + e) & 7] = product;
    }
}

// A lane's copy of place 0.
DEV u32 lane_copy(u32 lane) { return NIBBLES_AT | (lane & 7) * 16; }

// sum * power + next, 32 lookups. Even places are the high nibbles of bytes.
DEV Block nibbles_step(Block sum, Block next, u32 copy) {
#pragma unroll
    for (int w = 0; w < 4; w++)
#pragma unroll
        for (int q = 0; q < 8; q++) {
            const int place = 2 * (4 * w + (q >> 1)) + ((q & 1) ? 0 : 1), shift = 4 * q - 7;
            u32 x = shift < 0 ? sum.w[w] << (-shift & 31) : sum.w[w] >> (shift & 31);
            next = block_xor(next, shared_block(((x & 0x780) | copy) + place_offset(place)));
        }
    return next;
}

// The tensor to which a tile belongs. The tiles of a launch are public.
DEV u32 tile_tensor(const GcmArgs& a, u32 tile) {
    u32 low = 0, high = a.count;
#pragma unroll 1
    while (high - low > 1) {
        u32 middle = (low + high) / 2;
        if (a.tile_first[middle] <= tile)
            low = middle;
        else
            high = middle;
    }
    return low;
}

DEV void chunk_nonce(u32* nonce, const u32* base, u64 index) {
    nonce[0] = base[0];
    nonce[1] = base[1] ^ swap32((u32)(index >> 32));
    nonce[2] = base[2] ^ swap32((u32)index);
}

struct Chunk {
    u8* sealed;
    u8* plain;
    u32 bytes;
    u32 blocks; // the last may be short
};

DEV Chunk chunk_of(const Tensor& tensor, u64 index) {
    Chunk c;
    u64 left = tensor.bytes - index * CHUNK_BYTES;
    c.bytes = left < CHUNK_BYTES ? (u32)left : (u32)CHUNK_BYTES;
    c.blocks = (c.bytes + 15) / 16;
    c.sealed = tensor.sealed + index * tensor.stride;
    c.plain = tensor.plain + index * tensor.plain_stride;
    return c;
}

// What one thread needs from block to block. Round keys 3 to 14 are in registers.
struct Runner {
    Block rk[15];
    Stream stream;
    u32 column;
    u32 copy;
};

// One block: hash and keystream. `part` bytes of it count; the others enter the hash as zeros.
template <bool SEAL>
DEV Block runner_step(const Runner& r, Block& sum, Block in, u32 index, u32 part) {
    if (!SEAL) sum = nibbles_step(sum, in, r.copy);
    Block out = block_xor(stream_block(r.rk, r.stream, index + 2, r.column), in);
    if (part < 16)
#pragma unroll
        for (u32 b = 0; b < 16; b++)
            if (b >= part) out.w[b >> 2] &= ~(255u << (8 * (b & 3)));
    if (SEAL) sum = nibbles_step(sum, out, r.copy);
    return out;
}

// Opens or seals this thread's blocks, and gives its share of the tag's hash, not yet reduced.
template <bool SEAL, int WARPS>
DEV GfWide chunk_run(const GcmSpace& s, const Chunk& c, const Schedule& schedule, const u32* nonce,
                     u32 thread) {
    const u32 stride = WARPS * LANES;
    Runner r;
#pragma unroll
    for (int i = 3; i < 15; i++) r.rk[i] = s.rk[i];
    r.column = lane_column(threadIdx.x & 31);
    r.copy = lane_copy(threadIdx.x & 31);
    r.stream = stream_start(s.rk, nonce, r.column);
    const u8* from = SEAL ? c.plain : c.sealed;
    u8* to = SEAL ? c.sealed : c.plain;
    const u32 whole = c.bytes / 16, part = c.bytes & 15;
    Block sum = block_zero();
    u32 i = thread;
#pragma unroll 1
    for (; i < whole; i += stride)
        global_store(to + 16 * i, runner_step<SEAL>(r, sum, global_load(from + 16 * i), i, 16));
    // One more than the blocks that are left when the thread's last one was taken.
    u32 exponent = c.blocks + 1 + stride - i;
    if (part && thread == whole % stride) {
        Block in = block_load_part(from + 16 * whole, part);
        block_store_part(to + 16 * whole, runner_step<SEAL>(r, sum, in, whole, part), part);
        exponent = 2;
    }
    if (thread == c.blocks % stride) {
        Block length = block_zero();
        length.w[3] = swap32(c.bytes * 8);
        sum = nibbles_step(sum, length, r.copy);
        exponent = 1;
    }
    // A thread without a block has a sum of zero, and any power will do.
    if (exponent > POWERS) exponent = 1;
    return gf_mul_wide(gf_of(sum), gf_of(schedule.power[exponent]));
}

// The sum over all lanes, reduced once.
DEV Block lanes_add(GfWide z) {
#pragma unroll
    for (int d = 16; d; d >>= 1)
#pragma unroll
        for (int i = 0; i < 8; i++) z.w[i] ^= __shfl_xor_sync(0xffffffffu, z.w[i], d);
    return gf_block(gf_reduce(z));
}

DEV void chunk_zero(const Chunk& c, u32 thread, u32 stride) {
#pragma unroll 1
    for (u32 i = thread; i < c.blocks; i += stride) {
        if (i < c.bytes / 16)
            *(Block*)(c.plain + 16 * i) = block_zero();
        else
            block_store_part(c.plain + 16 * i, block_zero(), c.bytes & 15);
    }
}

// The keystream of counter 1 for each chunk of a tile, by the first warp.
DEV void tag_masks(GcmSpace& s, const Tensor& tensor, u64 index, u32 chunks) {
    const u32 t = threadIdx.x;
    if (t < LANES) {
        Block counter;
        chunk_nonce(counter.w, tensor.schedule->nonce, tensor.first + index + t);
        counter.w[3] = swap32(1);
        counter = block_xor(counter, s.rk[0]);
        Block mask = table_rounds<1>(s.rk, counter, lane_column(t & 31));
        if (t < chunks) s.first_block[t] = mask;
    }
}

// Compares the tag, zeroes a chunk that is not good, and writes its status.
DEV void chunk_settle(const Tensor& tensor, const Chunk& c, Block tag, u64 number, u32 state,
                      u32 thread, u32 stride) {
    const u8* at = tensor.tags ? tensor.tags + number * tensor.tag_stride : c.sealed + c.bytes;
    const Block given = block_xor(block_load_part(at, 16), tag);
    const u32 differ = given.w[0] | given.w[1] | given.w[2] | given.w[3];
    if (state != SC_DONE || differ) chunk_zero(c, thread, stride); // [SEAL-7]
    if (state == SC_DONE) state = SC_TAG_WRONG - (~mask_nonzero(differ) & 1);
    if (thread == 0) tensor.status[number] = state;
}

template <bool SEAL, int WARPS>
DEV void gcm_run(const GcmArgs& a, unsigned char* shared) {
    // The tables' places are fixed in the window; a block whose memory begins behind them cannot run.
    if (shared_address(shared) > NIBBLES_AT) __trap();
    GcmSpace& s = *(GcmSpace*)shared_pointer(REST_AT);
    const u32 t = threadIdx.x, group = t / (WARPS * LANES);
    const u32 thread = t % (WARPS * LANES), marked = ~guard_mask(a.guard);
    const u32 tiles = a.tile_first[a.count];
    u32 current = 0xffffffffu;
    tables_fill((u32*)shared_pointer(NIBBLES_AT));
#pragma unroll 1
    for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        __syncthreads();
        if (t == 0) s.tensor = tile_tensor(a, tile);
        __syncthreads();
        const u32 number = s.tensor;
        const Tensor& tensor = a.tensors[number];
        const u64 index = (u64)(tile - a.tile_first[number]) * (GCM_WARPS / WARPS);
        const u32 state = marked ? tensor.schedule->state : (u32)SC_MARK_WRONG;
        if (number != current) {
            if (t < 60) ((u32*)s.rk)[t] = tensor.schedule->rk[t];
            nibbles_fill(tensor.schedule->power[WARPS * LANES]);
            __syncthreads();
        }
        current = number;
        tag_masks(s, tensor, index, GCM_WARPS / WARPS);
        const bool mine = index + group < tensor.chunks;
        Chunk c = chunk_of(tensor, mine ? index + group : 0);
        if (!mine) c.bytes = c.blocks = 0;
        GfWide wide;
#pragma unroll
        for (int i = 0; i < 8; i++) wide.w[i] = 0;
        if (mine && state == SC_DONE) {
            u32 nonce[3];
            chunk_nonce(nonce, tensor.schedule->nonce, tensor.first + index + group);
            wide = chunk_run<SEAL, WARPS>(s, c, *tensor.schedule, nonce, thread);
        }
        Block sum = lanes_add(wide);
        if (WARPS > 1 && (t & 31) == 0) s.sum[t / LANES] = sum;
        __syncthreads();
        if (WARPS > 1) {
            sum = block_zero();
#pragma unroll
            for (int w = 0; w < WARPS; w++) sum = block_xor(sum, s.sum[group * WARPS + w]);
        }
        if (!mine) continue;
        const Block tag = block_xor(sum, s.first_block[group]);
        if (!SEAL) {
            chunk_settle(tensor, c, tag, index + group, state, thread, WARPS * LANES);
        } else if (thread == 0) {
            u8* at = tensor.tags ? tensor.tags + (index + group) * tensor.tag_stride
                                 : c.sealed + c.bytes;
            if (state == SC_DONE) block_store_part(at, tag, 16);
            tensor.status[index + group] = state;
        }
    }
    shared_wipe(shared, GCM_SHARED);
}

#define GCM_KERNEL(name, seal, warps)           \
    SC_KERNEL(name, GcmArgs, GCM_THREADS) {     \
        SC_SHARED(shared);                      \
        gcm_run<seal, warps>(a, shared);     \
    }

GCM_KERNEL(sc_open_chunks, false, 1)
GCM_KERNEL(sc_seal_chunks, true, 1)
#if SC_COMPARE
GCM_KERNEL(sc_open_chunks_w2, false, 2)
GCM_KERNEL(sc_open_chunks_w4, false, 4)
#endif

struct Settled {
    u64 index; // of the first chunk that is not good, in its message
    u32 status;
    u32 pad;
};

struct SettleArgs {
    const Tensor* tensors;
    Settled* settled; // one per tensor
};

// One block of threads per opened tensor, whose plaintext has no gaps: says whether all chunks are
// good, and if not, zeroes all of them.
SC_KERNEL(sc_settle, SettleArgs, 256) {
    SC_SHARED(shared);
    u32* worst = (u32*)shared;
    const Tensor& tensor = a.tensors[blockIdx.x];
    const u32 t = threadIdx.x;
    u32 bad = 0xffffffffu; // BOUND: a message has 2^38 chunks at most, a launch far fewer than 2^32
#pragma unroll 1
    for (u64 i = t; i < tensor.chunks; i += blockDim.x)
        if (tensor.status[i] != SC_DONE && bad == 0xffffffffu) bad = (u32)i;
    worst[t] = bad;
    __syncthreads();
#pragma unroll 1
    for (u32 d = blockDim.x / 2; d; d /= 2) {
        if (t < d && worst[t + d] < worst[t]) worst[t] = worst[t + d];
        __syncthreads();
    }
    bad = worst[0];
    if (t == 0) {
        Settled& out = a.settled[blockIdx.x];
        out.index = bad == 0xffffffffu ? 0 : tensor.first + bad;
        out.status = bad == 0xffffffffu ? (u32)SC_DONE : tensor.status[bad];
        out.pad = 0;
    }
    if (bad != 0xffffffffu)
#pragma unroll 1
        for (u64 i = 16 * (u64)t; i < tensor.bytes; i += 16 * blockDim.x) {
            u64 left = tensor.bytes - i;
            block_store_part(tensor.plain + i, block_zero(), left < 16 ? (u32)left : 16);
        }
    shared_wipe(shared, 1024);
}
