/* Values into the types of the KV cache, in the same strict C subset as the decoders. Each type
 * has
 *
 *   DEC_FN void encode32_x(const float *x, uint8_t *block);
 *       32 values: a block, or as many values of a plain type
 *
 * Arithmetic is binary32, rounded to nearest even after every operation, in the order written:
 * the bits are defined. d is the block's scale before it is rounded to f16, and codes come from
 * that one. id is 1 / d, or 0 where d is 0 or 1 / d is not finite. Of equal values, +0 and -0 too,
 * the first counts. A code that would come from NaN is 0.
 */
#ifndef DECODE_CACHE_ENCODE_H
#define DECODE_CACHE_ENCODE_H

#include "prelude.h"
#include "codebook.h"

DEC_FN void enc_u16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v & 255u);
    p[1] = (uint8_t)(v >> 8);
}

/* Round to nearest, ties to even; NaN stays NaN, what is too large becomes infinite. */
DEC_FN uint32_t enc_half(float f)
{
    uint32_t bits = dec_bits_of(f), sign = bits >> 16 & 0x8000u, a = bits & 0x7fffffffu;
    /* Below half's normal numbers: adding 0.5 leaves the multiples of 2^-24 in the low bits,
     * rounded by the addition. */
    uint32_t small = dec_bits_of(dec_bits(a) + 0.5f) - 0x3f000000u;
    uint32_t normal = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
    uint32_t h = a < 0x38800000u ? small : normal;
    h = a >= 0x477ff000u ? 0x7c00u : h; /* 65520 and up */
    h = a > 0x7f800000u ? 0x7e00u : h;
    return sign | h;
}

DEC_FN uint32_t enc_bf16(float f)
{
    uint32_t bits = dec_bits_of(f), a = bits & 0x7fffffffu;
    uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    return a > 0x7f800000u ? bits >> 16 | 0x40u : rounded;
}

DEC_FN float enc_abs(float f)
{
    return dec_bits(dec_bits_of(f) & 0x7fffffffu);
}

/* Towards zero; |f| is small or f is NaN. */
DEC_FN int32_t enc_int(float f)
{
    return f == f ? (int32_t)f : 0;
}

/* To nearest, half away from zero: f - (float)whole is exact. */
DEC_FN int32_t enc_round(float f)
{
    int32_t whole = enc_int(f);
    float rest = f - (float)whole;
    return whole + (rest >= 0.5f) - (rest <= -0.5f);
}

DEC_FN float enc_inverse(float d)
{
    float id = d != 0.0f ? 1.0f / d : 0.0f;
    return enc_abs(id) < dec_bits(0x7f800000u) ? id : 0.0f;
}

/* The value of largest magnitude, the first of equals. */
DEC_FN float enc_largest(const float *x)
{
    float m = x[0];
    for (uint32_t i = 1; i < 32; i++) m = enc_abs(x[i]) > enc_abs(m) ? x[i] : m;
    return m;
}

DEC_FN void encode32_f16(const float *x, uint8_t *out)
{
    for (uint32_t i = 0; i < 32; i++) enc_u16(out + 2 * i, enc_half(x[i]));
}

DEC_FN void encode32_bf16(const float *x, uint8_t *out)
{
    for (uint32_t i = 0; i < 32; i++) enc_u16(out + 2 * i, enc_bf16(x[i]));
}

/* d = max |x| / 127, q = round(x id) */
DEC_FN void encode32_q8_0(const float *x, uint8_t *block)
{
    float d = enc_abs(enc_largest(x)) / 127.0f, id = enc_inverse(d);
    enc_u16(block, enc_half(d));
    for (uint32_t i = 0; i < 32; i++) {
        block[2 + i] = (uint8_t)((uint32_t)enc_round(x[i] * id) & 255u);
    }
}

DEC_FN uint32_t enc_q4_0(float x, float id)
{
    int32_t q = enc_int(x * id + 8.5f);
    return (uint32_t)(q < 15 ? q : 15);
}

/* d = m / -8, m the value of largest magnitude; q = floor(x id + 8.5), at most 15 */
DEC_FN void encode32_q4_0(const float *x, uint8_t *block)
{
    float d = enc_largest(x) / -8.0f, id = enc_inverse(d);
    enc_u16(block, enc_half(d));
    for (uint32_t j = 0; j < 16; j++) {
        block[2 + j] = (uint8_t)(enc_q4_0(x[j], id) | enc_q4_0(x[j + 16], id) << 4);
    }
}

DEC_FN uint32_t enc_q5_1(float above, float id)
{
    int32_t q = enc_int(above * id + 0.5f);
    return (uint32_t)(q < 31 ? q : 31);
}

/* d = (max x - min x) / 31; q = floor((x - min x) id + 0.5), at most 31 */
DEC_FN void encode32_q5_1(const float *x, uint8_t *block)
{
    float lo = x[0], hi = x[0];
    for (uint32_t i = 1; i < 32; i++) {
        lo = x[i] < lo ? x[i] : lo;
        hi = x[i] > hi ? x[i] : hi;
    }
    float d = (hi - lo) / 31.0f, id = enc_inverse(d);
    uint32_t high = 0;
    enc_u16(block, enc_half(d));
    enc_u16(block + 2, enc_half(lo));
    for (uint32_t j = 0; j < 16; j++) {
        uint32_t a = enc_q5_1(x[j] - lo, id), b = enc_q5_1(x[j + 16] - lo, id);
        high |= a >> 4 << j | b >> 4 << (j + 16);
        block[8 + j] = (uint8_t)((a & 15u) | (b & 15u) << 4);
    }
    enc_u16(block + 4, high & 0xffffu);
    enc_u16(block + 6, high >> 16);
}

/* The level nearest to v, the lowest of equals. */
DEC_FN uint32_t enc_iq4_level(float v)
{
    uint32_t best = 0;
    float least = enc_abs(v - dec_iq4_level(0));
    for (uint32_t code = 1; code < 16; code++) {
        float distance = enc_abs(v - dec_iq4_level(code));
        best = distance < least ? code : best;
        least = distance < least ? distance : least;
    }
    return best;
}

/* d = m / -127, m the value of largest magnitude; q = the level nearest to x id */
DEC_FN void encode32_iq4_nl(const float *x, uint8_t *block)
{
    float d = enc_largest(x) / -127.0f, id = enc_inverse(d);
    enc_u16(block, enc_half(d));
    for (uint32_t j = 0; j < 16; j++) {
        block[2 + j] = (uint8_t)(enc_iq4_level(x[j] * id) | enc_iq4_level(x[j + 16] * id) << 4);
    }
}

#endif
