/* IQ2_XXS: 256 elements in 66 bytes, 8 runs of 32.
 *
 *   0       2                            66
 *   | d f16 | 8 runs of 8 bytes          |
 *   run g = i/32:  | 4 grid indices u8, one per l = i%32/8 | a u32 |
 *   a:  | n 4 | signs l=3 : 7 | l=2 : 7 | l=1 : 7 | l=0 : 7 |
 *
 *   y = (((d * (0.5 + n)) * 0.25) * iq2xxs[index][i%8]) * sign        (codebook.h)
 */
#ifndef DECODE_IQ2_XXS_H
#define DECODE_IQ2_XXS_H

#include "prelude.h"
#include "codebook.h"

DEC_FN float dec_iq2_xxs_scale(const uint8_t *block, uint32_t a)
{
    return dec_f16(block) * (0.5f + dec_code(a >> 28, 0)) * 0.25f;
}

DEC_FN void decode8_iq2_xxs(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *run = block + 2 + 8 * (g / 4);
    uint32_t l = g % 4, a = dec_u32(run + 4);
    dec_iq2_group(dec_iq2xxs_codes[run[l]], dec_signs7(a >> 7 * l & 127u),
                  dec_iq2_xxs_scale(block, a), out);
}

#define DECODE32_iq2_xxs 1
DEC_FN void decode32_iq2_xxs(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *run = block + 2 + 8 * g;
    uint32_t a = dec_u32(run + 4);
    float scale = dec_iq2_xxs_scale(block, a);
    for (uint32_t l = 0; l < 4; l++) {
        uint32_t signs = dec_signs7(a >> 7 * l & 127u);
        dec_iq2_group(dec_iq2xxs_codes[run[l]], signs, scale, out + 8 * l);
    }
}

#endif
