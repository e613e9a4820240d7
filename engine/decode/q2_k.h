/* Q2_K: 256 elements in 84 bytes, 16 sub-blocks of 16.
 *
 *   0             16                   80      82          84
 *   | c[16]:      | 64 bytes of codes  | d f16 | dmin f16  |
 *     | min : 4 | scale : 4 |  of sub-block s = i/16
 *   code byte 32n + l, n = i/128, l = i%32:
 *     | 128n+96+l : 2 | 128n+64+l : 2 | 128n+32+l : 2 | 128n+l : 2 |
 *
 *   q = B[16 + 32n + l] >> 2(i%128/32) & 3
 *   y = ((d * (c & 15)) * q) - (dmin * (c >> 4))
 */
#ifndef DECODE_Q2_K_H
#define DECODE_Q2_K_H

#include "prelude.h"

DEC_FN void decode8_q2_k(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 16 + 32 * (g / 16) + 8 * (g % 4);
    uint32_t c = block[g / 2], shift = 2 * (g / 4 % 4);
    float scale = dec_f16(block + 80) * dec_code(c & 15u, 0);
    float min = dec_f16(block + 82) * dec_code(c >> 4, 0);
    for (uint32_t j = 0; j < 8; j++) out[j] = scale * dec_code(dec_field(qs[j], shift, 3), 0) - min;
}

#define DECODE32_q2_k 1
DEC_FN void decode32_q2_k(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 16 + 32 * (g / 4);
    uint32_t c0 = block[2 * g], c1 = block[2 * g + 1], shift = 2 * (g % 4);
    float d = dec_f16(block + 80), dmin = dec_f16(block + 82);
    float scale0 = d * dec_code(c0 & 15u, 0), min0 = dmin * dec_code(c0 >> 4, 0);
    float scale1 = d * dec_code(c1 & 15u, 0), min1 = dmin * dec_code(c1 >> 4, 0);
    for (uint32_t j = 0; j < 32; j++) {
        float q = dec_code(dec_field(qs[j], shift, 3), 0);
        out[j] = (j < 16 ? scale0 : scale1) * q - (j < 16 ? min0 : min1);
    }
}

#endif
