/* IQ1_S: 256 elements in 50 bytes, 8 runs of 32.
 *
 *   0       2              34            50
 *   | d f16 | 32 low bytes | h[8] u16    |
 *   h of g = i/32:  | delta's sign 1 | n 3 | l=3 : 3 | l=2 : 3 | l=1 : 3 | l=0 : 3 |
 *   grid index, 11 bits: bits 7-0 = low byte i/8, bits 10-8 = field l = i%32/8 of h
 *
 *   y = (d * (2n + 1)) * (iq1s[index][i%8] + delta)        delta = +-1/8        (codebook.h)
 */
#ifndef DECODE_IQ1_S_H
#define DECODE_IQ1_S_H

#include "prelude.h"
#include "codebook.h"

DEC_FN void decode8_iq1_s(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t h = dec_u16(block + 34 + 2 * (g / 4));
    uint32_t index = block[2 + g] | (h >> 3 * (g % 4) & 7u) << 8;
    float scale = dec_f16(block) * dec_code(2 * (h >> 12 & 7u) + 1, 0);
    dec_iq1_group(dec_iq1s_codes[index], h & 0x8000u, scale, out);
}

DEC_32_BY_8(iq1_s)

#endif
