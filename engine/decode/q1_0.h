/* Q1_0: 128 elements in 18 bytes.
 *
 *   0       2                       18
 *   | d f16 | 16 bytes of bits      |
 *   bit i%8 of byte i/8 is element i
 *
 *   y = bit ? d : -d
 */
#ifndef DECODE_Q1_0_H
#define DECODE_Q1_0_H

#include "prelude.h"

DEC_FN void decode8_q1_0(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t bits = block[2 + g];
    float d = dec_f16(block);
    DEC_VECTOR
    for (uint32_t j = 0; j < 8; j++) out[j] = bits >> j & 1u ? d : -d;
}

DEC_32_BY_8(q1_0)

#endif
