/* Q8_0: 32 elements in 34 bytes.
 *
 *   0       2                34
 *   | d f16 | 32 codes i8    |
 *
 *   y = i8(2 + i) * d
 */
#ifndef DECODE_Q8_0_H
#define DECODE_Q8_0_H

#include "prelude.h"

DEC_FN void decode8_q8_0(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 2 + 8 * g;
    float d = dec_f16(block);
    for (uint32_t j = 0; j < 8; j++) out[j] = (float)dec_i8(qs + j) * d;
}

#define DECODE32_q8_0 1
DEC_FN void decode32_q8_0(const uint8_t *block, uint32_t g, float *out)
{
    float d = dec_f16(block);
    (void)g;
    for (uint32_t j = 0; j < 32; j++) out[j] = (float)dec_i8(block + 2 + j) * d;
}

#endif
