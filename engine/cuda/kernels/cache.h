/* What a KV cache holds as f32, for every type of cache.def, bit for bit as engine/decode has it:
 *
 *   cache_load1(at, type, i)      element i
 *   cache_load8(at, type, i, v)   elements i .. i+7, of one block (plain types: any i)
 *
 * The type is the same for all threads of a launch, so the switch costs no divergence. */
#ifndef CUDA_CACHE_H
#define CUDA_CACHE_H

#include "kernel.h"
#include "decode/all.h"
#include "spec/spec.h"

enum {
#define TYPE(e, id, name, c, elems, bytes, use, act) ELEMS_##c = elems, BYTES_##c = bytes,
#include "spec/types.def"
#undef TYPE
};

/* Element j of the block (plain types: of the row) at b. */
DEVICE_FN float cache1_f32(const uint8_t *b, uint32_t j)
{
    return ((const float *)(const void *)b)[j];
}

DEVICE_FN float cache1_f16(const uint8_t *b, uint32_t j)
{
    return k_from_half(((const uint16_t *)(const void *)b)[j]);
}

DEVICE_FN float cache1_bf16(const uint8_t *b, uint32_t j)
{
    return __uint_as_float((uint32_t)((const uint16_t *)(const void *)b)[j] << 16);
}

DEVICE_FN float cache_scale(const uint8_t *b)
{
    return cache1_f16(b, 0);
}

/* Code j of 32 nibbles. */
DEVICE_FN uint32_t cache_nibble(const uint8_t *codes, uint32_t j)
{
    return (uint32_t)codes[j % 16] >> j / 16 * 4 & 15u;
}

DEVICE_FN float cache1_q8_0(const uint8_t *b, uint32_t j)
{
    return (float)dec_i8(b + 2 + j) * cache_scale(b);
}

DEVICE_FN float cache1_q4_0(const uint8_t *b, uint32_t j)
{
    return dec_code(cache_nibble(b + 2, j), 8) * cache_scale(b);
}

DEVICE_FN float cache1_q5_1(const uint8_t *b, uint32_t j)
{
    uint32_t high = (uint32_t)b[4 + j / 8] >> j % 8 & 1u;
    return dec_code(cache_nibble(b + 8, j) | high << 4, 0) * cache_scale(b) + cache_scale(b + 2);
}

DEVICE_FN float cache1_iq4_nl(const uint8_t *b, uint32_t j)
{
    return cache_scale(b) * dec_iq4_level(cache_nibble(b + 2, j));
}

/* The 32 lanes of a score read 32 rows: 16 bytes of each at a time where they are aligned. */
DEVICE_FN uint32_t cache_aligned(const uint8_t *b)
{
#ifdef MUTANT_wide
    return 1;
#endif
    return (uintptr_t)b % 16 == 0;
}

DEVICE_FN void cache8_f32(const uint8_t *b, uint32_t g, float *v)
{
    b += 32 * (size_t)g;
    if (!cache_aligned(b)) {
        for (uint32_t j = 0; j < 8; j++) v[j] = cache1_f32(b, j);
        return;
    }
    for (uint32_t h = 0; h < 2; h++) {
        float4 f = k_float4(b + 16 * h);
        v[4 * h] = f.x;
        v[4 * h + 1] = f.y;
        v[4 * h + 2] = f.z;
        v[4 * h + 3] = f.w;
    }
}

/* 16 bytes, four to a word. */
DEVICE_FN void cache_words(const uint8_t *b, uint32_t *u)
{
    const uint16_t *h = (const uint16_t *)(const void *)b;
    if (cache_aligned(b)) {
        uint4 w = k_uint4(b);
        u[0] = w.x;
        u[1] = w.y;
        u[2] = w.z;
        u[3] = w.w;
    } else {
        for (uint32_t i = 0; i < 4; i++) u[i] = h[2 * i] | (uint32_t)h[2 * i + 1] << 16;
    }
}

DEVICE_FN void cache8_f16(const uint8_t *b, uint32_t g, float *v)
{
    uint32_t u[4];
    cache_words(b + 16 * (size_t)g, u);
    for (uint32_t i = 0; i < 4; i++) {
        v[2 * i] = k_from_half((uint16_t)(u[i] & 0xffffu));
        v[2 * i + 1] = k_from_half((uint16_t)(u[i] >> 16));
    }
}

DEVICE_FN void cache8_bf16(const uint8_t *b, uint32_t g, float *v)
{
    uint32_t u[4];
    cache_words(b + 16 * (size_t)g, u);
    for (uint32_t i = 0; i < 4; i++) {
        v[2 * i] = __uint_as_float(u[i] << 16);
        v[2 * i + 1] = __uint_as_float(u[i] & 0xffff0000u);
    }
}

#define cache8_q8_0   decode8_q8_0
#define cache8_q4_0   decode8_q4_0
#define cache8_q5_1   decode8_q5_1
#define cache8_iq4_nl decode8_iq4_nl

DEVICE_FN float cache_load1(const uint8_t *at, uint32_t type, uint64_t i)
{
    switch (type) {
#define CACHE(e, c, unit)                                                                          \
    case TYPE_##e:                                                                                 \
        return cache1_##c(at + i / ELEMS_##c * BYTES_##c, (uint32_t)(i % ELEMS_##c));
#include "cache.def"
#undef CACHE
    default:
        return 0.0f; /* the host launches no other */
    }
}

DEVICE_FN void cache_load8(const uint8_t *at, uint32_t type, uint64_t i, float *v)
{
    for (uint32_t j = 0; j < 8; j++) v[j] = 0.0f;
    switch (type) {
#define CACHE(e, c, unit)                                                                          \
    case TYPE_##e:                                                                                 \
        cache8_##c(at + i / ELEMS_##c * BYTES_##c, (uint32_t)(i % ELEMS_##c) / 8, v);              \
        break;
#include "cache.def"
#undef CACHE
    default:
        break;
    }
}

#endif
