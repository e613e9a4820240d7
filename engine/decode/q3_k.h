/* Q3_K: 256 elements in 110 bytes, 16 sub-blocks of 16.
 *
 *   0                 32                  96             108     110
 *   | hmask[32]       | 64 bytes of codes | S[12] scales | d f16 |
 *   hmask byte i%32, bit i/32: set = the code's "no -4"
 *   code byte 32n + l, n = i/128, l = i%32:
 *     | 128n+96+l : 2 | 128n+64+l : 2 | 128n+32+l : 2 | 128n+l : 2 |
 *   scale of sub-block s = i/16, 6 bits:
 *     bits 3-0 = nib(S[s%8], s/8), bits 5-4 = S[8 + s%4] >> 2(s/4) & 3
 *
 *   q = (B[32 + 32n + l] >> 2(i%128/32) & 3) - (hmask bit ? 0 : 4)
 *   y = (d * (scale - 32)) * q
 */
#ifndef DECODE_Q3_K_H
#define DECODE_Q3_K_H

#include "prelude.h"

DEC_FN float dec_q3_k_scale(const uint8_t *block, uint32_t s)
{
    const uint8_t *packed = block + 96;
    uint32_t lo = dec_field(packed[s % 8], 4 * (s / 8), 15);
    uint32_t hi = dec_field(packed[8 + s % 4], 2 * (s / 4), 3);
    return dec_f16(block + 108) * dec_code(lo | hi << 4, 32);
}

DEC_FN float dec_q3_k_code(uint32_t low, uint32_t shift, uint32_t mask, uint32_t bit)
{
    return dec_code(dec_field(low, shift, 3) | dec_field(mask, bit, 1) << 2, 4);
}

DEC_FN void decode8_q3_k(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *hmask = block + 8 * (g % 4), *qs = block + 32 + 32 * (g / 16) + 8 * (g % 4);
    uint32_t shift = 2 * (g / 4 % 4), bit = g / 4;
    float scale = dec_q3_k_scale(block, g / 2);
    for (uint32_t j = 0; j < 8; j++) out[j] = scale * dec_q3_k_code(qs[j], shift, hmask[j], bit);
}

#define DECODE32_q3_k 1
DEC_FN void decode32_q3_k(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 32 + 32 * (g / 4);
    uint32_t shift = 2 * (g % 4);
    float scale0 = dec_q3_k_scale(block, 2 * g), scale1 = dec_q3_k_scale(block, 2 * g + 1);
    for (uint32_t j = 0; j < 32; j++) {
        out[j] = (j < 16 ? scale0 : scale1) * dec_q3_k_code(qs[j], shift, block[j], g);
    }
}

#endif
