/* MXFP4: 32 elements in 17 bytes.
 *
 *   0        1                             17
 *   | e E8M0 | 16 bytes, byte j of codes:  |
 *              | element j+16 : 4 | element j : 4 |
 *
 *   y = fp4x2(nib(B[1 + i%16], i/16)) * 2^(e - 128)
 *
 * Half of E8M0's 2^(e-127), since fp4x2 is doubled (fp4.h). e < 2 gives subnormal scales; e >= 253
 * overflows to infinity for large codes, and 255 is not taken as NaN.
 */
#ifndef DECODE_MXFP4_H
#define DECODE_MXFP4_H

#include "prelude.h"
#include "fp4.h"

DEC_FN float dec_mxfp4_scale(uint32_t e)
{
    return dec_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

DEC_FN void decode8_mxfp4(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 1 + 8 * (g & 1u);
    uint32_t shift = 4 * (g >> 1);
    float d = dec_mxfp4_scale(block[0]);
    for (uint32_t j = 0; j < 8; j++) out[j] = dec_fp4x2(dec_field(qs[j], shift, 15)) * d;
}

#define DECODE32_mxfp4 1
DEC_FN void decode32_mxfp4(const uint8_t *block, uint32_t g, float *out)
{
    const uint8_t *qs = block + 1;
    float d = dec_mxfp4_scale(block[0]);
    (void)g;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[j] = dec_fp4x2(qs[j] & 15u) * d;
    DEC_VECTOR
    for (uint32_t j = 0; j < 16; j++) out[16 + j] = dec_fp4x2(dec_field(qs[j], 4, 15)) * d;
}

#endif
