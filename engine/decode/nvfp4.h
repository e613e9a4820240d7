/* NVFP4: 64 elements in 36 bytes, 4 sub-blocks of 16.
 *
 *   0              4                  36
 *   | d[4] UE4M3   | 32 bytes of codes |
 *   d byte:  | unused 1 | E 4 | M 3 |
 *   code byte 8s + l, s = i/16, l = i%8:  | 16s+8+l : 4 | 16s+l : 4 |
 *
 *   y = fp4x2(nib(B[4 + 8s + i%8], i%16/8)) * D(B[s])        fp4x2: fp4.h
 *   D(x) = 0 for x = 0x00 and 0x7f, else E == 0 ? M * 2^-10 : (8 + M) * 2^(E-11)
 *
 * Half of UE4M3, since fp4x2 is doubled. The unused bit counts in the two special values only:
 * 0xff is 240.
 */
#ifndef DECODE_NVFP4_H
#define DECODE_NVFP4_H

#include "prelude.h"
#include "fp4.h"

DEC_FN float dec_nvfp4_scale(uint32_t x)
{
    uint32_t e = x >> 3 & 15u, m = x & 7u;
    if (x == 0x7fu) return 0.0f;
    if (e == 0) return dec_code(m, 0) * dec_bits(117u << 23);
    return dec_code(8 + m, 0) * dec_bits((e + 116u) << 23);
}

DEC_FN void decode8_nvfp4(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 4 + 8 * (g / 2);
    uint32_t shift = 4 * (g % 2);
    float d = dec_nvfp4_scale(block[g / 2]);
    DEC_VECTOR
    for (uint32_t j = 0; j < 8; j++) out[j] = dec_fp4x2(dec_field(qs[j], shift, 15)) * d;
}

DEC_32_BY_8(nvfp4)

#endif
