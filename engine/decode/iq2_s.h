/* IQ2_S: 256 elements in 82 bytes, 16 sub-blocks of 16.
 *
 *   0       2              34           66      74              82
 *   | d f16 | 32 low bytes | signs[32]  | qh[8] | 8 scale bytes |
 *   g = i/32, l = i%32/8
 *   grid index, 10 bits: bits 7-0 = low byte i/8, bits 9-8 = qh[g] >> 2l & 3
 *   signs byte i/8: bit j is the sign of element j
 *   scale byte g:  | n of l = 2, 3 : 4 | n of l = 0, 1 : 4 |
 *
 *   y = (((d * (0.5 + n)) * 0.25) * iq2s[index][i%8]) * sign        (codebook.h)
 */
#ifndef DECODE_IQ2_S_H
#define DECODE_IQ2_S_H

#include "prelude.h"
#include "codebook.h"

DEC_FN void decode8_iq2_s(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t high = dec_field(block[66 + g / 4], 2 * (g % 4), 3);
    uint32_t n = dec_field(block[74 + g / 4], 4 * (g / 2 & 1u), 15);
    float scale = dec_f16(block) * (0.5f + dec_code(n, 0)) * 0.25f;
    dec_iq2_group(dec_iq2s_codes[block[2 + g] | high << 8], block[34 + g], scale, out);
}

DEC_32_BY_8(iq2_s)

#endif
