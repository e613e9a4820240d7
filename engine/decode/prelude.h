/* What the decoders of this folder may use: the strict C subset that a C compiler and nvcc agree
 * on. Each TYPE.h defines, with TYPE's C name in place of x:
 *
 *   DEC_FN void decode8_x(const uint8_t *block, uint32_t g, float *out);
 *       elements 8g .. 8g+7 of the block at `block` (plain types: of the row at `block`),
 *       bit for bit what the type's definition says, rounding included
 *   DEC_FN float decode1_x(const uint8_t *row, uint32_t i);
 *       plain types (one element per block) only: element i of the row
 *   DEC_FN void decode32_x(const uint8_t *block, uint32_t g, float *out);
 *       elements 32g .. 32g+31; same bits. Types whose groups of 8 share scales write it out and
 *       announce it by #define DECODE32_x 1; the others get it from DEC_32_BY_8(x)
 *
 * In the drawings B[k] is byte k of the block, h(k), u16(k), u32(k) are little-endian loads at byte
 * k, nib(b, t) is nibble t of a byte, i is the element's index in the block, / divides integers.
 * Arithmetic is binary32, parenthesised as it rounds. Infinite and NaN scales propagate as in the
 * formula. A zero code is multiplied like any other: its sign is the scale's.
 *
 * Loads are by byte: blocks have no alignment. No contraction (-ffp-contract=off, --fmad=false).
 * No static data but through DEC_TABLE.
 */
#ifndef DECODE_PRELUDE_H
#define DECODE_PRELUDE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define DEC_FN    __device__ static __forceinline__
#define DEC_TABLE __device__ static const
#else
#define DEC_FN    static inline
#define DEC_TABLE static const
#endif

/* Before a loop of at most 16 rounds that is to become vector instructions: gcc would unroll it
 * first, into scalar ones. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#define DEC_VECTOR _Pragma("GCC unroll 1")
#else
#define DEC_VECTOR
#endif

/* decode32 for a type that gains nothing from a form of its own. */
#define DEC_32_BY_8(x)                                                                             \
    DEC_FN void decode32_##x(const uint8_t *block, uint32_t g, float *out)                         \
    {                                                                                              \
        for (uint32_t k = 0; k < 4; k++) decode8_##x(block, 4 * g + k, out + 8 * k);               \
    }

/* decode8 and decode32 for a plain type of the given size. */
#define DEC_PLAIN(x, bytes)                                                                        \
    DEC_FN void decode8_##x(const uint8_t *row, uint32_t g, float *out)                            \
    {                                                                                              \
        const uint8_t *first = row + (size_t)g * (8 * (bytes));                                    \
        for (uint32_t j = 0; j < 8; j++) out[j] = decode1_##x(first, j);                           \
    }                                                                                              \
    DEC_FN void decode32_##x(const uint8_t *row, uint32_t g, float *out)                           \
    {                                                                                              \
        const uint8_t *first = row + (size_t)g * (32 * (bytes));                                   \
        for (uint32_t j = 0; j < 32; j++) out[j] = decode1_##x(first, j);                          \
    }

/* A little-endian host loads the two bytes at once: loops over halves then vectorise well. */
DEC_FN uint32_t dec_u16(const uint8_t *p)
{
#if !defined(__CUDACC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
#else
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
#endif
}

DEC_FN uint32_t dec_u32(const uint8_t *p)
{
    return dec_u16(p) | dec_u16(p + 2) << 16;
}

DEC_FN int32_t dec_i8(const uint8_t *p)
{
    return (int32_t)(p[0] ^ 0x80u) - 128;
}

/* Bits of v from shift on. */
DEC_FN uint32_t dec_field(uint32_t v, uint32_t shift, uint32_t mask)
{
    return v >> shift & mask;
}

/* Small unsigned code to float, less an offset: exact. */
DEC_FN float dec_code(uint32_t q, int32_t offset)
{
    return (float)((int32_t)q - offset);
}

DEC_FN float dec_bits(uint32_t bits)
{
#ifdef __CUDA_ARCH__
    return __uint_as_float(bits);
#else
    union {
        uint32_t u;
        float f;
    } v;
    v.u = bits;
    return v.f;
#endif
}

DEC_FN uint32_t dec_bits_of(float f)
{
#ifdef __CUDA_ARCH__
    return __float_as_uint(f);
#else
    union {
        uint32_t u;
        float f;
    } v;
    v.f = f;
    return v.u;
#endif
}

/* binary16 to binary32, exact. Half's subnormals are m * 2^-24, made from the integer m, so that no
 * binary32 subnormal appears and a device that flushes those gives the same bits. No branches: the
 * compiler can do several at once. */
DEC_FN float dec_half(uint32_t h)
{
    uint32_t sign = (h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 1023u;
    uint32_t bias = 112u + 112u * (e == 31u), is_small = 0u - (uint32_t)(e == 0u);
    uint32_t normal = (e + bias) << 23 | m << 13;
    uint32_t small = dec_bits_of((float)(int32_t)m * dec_bits(0x33800000u));
    return dec_bits(sign | (small & is_small) | (normal & ~is_small));
}

DEC_FN float dec_f16(const uint8_t *p)
{
    return dec_half(dec_u16(p));
}

#endif
