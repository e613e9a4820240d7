/* Decoders of the small blocks: 32, 64 or 128 values under one scale each (NVFP4: four). */
#include "reference/decode_block.h"
#include "reference/codebook.h"

#include <math.h>
#include <string.h>

/* The family of 32 packs two values per byte as two halves, not as pairs:
 *
 *     byte j of qs (16 bytes)    | element j+16 | element j |
 *                                 7            4 3         0                                    */

/* Q4_0   |d f16|qs[16]|       q = nib(qs[i%16], i/16), 0..15
 *         0     2     18      y = (q - 8) * d                */
static void q4_0_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t i = 0; i < ELEMS_Q4_0; i++) {
        y[i] = (float)(nib(B[2 + i % 16], i / 16) - 8) * d;
    }
}
DECODE_BLOCKS(Q4_0, q4_0)

/* Q4_1   |d f16|m f16|qs[16]|       q = nib(qs[i%16], i/16)
 *         0     2     4     20      y = (q * d) + m          */
static void q4_1_block(const uint8_t *B, float *y)
{
    float d = f16_at(B), m = f16_at(B + 2);
    for (size_t i = 0; i < ELEMS_Q4_1; i++) {
        y[i] = ((float)nib(B[4 + i % 16], i / 16) * d) + m;
    }
}
DECODE_BLOCKS(Q4_1, q4_1)

/* Five-bit quants: the nibble, and bit i of the 32-bit word qh as bit 4. */
static int quant5(const uint8_t *qs, uint32_t qh, size_t i)
{
    return nib(qs[i % 16], i / 16) | (int)((qh >> i) & 1) << 4;
}

/* Q5_0   |d f16|qh u32|qs[16]|       q = nib(qs[i%16], i/16) | bit i of qh << 4, 0..31
 *         0     2      6     22      y = (q - 16) * d                                 */
static void q5_0_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    uint32_t qh = u32_at(B + 2);
    for (size_t i = 0; i < ELEMS_Q5_0; i++) y[i] = (float)(quant5(B + 6, qh, i) - 16) * d;
}
DECODE_BLOCKS(Q5_0, q5_0)

/* Q5_1   |d f16|m f16|qh u32|qs[16]|       q as in Q5_0
 *         0     2     4      8     24      y = (q * d) + m */
static void q5_1_block(const uint8_t *B, float *y)
{
    float d = f16_at(B), m = f16_at(B + 2);
    uint32_t qh = u32_at(B + 4);
    for (size_t i = 0; i < ELEMS_Q5_1; i++) y[i] = ((float)quant5(B + 8, qh, i) * d) + m;
}
DECODE_BLOCKS(Q5_1, q5_1)

/* Q8_0   |d f16|qs[32] i8|       y = qs[i] * d     (-128 is legal)
 *         0     2        34                          */
static void q8_0_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t i = 0; i < ELEMS_Q8_0; i++) y[i] = (float)(int8_t)B[2 + i] * d;
}
DECODE_BLOCKS(Q8_0, q8_0)

/* IQ4_NL   |d f16|qs[16]|       y = d * kv[nib(qs[i%16], i/16)], kv the 16 uneven levels
 *           0     2     18                                                               */
static void iq4_nl_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t i = 0; i < ELEMS_IQ4_NL; i++) {
        y[i] = d * (float)ref_levels_iq4nl[nib(B[2 + i % 16], i / 16)];
    }
}
DECODE_BLOCKS(IQ4_NL, iq4_nl)

/* MXFP4   |e u8|qs[16]|       d = 2^(e-128): half the E8M0 scale, since the levels are doubled
 *          0    1     17      y = kv[nib(qs[i%16], i/16)] * d
 *
 * d as bits of a binary32: e = 0 and 1 are subnormal (2^-128, 2^-127); otherwise the exponent
 * field is e-1. e = 255 (NaN in the OCP standard) is 2^127 here, as ggml computes. */
static void mxfp4_block(const uint8_t *B, float *y)
{
    uint32_t e = B[0], bits = e < 2 ? (uint32_t)0x00200000 << e : (e - 1) << 23;
    float d;
    memcpy(&d, &bits, sizeof d);
    for (size_t i = 0; i < ELEMS_MXFP4; i++) {
        y[i] = (float)ref_levels_fp4[nib(B[1 + i % 16], i / 16)] * d;
    }
}
DECODE_BLOCKS(MXFP4, mxfp4)

/* Half of an unsigned E4M3 number   |-|eeee|mmm|   exponent bias 7; 0x7f is 0, bit 7 is ignored
 *                                    7 6  3 2 0    otherwise (so 0xff is a number). */
static float half_of_ue4m3(uint8_t x)
{
    int e = (x >> 3) & 15, m = x & 7;
    if (x == 0 || x == 0x7f) return 0;
    return e == 0 ? ldexpf((float)m, -10) : ldexpf((float)(8 + m), e - 11);
}

/* NVFP4   |D[4] u8|qs[4][8]|       sub-block s = i/16, r = i%16; in its 8 bytes the low nibbles
 *          0       4       36      are elements 0-7, the high ones 8-15:
 *                                  y = kv[nib(qs[s][r%8], r/8)] * D(s)                          */
static void nvfp4_block(const uint8_t *B, float *y)
{
    for (size_t s = 0; s < 4; s++) {
        float d = half_of_ue4m3(B[s]);
        for (size_t r = 0; r < 16; r++) {
            y[16 * s + r] = (float)ref_levels_fp4[nib(B[4 + 8 * s + r % 8], r / 8)] * d;
        }
    }
}
DECODE_BLOCKS(NVFP4, nvfp4)

/* Q1_0   |d f16|qs[16]|       bit i%8 of qs[i/8]: set y = d, clear y = -d
 *         0     2     18                                                   */
static void q1_0_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t i = 0; i < ELEMS_Q1_0; i++) y[i] = (B[2 + i / 8] >> (i % 8)) & 1 ? d : -d;
}
DECODE_BLOCKS(Q1_0, q1_0)

/* Q2_0   |d f16|qs[16]|       byte  | 4k+3 | 4k+2 | 4k+1 | 4k |   four neighbours per byte
 *         0     2     18             7    6 5    4 3    2 1  0
 * q = (qs[i/4] >> 2*(i%4)) & 3;  y = (q - 1) * d, so -d, 0, d, 2d                             */
static void q2_0_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t i = 0; i < ELEMS_Q2_0; i++) {
        int q = (B[2 + i / 4] >> (2 * (i % 4))) & 3;
        y[i] = (float)(q - 1) * d;
    }
}
DECODE_BLOCKS(Q2_0, q2_0)
