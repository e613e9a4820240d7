/* IQ3_S: 256 elements in 110 bytes, 8 runs of 32.
 *
 *   0       2              66      74          106             110
 *   | d f16 | 64 low bytes | qh[8] | signs[32] | 4 scale bytes |
 *   g = i/32
 *   grid index, 9 bits: bits 7-0 = low byte i/4, bit 8 = qh[g] >> (i%32/4) & 1
 *   signs byte i/8: bit j is the sign of element j
 *   scale byte g/2:  | n of odd g : 4 | n of even g : 4 |
 *
 *   y = ((d * (1 + 2n)) * iq3s[index][i%4]) * sign        (codebook.h)
 */
#ifndef DECODE_IQ3_S_H
#define DECODE_IQ3_S_H

#include "prelude.h"
#include "codebook.h"

DEC_FN void decode8_iq3_s(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t n = dec_field(block[106 + g / 8], 4 * (g / 4 & 1u), 15);
    uint32_t high = (uint32_t)block[66 + g / 4] >> 2 * (g % 4);
    uint32_t i0 = block[2 + 2 * g] | (high & 1u) << 8;
    uint32_t i1 = block[3 + 2 * g] | (high >> 1 & 1u) << 8;
    float scale = dec_f16(block) * dec_code(1 + 2 * n, 0);
    dec_iq3s_group(dec_iq3s_codes[i0], dec_iq3s_codes[i1], block[74 + g], scale, out);
}

DEC_32_BY_8(iq3_s)

#endif
