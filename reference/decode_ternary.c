/* Decoders of the ternary types: 256 values of -1, 0, 1 under one scale at the end of the block. */
#include "reference/decode_block.h"

/* Digit n (0 the most significant) of a byte that holds a base-3 fraction: v/243 of five digits
 * is stored as ceil(256 v / 243), so multiplying by 3^n modulo 256 drops the digits before n, and
 * the carry of one more multiplication is the digit. Defined for all 256 bytes. */
static int trit(uint8_t b, size_t n)
{
    static const unsigned power[5] = {1, 3, 9, 27, 81};
    unsigned rest = (b * power[n]) & 255;
    return (int)((rest * 3) >> 8);
}

/* TQ1_0   |qs[48]|qh[4]|d f16|       base 3, five digits per byte of qs, four per byte of qh:
 *          0      48    52   54        i in   0..159   byte i%32             digit i/32
 *                                      i in 160..239   byte 32 + (i-160)%16  digit (i-160)/16
 *                                      i in 240..255   byte 48 + (i-240)%4   digit (i-240)/4
 * y = (digit - 1) * d                                                                         */
static void tq1_0_block(const uint8_t *B, float *y)
{
    float d = f16_at(B + 52);
    for (size_t i = 0; i < 160; i++) y[i] = (float)(trit(B[i % 32], i / 32) - 1) * d;
    for (size_t i = 0; i < 80; i++) y[160 + i] = (float)(trit(B[32 + i % 16], i / 16) - 1) * d;
    for (size_t i = 0; i < 16; i++) y[240 + i] = (float)(trit(B[48 + i % 4], i / 4) - 1) * d;
}
DECODE_BLOCKS(TQ1_0, tq1_0)

/* TQ2_0   |qs[64]|d f16|       two halves of 128 values, 32 bytes each; within a byte
 *          0      64   66        | l+96 | l+64 | l+32 | l |    (stride 32, not neighbours)
 *                                 7    6 5    4 3    2 1 0
 * q = (qs[32*(i/128) + i%32] >> 2*((i%128)/32)) & 3;  y = (q - 1) * d; code 3 is 2d            */
static void tq2_0_block(const uint8_t *B, float *y)
{
    float d = f16_at(B + 64);
    for (size_t i = 0; i < ELEMS_TQ2_0; i++) {
        int q = (B[32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3;
        y[i] = (float)(q - 1) * d;
    }
}
DECODE_BLOCKS(TQ2_0, tq2_0)
