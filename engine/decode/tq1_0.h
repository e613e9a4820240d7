/* TQ1_0: 256 ternary elements in 54 bytes.
 *
 *   0                          48        52      54
 *   | 48 bytes of 5 trits      | qh[4]   | d f16 |
 *                                4 trits
 *   element i < 160:   trit i/32 of byte i%32
 *   i < 240:           trit (i-160)/16 of byte 32 + (i-160)%16
 *   else:              trit (i-240)/4 of byte 48 + (i-240)%4
 *
 *   trit n of byte b: t = ((b * 3^n mod 256) * 3) >> 8        y = (t - 1) * d
 *
 * A byte is ceil(256 v / 243) of the base-3 number v, first trit highest: a fraction, from which
 * each multiplication by 3 carries the next trit out. Total over all 256 byte values.
 */
#ifndef DECODE_TQ1_0_H
#define DECODE_TQ1_0_H

#include "prelude.h"

DEC_TABLE uint8_t dec_tq1_0_pow3[5] = {1, 3, 9, 27, 81};

DEC_FN uint32_t dec_tq1_0_trit(uint32_t byte, uint32_t n)
{
    return ((byte * dec_tq1_0_pow3[n] & 255u) * 3u) >> 8;
}

DEC_FN void decode8_tq1_0(const uint8_t *block, uint32_t g, float *out)
{
    float d = dec_f16(block + 52);
    for (uint32_t j = 0; j < 8; j++) {
        uint32_t i = 8 * g + j, byte, n;
        if (g < 20) {
            byte = i % 32;
            n = i / 32;
        } else if (g < 30) {
            byte = 32 + (i - 160) % 16;
            n = (i - 160) / 16;
        } else {
            byte = 48 + (i - 240) % 4;
            n = (i - 240) / 4;
        }
        out[j] = dec_code(dec_tq1_0_trit(block[byte], n), 1) * d;
    }
}

DEC_32_BY_8(tq1_0)

#endif
