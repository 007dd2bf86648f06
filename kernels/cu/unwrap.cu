// What opens a share: AES-KW and KWP, a small AEAD, HPKE.
//
// One thread each. On failure the output is zero and the status says which rule failed.

#include "aes.cuh"
#include "gf128.cuh"
#include "sha.cuh"

struct WrapArgs {
    const u8* kek; // 32 bytes
    const u8* wrapped;
    u8* out;        // wrapped_bytes - 8
    u64* out_bytes; // how many of them count
    u32* status;
    u64 wrapped_bytes;
};

struct WrapSpace {
    u32 rk[60];
    u32 pad;
};

// Decrypts the wrapping of RFC 3394 into `out`, and gives the first half block. One block of text
// (16 bytes wrapped) is a plain decryption, as RFC 5649 wants it.
DEV void wrap_open(const WrapArgs& a, WrapSpace& s, u32* head) {
    bytes_copy((u8*)s.rk, a.kek, 32);
    aes_expand(s.rk);
    u32 n = (u32)(a.wrapped_bytes / 8) - 1, rounds = n == 1 ? 1 : 6 * n;
    Block b = block_load_part(a.wrapped, 8);
    bytes_copy(a.out, a.wrapped + 8, a.wrapped_bytes - 8);
#pragma unroll 1
    for (u32 t = rounds; t; t--) {
        u8* half = a.out + 8 * ((t - 1) % n);
        Block r = block_load_part(half, 8);
        b.w[2] = r.w[0];
        b.w[3] = r.w[1];
        if (n > 1) b.w[1] ^= swap32(t);
        b = aes_decrypt(s.rk, b);
        r.w[0] = b.w[2];
        r.w[1] = b.w[3];
        block_store_part(half, r, 8);
    }
    head[0] = b.w[0];
    head[1] = b.w[1];
}

DEV void wrap_end(const WrapArgs& a, u32 bad, u64 bytes) {
    if (bad) bytes_zero(a.out, a.wrapped_bytes - 8);
    *a.out_bytes = bad ? 0 : bytes;
    *a.status = bad ? SC_WRAP_WRONG : SC_DONE;
}

SC_KERNEL(sc_unwrap_kw, WrapArgs, 32) {
    SC_SHARED(shared);
    if (threadIdx.x == 0) {
        // RFC 3394 wraps two half blocks or more.
        if (a.wrapped_bytes < 24 || a.wrapped_bytes % 8) {
            *a.out_bytes = 0;
            *a.status = SC_LENGTH_WRONG;
        } else {
            u32 head[2];
            wrap_open(a, *(WrapSpace*)shared, head);
            u32 bad = mask_nonzero((head[0] ^ 0xa6a6a6a6u) | (head[1] ^ 0xa6a6a6a6u));
            wrap_end(a, bad, a.wrapped_bytes - 8);
        }
    }
    shared_wipe(shared, sizeof(WrapSpace));
}

SC_KERNEL(sc_unwrap_kwp, WrapArgs, 32) {
    SC_SHARED(shared);
    if (threadIdx.x == 0) {
        if (a.wrapped_bytes < 16 || a.wrapped_bytes % 8) {
            *a.out_bytes = 0;
            *a.status = SC_LENGTH_WRONG;
        } else {
            u32 head[2];
            wrap_open(a, *(WrapSpace*)shared, head);
            // The head holds A65959A6 and the length; seven bytes of padding at most, all zero. One
            // verdict over all of it, so that nothing tells which part was wrong.
            u32 room = (u32)a.wrapped_bytes - 8, length = swap32(head[1]);
            u32 bad = (head[0] ^ 0xa65959a6u) | ((room - length) & ~7u);
#pragma unroll 1
            for (u32 i = room - 8; i < room; i++) {
                u32 padding = 0u - (u32)((i - length) >> 31 ^ 1);
                bad |= a.out[i] & padding;
            }
            wrap_end(a, mask_nonzero(bad), length);
        }
    }
    shared_wipe(shared, sizeof(WrapSpace));
}

struct AeadArgs {
    const u8* key;   // 32 bytes
    const u8* nonce; // 12 bytes
    const u8* aad;
    const u8* sealed; // ciphertext, then the tag
    u8* out;
    u32* status;
    u64 aad_bytes;
    u64 sealed_bytes;
};

struct AeadSpace {
    u32 rk[60];
    Block hash_key;
    Block sum;
    Block tag_mask;
};

DEV void aead_absorb(AeadSpace& s, const u8* from, u64 bytes) {
#pragma unroll 1
    for (u64 at = 0; at < bytes; at += 16) {
        u64 left = bytes - at;
        Block b = block_load_part(from + at, left < 16 ? (u32)left : 16);
        s.sum = block_mul(block_xor(s.sum, b), s.hash_key);
    }
}

// AES-256-GCM with a 96-bit nonce: for shares, a few dozen bytes. All ones if the tag is wrong.
DEV u32 aead_open(AeadSpace& s, const u8* key, const u8* nonce, const u8* aad, u64 aad_bytes,
                  const u8* sealed, u64 bytes, u8* out) {
    bytes_copy((u8*)s.rk, key, 32);
    aes_expand(s.rk);
    s.sum = block_zero();
    // Block 0 gives the hash key, block 1 masks the tag, the rest is the keystream.
    u64 blocks = 2 + (bytes + 15) / 16;
#pragma unroll 1
    for (u64 i = 0; i < blocks; i++) {
        Block counter = block_load_part(nonce, 12);
        counter.w[3] = swap32((u32)i);
        if (i == 0) counter = block_zero();
        Block k = aes_encrypt(s.rk, counter);
        if (i == 0) s.hash_key = k;
        if (i == 1) s.tag_mask = k;
        if (i == 1) aead_absorb(s, aad, aad_bytes);
        if (i < 2) continue;
        u64 at = 16 * (i - 2), left = bytes - at;
        u32 part = left < 16 ? (u32)left : 16;
        Block c = block_load_part(sealed + at, part);
        block_store_part(out + at, block_xor(c, k), part);
        s.sum = block_mul(block_xor(s.sum, c), s.hash_key);
    }
    Block lengths;
    lengths.w[0] = swap32((u32)(aad_bytes >> 29));
    lengths.w[1] = swap32((u32)(aad_bytes << 3));
    lengths.w[2] = swap32((u32)(bytes >> 29));
    lengths.w[3] = swap32((u32)(bytes << 3));
    Block tag = block_xor(block_mul(block_xor(s.sum, lengths), s.hash_key), s.tag_mask);
    Block d = block_xor(tag, block_load_part(sealed + bytes, 16));
    u32 bad = mask_nonzero(d.w[0] | d.w[1] | d.w[2] | d.w[3]);
    if (bad) bytes_zero(out, bytes);
    return bad;
}

SC_KERNEL(sc_open_aead, AeadArgs, 32) {
    SC_SHARED(shared);
    if (threadIdx.x == 0) {
        if (a.sealed_bytes < 16) {
            *a.status = SC_LENGTH_WRONG;
        } else {
            u32 bad = aead_open(*(AeadSpace*)shared, a.key, a.nonce, a.aad, a.aad_bytes, a.sealed,
                                a.sealed_bytes - 16, a.out);
            *a.status = bad ? SC_TAG_WRONG : SC_DONE;
        }
    }
    shared_wipe(shared, sizeof(AeadSpace));
}

struct HpkeArgs {
    const u8* agreed;        // 32 bytes, from the agreement with `enc`
    const u32* agreed_status;
    const u8* enc;
    const u8* own; // the recipient's public key, as long as `enc`
    const u8* info;
    const u8* aad;
    const u8* sealed;
    u8* out;
    u32* status;
    u64 enc_bytes;
    u64 info_bytes;
    u64 aad_bytes;
    u64 sealed_bytes;
    u32 kem; // 0x0010 or 0x0020
    u32 pad;
};

// Labels of RFC 9180, where they begin, and how long they are.
SC_CONSTANT u8 HPKE_TEXT[] = "HPKE-v1eae_prkshared_secretpsk_id_hashinfo_hashsecretkeybase_nonce";
SC_CONSTANT u8 HPKE_AT[8][2] = {{0, 7},   {7, 7},   {14, 13}, {27, 11},
                                {38, 9},  {47, 6},  {53, 3},  {56, 10}};
enum { HPKE_VERSION, EAE_PRK, SHARED_SECRET, PSK_ID_HASH, INFO_HASH, SECRET, KEY, BASE_NONCE };

struct HpkeSpace {
    HashSpace<Sha256> hash;
    AeadSpace aead;
    u8 text[80];
    u8 kem_id[8];    // "KEM", kem
    u8 suite_id[16]; // "HPKE", kem, kdf, aead
    u8 length[4];    // of an expansion, in two bytes; then the counter 1
    u8 prk[32];
    u8 shared_secret[32];
    u8 context[72]; // mode, psk_id_hash, info_hash
    u8 secret[32];
    u8 key[32];
    u8 nonce[32];
};

DEV void hpke_label(HpkeSpace& s, u32 label) {
    hash_bytes(s.hash, s.text + HPKE_AT[label][0], HPKE_AT[label][1]);
}

DEV void hpke_suite(HpkeSpace& s, bool kem) {
    hpke_label(s, HPKE_VERSION);
    if (kem)
        hash_bytes(s.hash, s.kem_id, 5);
    else
        hash_bytes(s.hash, s.suite_id, 10);
}

DEV void hpke_extract(HpkeSpace& s, bool kem, const u8* salt, u64 salt_bytes, u32 label,
                      const u8* from, u64 bytes, u8* to) {
    hmac_start(s.hash, salt, salt_bytes);
    hpke_suite(s, kem);
    hpke_label(s, label);
    hash_bytes(s.hash, from, bytes);
    hmac_finish(s.hash, salt, salt_bytes, to, 32);
}

// Up to 32 bytes: one hash.
DEV void hpke_expand(HpkeSpace& s, bool kem, const u8* prk, u32 label, const u8* one, u64 one_bytes,
                     const u8* two, u64 two_bytes, u8* to, u8 length) {
    s.length[0] = 0;
    s.length[1] = length;
    s.length[2] = 1;
    hmac_start(s.hash, prk, 32);
    hash_bytes(s.hash, s.length, 2);
    hpke_suite(s, kem);
    hpke_label(s, label);
    hash_bytes(s.hash, one, one_bytes);
    hash_bytes(s.hash, two, two_bytes);
    hash_bytes(s.hash, s.length + 2, 1);
    hmac_finish(s.hash, prk, 32, to, length);
}

// One HMAC of the key schedule.
DEV void hpke_phase(HpkeSpace& s, const HpkeArgs& a, u32 phase) {
    switch (phase) {
        case EAE_PRK: hpke_extract(s, true, 0, 0, EAE_PRK, a.agreed, 32, s.prk); break;
        case SHARED_SECRET:
            hpke_expand(s, true, s.prk, SHARED_SECRET, a.enc, a.enc_bytes, a.own, a.enc_bytes,
                        s.shared_secret, 32);
            break;
        case PSK_ID_HASH:
            hpke_extract(s, false, 0, 0, PSK_ID_HASH, 0, 0, s.context + 1);
            break;
        case INFO_HASH:
            hpke_extract(s, false, 0, 0, INFO_HASH, a.info, a.info_bytes, s.context + 33);
            break;
        case SECRET: hpke_extract(s, false, s.shared_secret, 32, SECRET, 0, 0, s.secret); break;
        case KEY: hpke_expand(s, false, s.secret, KEY, s.context, 65, 0, 0, s.key, 32); break;
        default:
            hpke_expand(s, false, s.secret, BASE_NONCE, s.context, 65, 0, 0, s.nonce, 12);
    }
}

DEV void hpke_start(HpkeSpace& s, const HpkeArgs& a) {
    s.hash.count = 0;
    s.hash.overflow = 0;
    bytes_copy(s.text, HPKE_TEXT, sizeof HPKE_TEXT);
    u8 kem = (u8)a.kem;
    s.kem_id[0] = 'K';
    s.kem_id[1] = 'E';
    s.kem_id[2] = 'M';
    s.kem_id[3] = 0;
    s.kem_id[4] = kem;
    bytes_copy(s.suite_id, HPKE_TEXT, 4);
    s.suite_id[4] = 0;
    s.suite_id[5] = kem;
    s.suite_id[6] = 0;
    s.suite_id[7] = 1; // HKDF-SHA256
    s.suite_id[8] = 0;
    s.suite_id[9] = 2; // AES-256-GCM
    s.context[0] = 0;  // mode base
}

// RFC 9180 in base mode, first message, after the agreement.
SC_KERNEL(sc_open_hpke, HpkeArgs, 32) {
    SC_SHARED(shared);
    HpkeSpace& s = *(HpkeSpace*)shared;
    if (threadIdx.x == 0) {
        if (a.sealed_bytes < 16) {
            *a.status = SC_LENGTH_WRONG;
        } else if (*a.agreed_status != SC_DONE) {
            bytes_zero(a.out, a.sealed_bytes - 16);
            *a.status = SC_KEY_INVALID;
        } else {
            hpke_start(s, a);
#pragma unroll 1
            for (u32 phase = EAE_PRK; phase <= BASE_NONCE; phase++) {
                hpke_phase(s, a, phase);
                sha_run(s.hash);
            }
            u32 bad = aead_open(s.aead, s.key, s.nonce, a.aad, a.aad_bytes, a.sealed,
                                a.sealed_bytes - 16, a.out);
            *a.status = bad ? SC_TAG_WRONG : SC_DONE;
        }
    }
    shared_wipe(shared, sizeof(HpkeSpace));
}
