/* IQ2_XS: 256 elements in 74 bytes, 16 sub-blocks of 16.
 *
 *   0       2                       66              74
 *   | d f16 | 32 words w u16        | 8 scale bytes |
 *   w of i/8:  | signs 7 | grid index 9 |
 *   scale byte g = i/32:  | n of i%32 >= 16 : 4 | n of i%32 < 16 : 4 |
 *
 *   y = (((d * (0.5 + n)) * 0.25) * iq2xs[index][i%8]) * sign        (codebook.h)
 */
#ifndef DECODE_IQ2_XS_H
#define DECODE_IQ2_XS_H

#include "prelude.h"
#include "codebook.h"

DEC_FN void decode8_iq2_xs(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t w = dec_u16(block + 2 + 2 * g), n = dec_field(block[66 + g / 4], 4 * (g / 2 & 1u), 15);
    float scale = dec_f16(block) * (0.5f + dec_code(n, 0)) * 0.25f;
    dec_iq2_group(dec_iq2xs_codes[w & 511u], dec_signs7(w >> 9), scale, out);
}

DEC_32_BY_8(iq2_xs)

#endif
