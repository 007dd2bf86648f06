// Arithmetic modulo a 256-bit prime, as a small machine: numbers in shared memory, programs in
// constant memory, one multiplication in the code.
//
// Numbers are in Montgomery form (times 2^256) and below p. Programs and the order of operations are
// the same for every input, so neither branches nor addresses depend on secrets; secret bits act
// only through masks. One thread runs it, and holds no array, so nothing lies in local memory.
#pragma once

#include "common.cuh"

enum FieldKind : u32 { FIELD_MUL, FIELD_ADD, FIELD_SUB };

#define OP(kind, to, x, y) ((u32)(kind) << 24 | (u32)(to) << 16 | (u32)(x) << 8 | (u32)(y))
#define MUL(to, x, y) OP(FIELD_MUL, to, x, y)
#define ADD(to, x, y) OP(FIELD_ADD, to, x, y)
#define SUB(to, x, y) OP(FIELD_SUB, to, x, y)

struct Number {
    u32 w[8]; // little endian
};

// r - p if that is not negative (or if `carry` says that r has a 257th bit), else r.
DEV Number number_reduce(Number r, u32 carry, const u32* p) {
    Number d;
    u64 borrow = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u64 t = (u64)r.w[i] - p[i] - borrow;
        d.w[i] = (u32)t;
        borrow = (t >> 32) & 1;
    }
    // Keep r where the subtraction borrowed and there was no carry.
    u32 keep = 0u - ((u32)borrow & (carry ^ 1));
#pragma unroll
    for (int i = 0; i < 8; i++) d.w[i] = (d.w[i] & ~keep) | (r.w[i] & keep);
    return d;
}

// x y / 2^256 mod p; `fold` is -1/p mod 2^32. Either may be any number below 2^256 if the other is
// below p.
DEV Number number_mul(Number x, Number y, const u32* p, u32 fold) {
    Number t;
    u32 top = 0, over = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) t.w[i] = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u64 c = 0;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            c += (u64)x.w[i] * y.w[j] + t.w[j];
            t.w[j] = (u32)c;
            c >>= 32;
        }
        c += top;
        top = (u32)c;
        over = (u32)(c >> 32);
        u32 m = t.w[0] * fold;
        c = (u64)m * p[0] + t.w[0];
        c >>= 32;
#pragma unroll
        for (int j = 1; j < 8; j++) {
            c += (u64)m * p[j] + t.w[j];
            t.w[j - 1] = (u32)c;
            c >>= 32;
        }
        c += top;
        t.w[7] = (u32)c;
        top = over + (u32)(c >> 32);
    }
    return number_reduce(t, top, p);
}

DEV Number number_add(Number x, Number y, const u32* p) {
    u64 c = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        c += (u64)x.w[i] + y.w[i];
        x.w[i] = (u32)c;
        c >>= 32;
    }
    return number_reduce(x, (u32)c, p);
}

DEV Number number_sub(Number x, Number y, const u32* p) {
    u64 borrow = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u64 t = (u64)x.w[i] - y.w[i] - borrow;
        x.w[i] = (u32)t;
        borrow = (t >> 32) & 1;
    }
    u32 take = 0u - (u32)borrow;
    u64 c = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        c += (u64)x.w[i] + (p[i] & take);
        x.w[i] = (u32)c;
        c >>= 32;
    }
    return x;
}

// Runs a program over the numbers.
DEV void field_run(Number* numbers, const u32* program, u32 count, const u32* p, u32 fold) {
#pragma unroll 1
    for (u32 i = 0; i < count; i++) {
        u32 op = program[i], kind = op >> 24;
        Number x = numbers[(op >> 8) & 255], y = numbers[op & 255], r;
        if (kind == FIELD_MUL)
            r = number_mul(x, y, p, fold);
        else if (kind == FIELD_ADD)
            r = number_add(x, y, p);
        else
            r = number_sub(x, y, p);
        numbers[(op >> 16) & 255] = r;
    }
}

DEV Number number_load(const u32* from) {
    Number r;
#pragma unroll
    for (int i = 0; i < 8; i++) r.w[i] = from[i];
    return r;
}

DEV Number number_zero() {
    Number r;
#pragma unroll
    for (int i = 0; i < 8; i++) r.w[i] = 0;
    return r;
}

// From 32 bytes, the most significant first or last.
DEV Number number_from(const u8* bytes, bool big) {
    Number r = number_zero();
#pragma unroll
    for (int i = 0; i < 32; i++) r.w[i / 4] |= (u32)bytes[big ? 31 - i : i] << (8 * (i & 3));
    return r;
}

DEV void number_to(u8* bytes, Number x, bool big) {
#pragma unroll
    for (int i = 0; i < 32; i++) bytes[big ? 31 - i : i] = (u8)(x.w[i / 4] >> (8 * (i & 3)));
}

// All ones if x is not below p.
DEV u32 number_mask_large(Number x, const u32* p) {
    u64 borrow = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) borrow = (((u64)x.w[i] - p[i] - borrow) >> 32) & 1;
    return (u32)borrow - 1;
}

DEV u32 number_mask_nonzero(Number x) {
    u32 d = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) d |= x.w[i];
    return mask_nonzero(d);
}

// Exchanges x and y where the mask is all ones.
DEV void number_swap(Number& x, Number& y, u32 mask) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
        u32 d = (x.w[i] ^ y.w[i]) & mask;
        x.w[i] ^= d;
        y.w[i] ^= d;
    }
}
