/* Q5_K: 256 elements in 176 bytes, 8 sub-blocks of 32.
 *
 *   0       2          4             16       48                  176
 *   | d f16 | dmin f16 | S[12]       | qh[32] | 128 bytes of codes |
 *   S: scales and mins of 6 bits, see scale_min.h
 *   qh byte i%32, bit s: bit 4 of the code
 *   code byte 32k + l, k = i/64, l = i%32:  | 64k+32+l : 4 | 64k+l : 4 |  (bits 3-0)
 *
 *   s = i/32        q = nib(B[48 + 32(i/64) + i%32], s%2) + 16 * (B[16 + i%32] >> s & 1)
 *   y = ((d * sc[s]) * q) - (dmin * mn[s])
 */
#ifndef DECODE_Q5_K_H
#define DECODE_Q5_K_H

#include "prelude.h"
#include "scale_min.h"

/* n codes of sub-block s, from byte first of its 32 on. */
DEC_FN void dec_q5_k_run(const uint8_t *block, uint32_t s, uint32_t first, uint32_t n, float *out)
{
    const uint8_t *qs = block + 48 + 32 * (s / 2) + first, *qh = block + 16 + first;
    uint32_t shift = 4 * (s % 2);
    float scale = dec_f16(block) * dec_code(dec_scale6(block + 4, s), 0);
    float min = dec_f16(block + 2) * dec_code(dec_min6(block + 4, s), 0);
    for (uint32_t j = 0; j < n; j++) {
        uint32_t q = dec_field(qs[j], shift, 15) | dec_field(qh[j], s, 1) << 4;
        out[j] = scale * dec_code(q, 0) - min;
    }
}

DEC_FN void decode8_q5_k(const uint8_t *block, uint32_t g, float *out)
{
    dec_q5_k_run(block, g / 4, 8 * (g % 4), 8, out);
}

#define DECODE32_q5_k 1
DEC_FN void decode32_q5_k(const uint8_t *block, uint32_t g, float *out)
{
    dec_q5_k_run(block, g, 0, 32, out);
}

#endif
