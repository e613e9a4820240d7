/* Q4_1: 32 elements in 20 bytes.
 *
 *   0       2       4                             20
 *   | d f16 | m f16 | 16 bytes, byte j of codes:  |
 *                     | element j+16 : 4 | element j : 4 |
 *
 *   q = nib(B[4 + i%16], i/16)        y = (q * d) + m
 */
#ifndef DECODE_Q4_1_H
#define DECODE_Q4_1_H

#include "prelude.h"

DEC_FN void decode8_q4_1(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 4 + 8 * (g & 1u);
    uint32_t shift = 4 * (g >> 1);
    float d = dec_f16(block), m = dec_f16(block + 2);
    for (uint32_t j = 0; j < 8; j++) out[j] = dec_code(dec_field(qs[j], shift, 15), 0) * d + m;
}

#define DECODE32_q4_1 1
DEC_FN void decode32_q4_1(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 4;
    float d = dec_f16(block), m = dec_f16(block + 2);
    (void)g;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[j] = dec_code(qs[j] & 15u, 0) * d + m;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[16 + j] = dec_code(dec_field(qs[j], 4, 15), 0) * d + m;
}

#endif
