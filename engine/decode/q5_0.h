/* Q5_0: 32 elements in 22 bytes.
 *
 *   0       2              6                             22
 *   | d f16 | qh u32:      | 16 bytes, byte j of codes:  |
 *             bit i = bit    | element j+16 : 4 | element j : 4 |  (bits 3-0)
 *             4 of code i
 *
 *   q = nib(B[6 + i%16], i/16) | (u32(2) >> i & 1) << 4        y = (q - 16) * d
 */
#ifndef DECODE_Q5_0_H
#define DECODE_Q5_0_H

#include "prelude.h"

DEC_FN void decode8_q5_0(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 6 + 8 * (g & 1u);
    uint32_t shift = 4 * (g >> 1), qh = dec_u32(block + 2) >> 8 * g;
    float d = dec_f16(block);
    for (uint32_t j = 0; j < 8; j++) {
        uint32_t q = dec_field(qs[j], shift, 15) | (qh >> j & 1u) << 4;
        out[j] = dec_code(q, 16) * d;
    }
}

#define DECODE32_q5_0 1
DEC_FN void decode32_q5_0(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 6;
    float d = dec_f16(block);
    uint32_t qh = dec_u32(block + 2);
    (void)g;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) {
        out[j] = dec_code((qs[j] & 15u) | (qh >> j & 1u) << 4, 16) * d;
    }
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) {
        out[16 + j] = dec_code(dec_field(qs[j], 4, 15) | (qh >> (16 + j) & 1u) << 4, 16) * d;
    }
}

#endif
