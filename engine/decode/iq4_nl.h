/* IQ4_NL: 32 elements in 18 bytes.
 *
 *   0       2                             18
 *   | d f16 | 16 bytes, byte j of codes:  |
 *             | element j+16 : 4 | element j : 4 |
 *
 *   y = d * level[nib(B[2 + i%16], i/16)]        levels: codebook.h
 */
#ifndef DECODE_IQ4_NL_H
#define DECODE_IQ4_NL_H

#include "prelude.h"
#include "codebook.h"

DEC_FN void decode8_iq4_nl(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 2 + 8 * (g & 1u);
    uint32_t shift = 4 * (g >> 1);
    float d = dec_f16(block);
    for (uint32_t j = 0; j < 8; j++) out[j] = d * dec_iq4_level(dec_field(qs[j], shift, 15));
}

#define DECODE32_iq4_nl 1
DEC_FN void decode32_iq4_nl(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 2;
    float d = dec_f16(block);
    (void)g;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[j] = d * dec_iq4_level(qs[j] & 15u);
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[16 + j] = d * dec_iq4_level(dec_field(qs[j], 4, 15));
}

#endif
