/* What the reference's decoders share: block sizes, little-endian loads, the walk over blocks. The
 * formulas are those of reference/spec/tensor-types.md.
 *
 * In the drawings above each decoder, B is a block, B[k] its byte k, i the index of a value in
 * the block; nib(b, 0) is bits 0-3 of a byte and nib(b, 1) bits 4-7. All arithmetic is binary32
 * in the order of the parentheses. A zero quant is multiplied like any other: 0 * -d is -0. */
#ifndef DECODE_BLOCK_H
#define DECODE_BLOCK_H

#include "reference/ref.h"

enum {
#define TYPE(e, id, name, c, elems, bytes, use, act) ELEMS_##e = elems, BYTES_##e = bytes,
#include "spec/types.def"
#undef TYPE
};

static inline unsigned u16_at(const uint8_t *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

static inline uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)u16_at(p) | (uint32_t)u16_at(p + 2) << 16;
}

static inline float f16_at(const uint8_t *p)
{
    return ref_f16_to_f32((uint16_t)u16_at(p));
}

static inline int nib(uint8_t b, size_t t)
{
    return (b >> (4 * t)) & 15;
}

/* Defines ref_decode_<c> by c_block(B, y), which decodes one block of type E. */
#define DECODE_BLOCKS(E, c)                                                                        \
    void ref_decode_##c(const uint8_t *blocks, size_t n, float *out)                               \
    {                                                                                              \
        for (size_t k = 0; k < n / ELEMS_##E; k++) {                                               \
            c##_block(blocks + k * BYTES_##E, out + k * ELEMS_##E);                                \
        }                                                                                          \
    }

#endif
