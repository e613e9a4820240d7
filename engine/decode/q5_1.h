/* Q5_1: 32 elements in 24 bytes.
 *
 *   0       2       4              8                             24
 *   | d f16 | m f16 | qh u32:      | 16 bytes, byte j of codes:  |
 *                     bit i = bit    | element j+16 : 4 | element j : 4 |  (bits 3-0)
 *                     4 of code i
 *
 *   q = nib(B[8 + i%16], i/16) | (u32(4) >> i & 1) << 4        y = (q * d) + m
 */
#ifndef DECODE_Q5_1_H
#define DECODE_Q5_1_H

#include "prelude.h"

DEC_FN void decode8_q5_1(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 8 + 8 * (g & 1u);
    uint32_t shift = 4 * (g >> 1), qh = dec_u32(block + 4) >> 8 * g;
    float d = dec_f16(block), m = dec_f16(block + 2);
    for (uint32_t j = 0; j < 8; j++) {
        uint32_t q = dec_field(qs[j], shift, 15) | (qh >> j & 1u) << 4;
        out[j] = dec_code(q, 0) * d + m;
    }
}

#define DECODE32_q5_1 1
DEC_FN void decode32_q5_1(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 8;
    float d = dec_f16(block), m = dec_f16(block + 2);
    uint32_t qh = dec_u32(block + 4);
    (void)g;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) {
        out[j] = dec_code((qs[j] & 15u) | (qh >> j & 1u) << 4, 0) * d + m;
    }
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) {
        out[16 + j] = dec_code(dec_field(qs[j], 4, 15) | (qh >> (16 + j) & 1u) << 4, 0) * d + m;
    }
}

#endif
