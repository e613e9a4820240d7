/* IQ4_XS: 256 elements in 136 bytes, 8 sub-blocks of 32.
 *
 *   0       2        4           8                    136
 *   | d f16 | sh u16 | sl[4]     | 128 bytes of codes |
 *   scale of g = i/32, 6 bits: bits 3-0 = nib(sl[g/2], g%2), bits 5-4 = sh >> 2g & 3
 *   code byte 16g + l, l = i%16:  | 32g+16+l : 4 | 32g+l : 4 |
 *
 *   y = (d * (scale - 32)) * level[nib(B[8 + 16g + i%16], i%32/16)]        levels: codebook.h
 */
#ifndef DECODE_IQ4_XS_H
#define DECODE_IQ4_XS_H

#include "prelude.h"
#include "codebook.h"

DEC_FN float dec_iq4_xs_scale(const uint8_t *block, uint32_t g)
{
    uint32_t lo = dec_field(block[4 + g / 2], 4 * (g % 2), 15);
    uint32_t hi = dec_field(dec_u16(block + 2), 2 * g, 3);
    return dec_f16(block) * dec_code(lo | hi << 4, 32);
}

DEC_FN void decode8_iq4_xs(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 8 + 16 * (g / 4) + 8 * (g & 1u);
    uint32_t shift = 4 * (g / 2 & 1u);
    float scale = dec_iq4_xs_scale(block, g / 4);
    for (uint32_t j = 0; j < 8; j++) out[j] = scale * dec_iq4_level(dec_field(qs[j], shift, 15));
}

#define DECODE32_iq4_xs 1
DEC_FN void decode32_iq4_xs(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 8 + 16 * g;
    float scale = dec_iq4_xs_scale(block, g);
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[j] = scale * dec_iq4_level(qs[j] & 15u);
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[16 + j] = scale * dec_iq4_level(dec_field(qs[j], 4, 15));
}

#endif
