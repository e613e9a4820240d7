/* IQ3_XXS: 256 elements in 98 bytes, 8 runs of 32.
 *
 *   0       2                       66               98
 *   | d f16 | 64 grid indices u8,   | 8 words a u32  |
 *             one per 4 elements
 *   a of g = i/32:  | n 4 | signs l=3 : 7 | l=2 : 7 | l=1 : 7 | l=0 : 7 |   (l = i%32/8)
 *
 *   y = (((d * (0.5 + n)) * 0.5) * iq3xxs[index][i%4]) * sign        (codebook.h)
 */
#ifndef DECODE_IQ3_XXS_H
#define DECODE_IQ3_XXS_H

#include "prelude.h"
#include "codebook.h"

/* Group g of 8, with its run's word and scale. */
DEC_FN void dec_iq3_xxs_at(const uint8_t *block, uint32_t g, uint32_t a, float scale, float *out)
{
    dec_iq3xxs_group(dec_iq3xxs_codes[block[2 + 2 * g]], dec_iq3xxs_codes[block[3 + 2 * g]],
                     dec_signs7(a >> 7 * (g % 4) & 127u), scale, out);
}

DEC_FN float dec_iq3_xxs_scale(const uint8_t *block, uint32_t a)
{
    return dec_f16(block) * (0.5f + dec_code(a >> 28, 0)) * 0.5f;
}

DEC_FN void decode8_iq3_xxs(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t a = dec_u32(block + 66 + 4 * (g / 4));
    dec_iq3_xxs_at(block, g, a, dec_iq3_xxs_scale(block, a), out);
}

#define DECODE32_iq3_xxs 1
DEC_FN void decode32_iq3_xxs(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t a = dec_u32(block + 66 + 4 * g);
    float scale = dec_iq3_xxs_scale(block, a);
    for (uint32_t l = 0; l < 4; l++) dec_iq3_xxs_at(block, 4 * g + l, a, scale, out + 8 * l);
}

#endif
