/* Q6_K: 256 elements in 210 bytes, 16 sub-blocks of 16.
 *
 *   0                  128               192            208     210
 *   | ql: 128 bytes    | qh: 64 bytes    | 16 scales i8 | d f16 |
 *   n = i/128, k = i%128/32, l = i%32
 *   ql byte 64n + l:       | 128n+64+l : 4 | 128n+l : 4 |     (bits 3-0 of the code)
 *   ql byte 64n + 32 + l:  | 128n+96+l : 4 | 128n+32+l : 4 |
 *   qh byte 32n + l:       | k=3 : 2 | k=2 : 2 | k=1 : 2 | k=0 : 2 |   (bits 5-4)
 *
 *   q = (nib(B[64n + 32(k%2) + l], k/2) | (B[128 + 32n + l] >> 2k & 3) << 4) - 32
 *   y = (d * i8(192 + i/16)) * q
 */
#ifndef DECODE_Q6_K_H
#define DECODE_Q6_K_H

#include "prelude.h"

DEC_FN float dec_q6_k_scale(const uint8_t *block, uint32_t s)
{
    return dec_f16(block + 208) * (float)dec_i8(block + 192 + s);
}

DEC_FN float dec_q6_k_code(uint32_t low, uint32_t low_shift, uint32_t high, uint32_t high_shift)
{
    return dec_code(dec_field(low, low_shift, 15) | dec_field(high, high_shift, 3) << 4, 32);
}

DEC_FN void decode8_q6_k(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t n = g / 16, k = g / 4 % 4, l = 8 * (g % 4), lo = 4 * (k / 2), hi = 2 * k;
    const uint8_t *ql = block + 64 * n + 32 * (k % 2) + l, *qh = block + 128 + 32 * n + l;
    float scale = dec_q6_k_scale(block, g / 2);
    for (uint32_t j = 0; j < 8; j++) out[j] = scale * dec_q6_k_code(ql[j], lo, qh[j], hi);
}

#define DECODE32_q6_k 1
DEC_FN void decode32_q6_k(const uint8_t *block, uint32_t g, float *out)
{
    uint32_t n = g / 4, k = g % 4, lo = 4 * (k / 2), hi = 2 * k;
    const uint8_t *ql = block + 64 * n + 32 * (k % 2), *qh = block + 128 + 32 * n;
    float scale0 = dec_q6_k_scale(block, 2 * g), scale1 = dec_q6_k_scale(block, 2 * g + 1);
    for (uint32_t j = 0; j < 32; j++) {
        out[j] = (j < 16 ? scale0 : scale1) * dec_q6_k_code(ql[j], lo, qh[j], hi);
    }
}

#endif
