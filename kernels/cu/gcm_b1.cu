// The hash of GCM on one-bit tensor cores: a variant for comparison, not the one in use.
//
// A product with a fixed power of H is linear over GF(2), so it is a 128 x 128 matrix of bits, and a
// sum of products is one product with a taller matrix: AND, count, parity. `mma.m16n8k256` does that
// for 16 rows. docs/decisions/0021 has the mapping and its proof. A warp takes 64 blocks a step, lane l
// blocks l and 32 + l, and the words it loaded are its fragment of A as they lie. Row g of 16 sums the
// blocks 4g to 4g + 3; which block of the four, and which step, is in B. Four steps make a segment;
// then the parities are taken. At the end each lane holds two row sums of one segment and multiplies
// each by its own power.
//
// Chunks that are not whole segments get zero blocks in front, which change nothing.

#include "gcm.cu"

enum {
    B1_STEPS = 4,
    B1_SEGMENT = 64 * B1_STEPS,
    B1_AT = NIBBLES_AT,                 // matrices: 8 KB per step
    B1_POWERS_AT = B1_AT + B1_STEPS * 8192,
    B1_POWERS = 832,
};

// c += popcount(A and B) for rows of A and columns of B: the layout of fragments is the instruction's.
#ifdef __CUDACC__
DEV void mma_b1(s32* c, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
#else
DEV void mma_b1(s32* c, u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    shim::mma_b1(c, a0, a1, a2, a3, b0, b1);
}
#endif

DEV Block b1_power(u32 exponent) { return shared_block(B1_POWERS_AT + 16 * exponent); }

// Powers 1 to 832 from the schedule's 128.
DEV void b1_powers_fill(const Schedule& schedule) {
    for (u32 i = threadIdx.x; i <= POWERS; i += blockDim.x)
        *(Block*)shared_pointer(B1_POWERS_AT + 16 * i) = schedule.power[i];
#pragma unroll 1
    for (u32 have = POWERS; have < B1_POWERS; have *= 2) {
        __syncthreads();
        u32 end = 2 * have < B1_POWERS ? 2 * have : (u32)B1_POWERS;
#pragma unroll 1
        for (u32 i = have + 1 + threadIdx.x; i <= end; i += blockDim.x)
            *(Block*)shared_pointer(B1_POWERS_AT + 16 * i) =
                block_mul(b1_power(have), b1_power(i - have));
    }
    __syncthreads();
}

// The matrices. A warp makes those 32 rows that belong to one word of one of the four blocks of a row
// at one step: lane b multiplies the word's bit b by the weight, and a vote transposes.
DEV void b1_matrices_fill() {
    const u32 lane = threadIdx.x & 31;
#pragma unroll 1
    for (u32 unit = threadIdx.x / LANES; unit < B1_STEPS * 16; unit += GCM_WARPS) {
        const u32 step = unit / 16, place = unit / 4 % 4, word = unit % 4;
        const u32 weight = 64 * (B1_STEPS - 1 - step) + 3 - place;
        Block one = block_zero();
#pragma unroll
        for (u32 i = 0; i < 4; i++) one.w[i] = i == word ? 1u << lane : 0;
        const Block row = weight ? block_mul(b1_power(weight), one) : one;
#pragma unroll 1
        for (u32 column = 0; column < 128; column++) {
            u32 part = row.w[0];
            if (column >= 32) part = row.w[1];
            if (column >= 64) part = row.w[2];
            if (column >= 96) part = row.w[3];
            const u32 bits = __ballot_sync(0xffffffffu, (part >> (column & 31)) & 1);
            const u32 owner = 4 * (column & 7) + place;
            const u32 at = (((step * 16 + column / 8) * 2 + word / 2) * LANES + owner) * 2 + word % 2;
            if (lane == 0) *(u32*)shared_pointer(B1_AT + 4 * at) = bits;
        }
    }
}

struct Pair {
    u32 x, y;
};

DEV Pair b1_fragment(u32 step, u32 tile, u32 half, u32 lane) {
    const Pair* at = (const Pair*)shared_pointer(B1_AT);
    return at[((step * 16 + tile) * 2 + half) * LANES + lane];
}

// The parities of a segment, as two row sums that all four lanes of a row's group share.
DEV void b1_rows(const s32 c[16][4], u32 lane, Block* low, Block* high) {
    const u32 shift = 2 * (lane & 3);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        u32 x = 0, y = 0;
#pragma unroll
        for (int t = 0; t < 4; t++) {
            const s32* q = c[4 * i + t];
            x |= ((u32)(q[0] & 1) | (u32)(q[1] & 1) << 1) << (8 * t);
            y |= ((u32)(q[2] & 1) | (u32)(q[3] & 1) << 1) << (8 * t);
        }
        x <<= shift;
        y <<= shift;
#pragma unroll
        for (int d = 1; d < 4; d *= 2) {
            x |= __shfl_xor_sync(0xffffffffu, x, d);
            y |= __shfl_xor_sync(0xffffffffu, y, d);
        }
        low->w[i] = x;
        high->w[i] = y;
    }
}

// One block: its ciphertext for the hash; its plaintext written. `index` counts from the chunk's start,
// and wraps for the zero blocks in front.
DEV Block b1_block(const GcmSpace& s, const Stream& stream, const Chunk& c, u32 index, u32 column) {
    if (index >= c.blocks) return block_zero();
    const u32 part = c.bytes - 16 * index;
    Block in = part >= 16 ? global_load(c.sealed + 16 * index)
                          : block_load_part(c.sealed + 16 * index, part);
    Block out = block_xor(stream_block(s.rk, stream, index + 2, column), in);
    if (part >= 16)
        global_store(c.plain + 16 * index, out);
    else
        block_store_part(c.plain + 16 * index, out, part);
    return in;
}

DEV GfWide b1_run(const GcmSpace& s, const Chunk& c, const u32* nonce) {
    const u32 lane = threadIdx.x & 31, column = lane_column(lane);
    const u32 segments = (c.blocks + B1_SEGMENT - 1) / B1_SEGMENT;
    const u32 front = segments * B1_SEGMENT - c.blocks;
    const Stream stream = stream_start(s.rk, nonce, column);
    Block low = block_zero(), high = block_zero();
#pragma unroll 1
    for (u32 segment = 0; segment < segments; segment++) {
        s32 sums[16][4];
#pragma unroll
        for (int t = 0; t < 16; t++)
#pragma unroll
            for (int q = 0; q < 4; q++) sums[t][q] = 0;
#pragma unroll 1
        for (u32 step = 0; step < B1_STEPS; step++) {
            const u32 index = segment * B1_SEGMENT + 64 * step + lane - front;
            const Block x = b1_block(s, stream, c, index, column);
            const Block y = b1_block(s, stream, c, index + 32, column);
#pragma unroll
            for (int t = 0; t < 16; t++) {
                const Pair p = b1_fragment(step, t, 0, lane), q = b1_fragment(step, t, 1, lane);
                mma_b1(sums[t], x.w[0], y.w[0], x.w[1], y.w[1], p.x, p.y);
                mma_b1(sums[t], x.w[2], y.w[2], x.w[3], y.w[3], q.x, q.y);
            }
        }
        Block first, second;
        b1_rows(sums, lane, &first, &second);
        // The lane of a group whose number is the segment's keeps it.
        const u32 keep = 0u - (u32)((lane & 3) == segment);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            low.w[i] |= first.w[i] & keep;
            high.w[i] |= second.w[i] & keep;
        }
    }
    // The exponent of row g of this lane's segment; that of row g + 8 is 32 less. The length block has
    // exponent 1, on lane 0.
    const u32 mine = lane & 3, row = lane / 4;
    u32 exponent = (segments - mine) * B1_SEGMENT + 1 - 64 * (B1_STEPS - 1) - 3 - 4 * row;
    if (mine >= segments) exponent = 33; // sums of zero: any power will do
    GfWide wide = gf_mul_wide(gf_of(low), gf_of(b1_power(exponent)));
    GfWide more = gf_mul_wide(gf_of(high), gf_of(b1_power(exponent - 32)));
    Gf length = gf_of(block_zero());
    length.w[3] = lane == 0 ? c.bytes * 8 : 0;
    GfWide last = gf_mul_wide(length, gf_of(b1_power(1)));
#pragma unroll
    for (int i = 0; i < 8; i++) wide.w[i] ^= more.w[i] ^ last.w[i];
    return wide;
}

SC_KERNEL(sc_open_chunks_b1, GcmArgs, GCM_THREADS) {
    SC_SHARED(shared);
    if (shared_address(shared) > NIBBLES_AT) __trap();
    GcmSpace& s = *(GcmSpace*)shared_pointer(REST_AT);
    const u32 t = threadIdx.x, group = t / LANES, lane = t & 31, marked = ~guard_mask(a.guard);
    const u32 tiles = a.tile_first[a.count];
    u32 current = 0xffffffffu;
    tables_fill((u32*)shared_pointer(B1_AT));
#pragma unroll 1
    for (u32 tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        __syncthreads();
        if (t == 0) s.tensor = tile_tensor(a, tile);
        __syncthreads();
        const u32 number = s.tensor;
        const Tensor& tensor = a.tensors[number];
        const u64 index = (u64)(tile - a.tile_first[number]) * GCM_WARPS;
        const u32 state = marked ? tensor.schedule->state : (u32)SC_MARK_WRONG;
        if (number != current) {
            if (t < 60) ((u32*)s.rk)[t] = tensor.schedule->rk[t];
            b1_powers_fill(*tensor.schedule);
            b1_matrices_fill();
            __syncthreads();
        }
        current = number;
        tag_masks(s, tensor, index, GCM_WARPS);
        const bool mine = index + group < tensor.chunks;
        Chunk c = chunk_of(tensor, mine ? index + group : 0);
        if (!mine) c.bytes = c.blocks = 0;
        GfWide wide;
#pragma unroll
        for (int i = 0; i < 8; i++) wide.w[i] = 0;
        if (mine && state == SC_DONE) {
            u32 nonce[3];
            chunk_nonce(nonce, tensor.schedule->nonce, tensor.first + index + group);
            wide = b1_run(s, c, nonce);
        }
        const Block sum = lanes_add(wide);
        __syncthreads();
        if (mine) chunk_settle(tensor, c, block_xor(sum, s.first_block[group]), index + group, state, lane, LANES);
    }
    shared_wipe(shared, GCM_SHARED);
}
