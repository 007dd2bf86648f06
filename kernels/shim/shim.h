// Runs a kernel's text on the CPU: every CUDA thread is a fiber, every block runs to its end.
//
// Deterministic: warps run in order, and within a warp lanes run in order from one synchronisation to
// the next. Stricter than a GPU where that finds bugs:
// - shared memory holds 0xA5 before each block and must be zero after it;
// - a lane that waits where its siblings do not, or that leaves while others wait, fails the launch;
// - memory from `sc_shim_alloc` has fences on both sides that every launch checks.
// It does not model time, caches or the order of memory between warps.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <mutex>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define SC_CONSTANT static const

namespace shim {

struct Dim {
    unsigned x;
};

enum Wait : uint8_t { RUNS, WARP, BLOCK, LEFT };

struct Lane {
    void* sp;
    unsigned char* stack;
    void* fake;
    Wait wait;
};

typedef void (*Body)(const void* args);

struct Kernel {
    const char* name;
    unsigned threads;
    size_t args;
    Body body;
    Kernel* next;
};

// Stacks are only touched as deep as they are used.
static const size_t STACK = 256 << 10;

struct Machine {
    std::vector<Lane> lanes;
    unsigned current = 0;
    void* main_sp = nullptr;
    void* main_fake = nullptr;
    const void* main_bottom = nullptr;
    size_t main_size = 0;
    Body body = nullptr;
    const void* args = nullptr;
    unsigned char* shared = nullptr;
    // Two buffers in turn, so that one wait separates a write from the reads of all siblings.
    uint32_t exchange[2][1024];
    uint8_t turn[1024];
    uint32_t wide[2][1024][6];
    uint64_t clock = 0;
    bool trapped = false;
    char message[256];
    ~Machine() {
        for (Lane& lane : lanes) munmap(lane.stack, STACK);
    }
};

static Kernel* kernels = nullptr;
static thread_local Machine machine;

struct Registration {
    Kernel kernel;
    Registration(const char* name, unsigned threads, size_t args, Body body)
        : kernel{name, threads, args, body, kernels} {
        kernels = &kernel;
    }
};

static thread_local Dim thread_index, block_index, block_dim, grid_dim;

#if defined(__x86_64__)
// Saves what a call must keep, swaps stacks, and returns on the other one.
asm(R"(
.text
.p2align 4
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static const size_t SAVED = 6;
#elif defined(__aarch64__)
asm(R"(
.text
.p2align 4
shim_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
#else
#error "the shim switches stacks on x86-64 and aarch64 only"
#endif
extern "C" void shim_switch(void** from, void* to) __asm__("shim_switch");

static void enter_lane(unsigned lane) {
    Machine& m = machine;
    m.current = lane;
    thread_index.x = lane;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&m.main_fake, m.lanes[lane].stack, STACK);
#endif
    shim_switch(&m.main_sp, m.lanes[lane].sp);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(m.main_fake, nullptr, nullptr);
#endif
}

static void leave_lane(Wait wait) {
    Machine& m = machine;
    Lane& lane = m.lanes[m.current];
    lane.wait = wait;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(wait == LEFT ? nullptr : &lane.fake, m.main_bottom, m.main_size);
#endif
    shim_switch(&lane.sp, m.main_sp);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(lane.fake, &m.main_bottom, &m.main_size);
#endif
}

static void lane_entry() {
    Machine& m = machine;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &m.main_bottom, &m.main_size);
#endif
    m.body(m.args);
    leave_lane(LEFT);
    abort();
}

static void prepare_lane(Lane& lane) {
    if (!lane.stack) {
        void* memory = mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        lane.stack = (unsigned char*)memory;
    }
    void** top = (void**)(lane.stack + STACK - 64);
#if defined(__x86_64__)
    *--top = nullptr;
    *--top = (void*)lane_entry;
    for (size_t i = 0; i < SAVED; i++) *--top = nullptr;
#else
    top -= 20;
    memset(top, 0, 160);
    top[11] = (void*)lane_entry;
#endif
    lane.sp = top;
    lane.wait = RUNS;
    lane.fake = nullptr;
}

static bool fail(const char* what) {
    snprintf(machine.message, sizeof machine.message, "%s", what);
    return false;
}

// Runs one warp until all of its lanes wait for the block or have left.
static bool run_warp(unsigned first, unsigned end) {
    Machine& m = machine;
    for (;;) {
        unsigned count[4] = {0, 0, 0, 0};
        for (unsigned i = first; i < end; i++) {
            if (m.lanes[i].wait == RUNS) enter_lane(i);
            count[m.lanes[i].wait]++;
            if (m.trapped) return fail("trap");
        }
        if (count[WARP] == 0) {
            if (count[BLOCK] && count[LEFT]) return fail("a lane left while others wait for the block");
            return true;
        }
        if (count[WARP] != end - first) return fail("lanes of a warp wait at different places");
        for (unsigned i = first; i < end; i++) m.lanes[i].wait = RUNS;
    }
}

static bool run_block(unsigned threads) {
    Machine& m = machine;
    for (Lane& lane : m.lanes) prepare_lane(lane);
    memset(m.turn, 0, sizeof m.turn);
    for (;;) {
        unsigned waiting = 0;
        for (unsigned first = 0; first < threads; first += 32) {
            unsigned end = first + 32 < threads ? first + 32 : threads;
            if (!run_warp(first, end)) return false;
            for (unsigned i = first; i < end; i++) waiting += m.lanes[i].wait == BLOCK;
        }
        if (waiting == 0) return true;
        if (waiting != threads) return fail("warps of a block wait at different places");
        for (Lane& lane : m.lanes) lane.wait = RUNS;
    }
}

static bool all_are(const unsigned char* bytes, size_t count, unsigned char value) {
    for (size_t i = 0; i < count; i++)
        if (bytes[i] != value) return false;
    return true;
}

// Allocations with a fence on each side.
struct Area {
    unsigned char* base;
    size_t size;
};
static const size_t FENCE = 256;
static const unsigned char FENCE_BYTE = 0xC3;
static std::vector<Area> areas;
static std::mutex areas_lock;

static bool fences_hold() {
    std::lock_guard<std::mutex> lock(areas_lock);
    for (const Area& area : areas)
        if (!all_are(area.base, FENCE, FENCE_BYTE) ||
            !all_are(area.base + FENCE + area.size, FENCE, FENCE_BYTE))
            return false;
    return true;
}

static bool launch(const Kernel& kernel, unsigned grid, unsigned threads, size_t shared,
                   const void* args) {
    Machine& m = machine;
    m.lanes.resize(threads > m.lanes.size() ? threads : m.lanes.size());
    std::vector<Lane> rest(m.lanes.begin() + threads, m.lanes.end());
    m.lanes.resize(threads);
    m.body = kernel.body;
    m.args = args;
    m.trapped = false;
    grid_dim.x = grid;
    block_dim.x = threads;
    // A fence after the shared memory of the block.
    std::vector<unsigned char> room(shared + FENCE + 128);
    m.shared = (unsigned char*)(((uintptr_t)room.data() + 127) & ~(uintptr_t)127);
    bool good = true;
    for (unsigned block = 0; good && block < grid; block++) {
        memset(m.shared, 0xA5, shared);
        memset(m.shared + shared, FENCE_BYTE, FENCE - 128);
        block_index.x = block;
        good = run_block(threads);
        if (good && !all_are(m.shared + shared, FENCE - 128, FENCE_BYTE))
            good = fail("wrote past the shared memory of the block");
        if (good && !all_are(m.shared, shared, 0)) good = fail("left shared memory unwiped");
    }
    if (good && !fences_hold()) good = fail("wrote outside of device memory");
    m.lanes.insert(m.lanes.end(), rest.begin(), rest.end());
    return good;
}

// The window of a multiprocessor: what a block may use begins a kilobyte into it.
static const uint32_t WINDOW = 0x400;
static inline uint32_t shared_address(const void* p) {
    return (uint32_t)((const unsigned char*)p - machine.shared) + WINDOW;
}
static inline void* shared_pointer(uint32_t at) { return machine.shared + (at - WINDOW); }

static inline uint32_t exchange(uint32_t value, unsigned from) {
    Machine& m = machine;
    unsigned lane = m.current, turn = m.turn[lane] & 1;
    m.turn[lane] ^= 1;
    m.exchange[turn][lane] = value;
    leave_lane(WARP);
    return m.exchange[turn][(lane & ~31u) | (from & 31)];
}

static inline uint32_t ballot(bool vote) {
    Machine& m = machine;
    unsigned lane = m.current, turn = m.turn[lane] & 1;
    m.turn[lane] ^= 1;
    m.exchange[turn][lane] = vote;
    leave_lane(WARP);
    uint32_t votes = 0;
    for (unsigned i = 0; i < 32; i++) votes |= m.exchange[turn][(lane & ~31u) | i] << i;
    return votes;
}

// mma.m16n8k256 with bits, AND and population count, by the definition of its fragments: lane 4g + q
// holds, of A, row g (a0, a2) and row g + 8 (a1, a3) at bits 32 q and 128 + 32 q; of B, the same bits
// of column g; of C, columns 2q and 2q + 1 of both rows.
static inline void mma_b1(int32_t* c, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                          uint32_t b0, uint32_t b1) {
    Machine& m = machine;
    unsigned lane = m.current, turn = m.turn[lane] & 1, warp = lane & ~31u;
    m.turn[lane] ^= 1;
    uint32_t* mine = m.wide[turn][lane];
    mine[0] = a0, mine[1] = a1, mine[2] = a2, mine[3] = a3, mine[4] = b0, mine[5] = b1;
    leave_lane(WARP);
    unsigned group = (lane & 31) / 4, q = lane & 3;
    for (unsigned row = 0; row < 2; row++)
        for (unsigned column = 0; column < 2; column++)
            for (unsigned k = 0; k < 4; k++) {
                const uint32_t* a = m.wide[turn][warp + 4 * group + k];
                const uint32_t* b = m.wide[turn][warp + 4 * (2 * q + column) + k];
                c[2 * row + column] += __builtin_popcount(a[row] & b[4]);
                c[2 * row + column] += __builtin_popcount(a[2 + row] & b[5]);
            }
}

}  // namespace shim

#define threadIdx shim::thread_index
#define blockIdx shim::block_index
#define blockDim shim::block_dim
#define gridDim shim::grid_dim

#define SC_SHARED(name) unsigned char* name = shim::machine.shared
#ifndef SC_VARIANT
#define SC_VARIANT ""
#endif
#define SC_KERNEL(name, Args, threads)                                                    \
    static void name(const Args& a);                                                      \
    static shim::Registration name##_registration(#name, threads, sizeof(Args),           \
                                                  [](const void* args) {                  \
                                                      name(*(const Args*)args);           \
                                                  });                                     \
    static void name(const Args& a)

static inline void __syncthreads() { shim::leave_lane(shim::BLOCK); }
static inline void __syncwarp() { shim::leave_lane(shim::WARP); }
static inline uint32_t __shfl_xor_sync(uint32_t, uint32_t value, int mask) {
    return shim::exchange(value, (shim::machine.current & 31) ^ (unsigned)mask);
}
static inline uint32_t __ballot_sync(uint32_t, int vote) { return shim::ballot(vote != 0); }
static inline uint32_t __shfl_sync(uint32_t, uint32_t value, int lane) {
    return shim::exchange(value, (unsigned)lane);
}
static inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t select) {
    uint64_t both = ((uint64_t)b << 32) | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++)
        result |= (uint32_t)((both >> (8 * ((select >> (4 * i)) & 7))) & 255) << (8 * i);
    return result;
}
static inline uint32_t __popc(uint32_t x) { return (uint32_t)__builtin_popcount(x); }
// Not time: a sequence that looks like jitter, the same in every run.
static inline uint64_t clock64() {
    uint64_t x = shim::machine.clock += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
static inline void __trap() {
    shim::machine.trapped = true;
    shim::leave_lane(shim::LEFT);
}
