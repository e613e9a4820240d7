/* IQ1_M: 256 elements in 56 bytes, 16 sub-blocks of 16.
 *
 *   0              32       48          56
 *   | 32 low bytes | qh[16] | c[4] u16  |
 *   group k = i/8: t = nib(qh[k/2], k%2):  | delta's sign 1 | index bits 10-8 : 3 |
 *   c[b/4], b = i/16:  | 4 bits of d | b%4=3 : 3 | 2 : 3 | 1 : 3 | 0 : 3 |    (n of b)
 *   d = the f16 of the four top nibbles of c[0..3], c[0]'s lowest
 *
 *   y = (d * (2n + 1)) * (iq1s[index][i%8] + delta)        delta = +-1/8        (codebook.h)
 */
#ifndef DECODE_IQ1_M_H
#define DECODE_IQ1_M_H

#include "prelude.h"
#include "codebook.h"

DEC_FN void decode8_iq1_m(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *c = block + 48;
    uint32_t d_bits = dec_u16(c) >> 12 | dec_u16(c + 2) >> 12 << 4 | dec_u16(c + 4) >> 12 << 8 |
                      dec_u16(c + 6) >> 12 << 12;
    uint32_t b = g / 2, n = dec_u16(c + 2 * (b / 4)) >> 3 * (b % 4) & 7u;
    uint32_t t = dec_field(block[32 + g / 2], 4 * (g % 2), 15);
    float scale = dec_half(d_bits) * dec_code(2 * n + 1, 0);
    dec_iq1_group(dec_iq1s_codes[block[g] | (t & 7u) << 8], t & 8u, scale, out);
}

DEC_32_BY_8(iq1_m)

#endif
