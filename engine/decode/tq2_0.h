/* TQ2_0: 256 ternary elements in 66 bytes.
 *
 *   0                     64      66
 *   | 64 bytes of codes   | d f16 |
 *   code byte 32n + l, n = i/128, l = i%32:
 *     | 128n+96+l : 2 | 128n+64+l : 2 | 128n+32+l : 2 | 128n+l : 2 |
 *
 *   q = B[32n + l] >> 2(i%128/32) & 3        y = (q - 1) * d        (code 3 gives 2d)
 */
#ifndef DECODE_TQ2_0_H
#define DECODE_TQ2_0_H

#include "prelude.h"

/* n codes, from byte first of the run's 32 on. */
DEC_FN void dec_tq2_0_run(const uint8_t *block, uint32_t run, uint32_t first, uint32_t n,
                          float *out)
{
    const uint8_t *qs = block + 32 * (run / 4) + first;
    uint32_t shift = 2 * (run % 4);
    float d = dec_f16(block + 64);
    for (uint32_t j = 0; j < n; j++) out[j] = dec_code(dec_field(qs[j], shift, 3), 1) * d;
}

DEC_FN void decode8_tq2_0(const uint8_t *block, uint32_t g, float *out)
{
    dec_tq2_0_run(block, g / 4, 8 * (g % 4), 8, out);
}

#define DECODE32_tq2_0 1
DEC_FN void decode32_tq2_0(const uint8_t *block, uint32_t g, float *out)
{
    dec_tq2_0_run(block, g, 0, 32, out);
}

#endif
