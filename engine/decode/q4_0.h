/* Q4_0: 32 elements in 18 bytes.
 *
 *   0       2                             18
 *   | d f16 | 16 bytes, byte j of codes:  |
 *             | element j+16 : 4 | element j : 4 |
 *
 *   q = nib(B[2 + i%16], i/16)        y = (q - 8) * d
 */
#ifndef DECODE_Q4_0_H
#define DECODE_Q4_0_H

#include "prelude.h"

DEC_FN void decode8_q4_0(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 2 + 8 * (g & 1u);
    uint32_t shift = 4 * (g >> 1);
    float d = dec_f16(block);
    for (uint32_t j = 0; j < 8; j++) out[j] = dec_code(dec_field(qs[j], shift, 15), 8) * d;
}

#define DECODE32_q4_0 1
DEC_FN void decode32_q4_0(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 2;
    float d = dec_f16(block);
    (void)g;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[j] = dec_code(qs[j] & 15u, 8) * d;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[16 + j] = dec_code(dec_field(qs[j], 4, 15), 8) * d;
}

#endif
