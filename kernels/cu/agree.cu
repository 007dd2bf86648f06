// Agreement on X25519 (RFC 7748) and P-256 (SP 800-56A), and the public halves of keys.
//
// One block of threads per job, one thread of it at work: k custodians are answered at once. A public
// key is validated fully: P-256 points must be uncompressed, in range and on the curve; an X25519
// result of zero is refused, for it does not depend on our key. [HS-15]

#include "field.cuh"

// X25519
#define X25519_FOLD 0x286bca1bu
SC_CONSTANT u32 X25519_NUMBERS[5][8] = {
    {0xffffffed, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x7fffffff}, // p
    {0x000005a4, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000}, // R^2 mod p
    {0x00000026, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000}, // R mod p
    {0x00468ba6, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000}, // 121665 R
    {0xffffffeb, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x7fffffff}, // p - 2
};
// P256
#define P256_FOLD 0x00000001u
SC_CONSTANT u32 P256_NUMBERS[8][8] = {
    {0xffffffff, 0xffffffff, 0xffffffff, 0x00000000, 0x00000000, 0x00000000, 0x00000001, 0xffffffff}, // p
    {0x00000003, 0x00000000, 0xffffffff, 0xfffffffb, 0xfffffffe, 0xffffffff, 0xfffffffd, 0x00000004}, // R^2 mod p
    {0x00000001, 0x00000000, 0x00000000, 0xffffffff, 0xffffffff, 0xffffffff, 0xfffffffe, 0x00000000}, // R mod p
    {0x29c4bddf, 0xd89cdf62, 0x78843090, 0xacf005cd, 0xf7212ed6, 0xe5a220ab, 0x04874834, 0xdc30061d}, // b R
    {0xfffffffd, 0xffffffff, 0xffffffff, 0x00000000, 0x00000000, 0x00000000, 0x00000001, 0xffffffff}, // p - 2
    {0xfc632551, 0xf3b9cac2, 0xa7179e84, 0xbce6faad, 0xffffffff, 0xffffffff, 0x00000000, 0xffffffff}, // n
    {0xd898c296, 0xf4a13945, 0x2deb33a0, 0x77037d81, 0x63a440f2, 0xf8bce6e5, 0xe12c4247, 0x6b17d1f2}, // x of G
    {0x37bf51f5, 0xcbb64068, 0x6b315ece, 0x2bce3357, 0x7c0f9e16, 0x8ee7eb4a, 0xfe1a7f9b, 0x4fe342e2}, // y of G
};

struct AgreeJob {
    const u8* secret; // 32 bytes
    const u8* peer;   // 32 or 65 bytes; null for the base point
    u8* out;          // 32 bytes; 65 for a P-256 public key
    u32* status;
};

struct AgreeArgs {
    const AgreeJob* jobs;
    u32 count;
    u32 pad;
};

// The numbers of the X25519 machine.
enum { X1, X2, Z2, X3, Z3, XA, XB, XC, XD, XE, XF, XG, XSCALE, XONE, XSQUARE, X_NUMBERS };

// A step of the ladder: doubles (X2:Z2), adds (X3:Z3) with the difference X1.
SC_CONSTANT u32 X25519_LADDER[] = {
    ADD(XA, X2, Z2), SUB(XB, X2, Z2), ADD(XC, X3, Z3), SUB(XD, X3, Z3), MUL(XD, XD, XA),
    MUL(XC, XC, XB), MUL(XA, XA, XA), MUL(XB, XB, XB), SUB(XE, XA, XB), ADD(X3, XD, XC),
    MUL(X3, X3, X3), SUB(Z3, XD, XC), MUL(Z3, Z3, Z3), MUL(Z3, Z3, X1), MUL(X2, XA, XB),
    MUL(XF, XE, XSCALE), ADD(XF, XF, XA), MUL(Z2, XE, XF),
};
SC_CONSTANT u32 X25519_POWER[] = {MUL(XG, XG, XG), MUL(XG, XG, Z2)};
// Times the number one, not in Montgomery form: out of it.
SC_CONSTANT u32 X25519_END[] = {MUL(X2, X2, XG), MUL(X2, X2, XONE)};

struct X25519Space {
    Number n[X_NUMBERS];
    u8 scalar[32];
    u32 swapped;
};

DEV void x25519_start(X25519Space& s, const AgreeJob& job) {
    bytes_copy(s.scalar, job.secret, 32);
    s.scalar[0] &= 248;
    s.scalar[31] = (s.scalar[31] & 127) | 64;
    Number u = number_zero();
    if (job.peer)
        u = number_from(job.peer, false);
    else
        u.w[0] = 9;
    u.w[7] &= 0x7fffffff; // RFC 7748 section 5
    s.n[XONE] = number_zero();
    s.n[XONE].w[0] = 1;
    s.n[XSQUARE] = number_load(X25519_NUMBERS[1]);
    s.n[XSCALE] = number_load(X25519_NUMBERS[3]);
    s.n[X1] = s.n[X3] = u;
    s.n[X2] = s.n[Z3] = s.n[XG] = number_load(X25519_NUMBERS[2]);
    s.n[Z2] = number_zero();
    s.swapped = 0;
}

// Before step `step` of the ladder: both points change places with the bit.
DEV void x25519_swap(X25519Space& s, u32 bit) {
    u32 mask = 0u - (bit ^ s.swapped);
    s.swapped = bit;
    number_swap(s.n[X2], s.n[X3], mask);
    number_swap(s.n[Z2], s.n[Z3], mask);
}

SC_CONSTANT u32 X25519_BEGIN[] = {MUL(X1, X1, XSQUARE), MUL(X3, X3, XSQUARE)};

SC_KERNEL(sc_agree_x25519, AgreeArgs, 32) {
    SC_SHARED(shared);
    X25519Space& s = *(X25519Space*)shared;
    if (threadIdx.x == 0 && blockIdx.x < a.count) {
        const AgreeJob job = a.jobs[blockIdx.x];
        x25519_start(s, job);
        // Into Montgomery form, 255 steps of the ladder, Z2^(p-2), and out.
#pragma unroll 1
        for (u32 step = 0; step <= 512; step++) {
            const u32* program = X25519_BEGIN;
            u32 count = 2;
            if (step >= 1 && step <= 255) {
                u32 at = 255 - step;
                x25519_swap(s, (s.scalar[at / 8] >> (at & 7)) & 1);
                program = X25519_LADDER;
                count = sizeof X25519_LADDER / 4;
            } else if (step > 255 && step < 512) {
                u32 at = 511 - step; // the exponent is public, its top bit 0
                if (step == 256) x25519_swap(s, 0);
                program = X25519_POWER;
                count = 1 + ((X25519_NUMBERS[4][at / 32] >> (at & 31)) & 1);
            } else if (step == 512) {
                program = X25519_END;
            }
            field_run(s.n, program, count, X25519_NUMBERS[0], X25519_FOLD);
        }
        u32 good = number_mask_nonzero(s.n[X2]);
        number_to(job.out, s.n[X2], false);
        *job.status = good ? SC_DONE : SC_KEY_INVALID;
    }
    shared_wipe(shared, sizeof(X25519Space));
}

// The numbers of the P-256 machine: two points, their sum, five to work with, constants, the table.
enum { PX, PY, PZ, QX, QY, QZ, SX, SY, SZ, T0, T1, T2, T3, T4, PB, PONE, PSQUARE, PG, P_TABLE,
       P_NUMBERS = P_TABLE + 48 };

// Renes, Costello, Batina 2016: complete formulas for a = -3, algorithm 4 (sum of P and Q into S).
SC_CONSTANT u32 P256_ADD[] = {
    MUL(T0, PX, QX), MUL(T1, PY, QY), MUL(T2, PZ, QZ), ADD(T3, PX, PY), ADD(T4, QX, QY),
    MUL(T3, T3, T4), ADD(T4, T0, T1), SUB(T3, T3, T4), ADD(T4, PY, PZ), ADD(SX, QY, QZ),
    MUL(T4, T4, SX), ADD(SX, T1, T2), SUB(T4, T4, SX), ADD(SX, PX, PZ), ADD(SY, QX, QZ),
    MUL(SX, SX, SY), ADD(SY, T0, T2), SUB(SY, SX, SY), MUL(SZ, PB, T2), SUB(SX, SY, SZ),
    ADD(SZ, SX, SX), ADD(SX, SX, SZ), SUB(SZ, T1, SX), ADD(SX, T1, SX), MUL(SY, PB, SY),
    ADD(T1, T2, T2), ADD(T2, T1, T2), SUB(SY, SY, T2), SUB(SY, SY, T0), ADD(T1, SY, SY),
    ADD(SY, T1, SY), ADD(T1, T0, T0), ADD(T0, T1, T0), SUB(T0, T0, T2), MUL(T1, T4, SY),
    MUL(T2, T0, SY), MUL(SY, SX, SZ), ADD(SY, SY, T2), MUL(SX, T3, SX), SUB(SX, SX, T1),
    MUL(SZ, T4, SZ), MUL(T1, T3, T0), ADD(SZ, SZ, T1),
};
// The same, algorithm 6: P doubled into S.
SC_CONSTANT u32 P256_DOUBLE[] = {
    MUL(T0, PX, PX), MUL(T1, PY, PY), MUL(T2, PZ, PZ), MUL(T3, PX, PY), ADD(T3, T3, T3),
    MUL(SZ, PX, PZ), ADD(SZ, SZ, SZ), MUL(SY, PB, T2), SUB(SY, SY, SZ), ADD(SX, SY, SY),
    ADD(SY, SX, SY), SUB(SX, T1, SY), ADD(SY, T1, SY), MUL(SY, SX, SY), MUL(SX, SX, T3),
    ADD(T3, T2, T2), ADD(T2, T2, T3), MUL(SZ, PB, SZ), SUB(SZ, SZ, T2), SUB(SZ, SZ, T0),
    ADD(T3, SZ, SZ), ADD(SZ, SZ, T3), ADD(T3, T0, T0), ADD(T0, T3, T0), SUB(T0, T0, T2),
    MUL(T0, T0, SZ), ADD(SY, SY, T0), MUL(T0, PY, PZ), ADD(T0, T0, T0), MUL(SZ, T0, SZ),
    SUB(SX, SX, SZ), MUL(SZ, T0, T1), ADD(SZ, SZ, SZ), ADD(SZ, SZ, SZ),
};
// Into Montgomery form, and y^2 - (x^3 - 3x + b) into T0.
SC_CONSTANT u32 P256_BEGIN[] = {
    MUL(QX, QX, PSQUARE), MUL(QY, QY, PSQUARE), MUL(T0, QY, QY), MUL(T1, QX, QX),
    MUL(T1, T1, QX),      SUB(T1, T1, QX),      SUB(T1, T1, QX), SUB(T1, T1, QX),
    ADD(T1, T1, PB),      SUB(T0, T0, T1),
};
SC_CONSTANT u32 P256_POWER[] = {MUL(PG, PG, PG), MUL(PG, PG, PZ)};
SC_CONSTANT u32 P256_END[] = {
    MUL(PX, PX, PG), MUL(PY, PY, PG), MUL(PX, PX, PONE), MUL(PY, PY, PONE),
};

struct P256Space {
    Number n[P_NUMBERS];
    u8 scalar[32];
    u32 bad;
};

DEV void p256_start(P256Space& s, const AgreeJob& job) {
    bytes_copy(s.scalar, job.secret, 32);
    Number d = number_from(s.scalar, true);
    s.bad = ~number_mask_nonzero(d) | number_mask_large(d, P256_NUMBERS[5]);
    if (job.peer) {
        s.bad |= mask_nonzero(job.peer[0] ^ 4);
        s.n[QX] = number_from(job.peer + 1, true);
        s.n[QY] = number_from(job.peer + 33, true);
    } else {
        s.n[QX] = number_load(P256_NUMBERS[6]);
        s.n[QY] = number_load(P256_NUMBERS[7]);
    }
    s.bad |= number_mask_large(s.n[QX], P256_NUMBERS[0]);
    s.bad |= number_mask_large(s.n[QY], P256_NUMBERS[0]);
    s.n[PONE] = number_zero();
    s.n[PONE].w[0] = 1;
    s.n[PSQUARE] = number_load(P256_NUMBERS[1]);
    s.n[PB] = number_load(P256_NUMBERS[3]);
    s.n[QZ] = s.n[PY] = s.n[PG] = number_load(P256_NUMBERS[2]);
    s.n[PX] = s.n[PZ] = number_zero(); // infinity
}

// Entry `nibble` of the table into Q, all entries read.
DEV void p256_select(P256Space& s, u32 nibble) {
#pragma unroll 1
    for (u32 part = 0; part < 3; part++) {
        Number r = number_zero();
#pragma unroll 1
        for (u32 i = 0; i < 16; i++) {
            u32 mask = ~mask_nonzero(i ^ nibble);
            const Number& entry = s.n[P_TABLE + 3 * i + part];
#pragma unroll
            for (int w = 0; w < 8; w++) r.w[w] |= entry.w[w] & mask;
        }
        s.n[QX + part] = r;
    }
}

DEV void p256_copy(P256Space& s, u32 to, u32 from) {
#pragma unroll 1
    for (u32 part = 0; part < 3; part++) s.n[to + part] = s.n[from + part];
}

// Steps: 0 begins; 1 to 15 make the table; then 64 nibbles of four doublings and one addition; then
// the inversion of Z; then the end.
enum { P256_NIBBLES = 16, P256_INVERT = P256_NIBBLES + 64 * 5, P256_LAST = P256_INVERT + 256 };

SC_KERNEL(sc_agree_p256, AgreeArgs, 32) {
    SC_SHARED(shared);
    P256Space& s = *(P256Space*)shared;
    if (threadIdx.x == 0 && blockIdx.x < a.count) {
        const AgreeJob job = a.jobs[blockIdx.x];
        p256_start(s, job);
#pragma unroll 1
        for (u32 step = 0; step <= P256_LAST; step++) {
            const u32* program = P256_ADD;
            u32 count = sizeof P256_ADD / 4;
            bool sum = step >= 1 && step < P256_INVERT;
            if (step == 0) {
                program = P256_BEGIN;
                count = sizeof P256_BEGIN / 4;
            } else if (step < P256_NIBBLES) {
                // P is entry step - 1: infinity first.
                p256_copy(s, P_TABLE + 3 * (step - 1), PX);
            } else if (step < P256_INVERT) {
                u32 at = step - P256_NIBBLES, nibble = at / 5;
                if (at == 0) {
                    p256_copy(s, P_TABLE + 45, PX);
                    p256_copy(s, PX, P_TABLE);
                }
                if (at % 5 == 4) {
                    p256_select(s, (s.scalar[nibble / 2] >> ((nibble & 1) ? 0 : 4)) & 15);
                } else {
                    program = P256_DOUBLE;
                    count = sizeof P256_DOUBLE / 4;
                }
            } else if (step < P256_LAST) {
                u32 at = P256_LAST - 1 - step;
                program = P256_POWER;
                count = 1 + ((P256_NUMBERS[4][at / 32] >> (at & 31)) & 1);
            } else {
                program = P256_END;
                count = sizeof P256_END / 4;
            }
            field_run(s.n, program, count, P256_NUMBERS[0], P256_FOLD);
            if (step == 0) s.bad |= number_mask_nonzero(s.n[T0]);
            if (sum) p256_copy(s, PX, SX);
        }
        u32 keep = ~s.bad; // a key that is not valid gives zeros
#pragma unroll
        for (int w = 0; w < 8; w++) {
            s.n[PX].w[w] &= keep;
            s.n[PY].w[w] &= keep;
        }
        if (!job.peer) job.out[0] = 4 & (u8)keep;
        number_to(job.out + (job.peer ? 0 : 1), s.n[PX], true);
        if (!job.peer) number_to(job.out + 33, s.n[PY], true);
        *job.status = s.bad ? SC_KEY_INVALID : SC_DONE;
    }
    shared_wipe(shared, sizeof(P256Space));
}
