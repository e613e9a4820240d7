/* Q8_K: 256 elements in 292 bytes. An activation type: its scale is any binary32, so the product
 * rounds.
 *
 *   0       4              260                            292
 *   | d f32 | 256 codes i8 | 16 sums of 16 codes, i16     |
 *
 *   y = i8(4 + i) * d        (the sums serve integer dot products, not decoding)
 */
#ifndef DECODE_Q8_K_H
#define DECODE_Q8_K_H

#include "prelude.h"

DEC_FN void decode8_q8_k(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 4 + 8 * g;
    float d = dec_bits(dec_u32(block));
    for (uint32_t j = 0; j < 8; j++) out[j] = (float)dec_i8(qs + j) * d;
}

DEC_32_BY_8(q8_k)

#endif
