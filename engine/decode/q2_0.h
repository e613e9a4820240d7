/* Q2_0: 64 elements in 18 bytes.
 *
 *   0       2                      18
 *   | d f16 | 16 bytes of codes    |
 *   code byte k:  | 4k+3 : 2 | 4k+2 : 2 | 4k+1 : 2 | 4k : 2 |
 *
 *   q = B[2 + i/4] >> 2(i%4) & 3        y = (q - 1) * d
 */
#ifndef DECODE_Q2_0_H
#define DECODE_Q2_0_H

#include "prelude.h"

DEC_FN void decode8_q2_0(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t bits = dec_u16(block + 2 + 2 * g);
    float d = dec_f16(block);
    DEC_VECTOR
    for (uint32_t j = 0; j < 8; j++) out[j] = dec_code(bits >> 2 * j & 3u, 1) * d;
}

DEC_32_BY_8(q2_0)

#endif
