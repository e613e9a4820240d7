/* Decoders of the K types: super-blocks of 256 values, sub-blocks of 16 or 32 with small integer
 * scales under one or two binary16 factors. */
#include "reference/decode_block.h"

#include <string.h>

/* Q2_K   |scales[16]|qs[64]|d f16|dmin f16|
 *         0          16     80    82      84
 * scales: byte i/16      | min | scale |       qs: two halves of 32 bytes, planes of 32 values:
 *                         7   4 3     0          | l+96 | l+64 | l+32 | l |
 * n = i/128, j = (i%128)/32, l = i%32             7    6 5    4 3    2 1 0
 * q = (qs[32n + l] >> 2j) & 3
 * y = ((d * scale) * q) - (dmin * min)                                                        */
static void q2_k_block(const uint8_t *B, float *y)
{
    const uint8_t *qs = B + 16;
    float d = f16_at(B + 80), dmin = f16_at(B + 82);
    for (size_t s = 0; s < 16; s++) {
        float scale = d * (float)nib(B[s], 0), min = dmin * (float)nib(B[s], 1);
        for (size_t i = 16 * s; i < 16 * s + 16; i++) {
            int q = (qs[32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3;
            y[i] = (scale * (float)q) - min;
        }
    }
}
DECODE_BLOCKS(Q2_K, q2_k)

/* Q3_K   |hmask[32]|qs[64]|S[12]|d f16|
 *         0         32     96    108 110
 * qs: two-bit planes as in Q2_K. hmask: byte i%32, bit i/32; set means "no -4":
 *     q = ((qs[32n + l] >> 2j) & 3) - (bit ? 0 : 4), -4..3
 * S: 16 six-bit scales, sub-block s = i/16:
 *     bytes 0-7    | s+8 low | s low |        bytes 8-11   | s+12 | s+8 | s+4 | s |  high two bits
 *                   7       4 3     0                       7    6 5   4 3   2 1 0
 * y = (d * (scale - 32)) * q                                                                  */
static void q3_k_block(const uint8_t *B, float *y)
{
    const uint8_t *qs = B + 32, *S = B + 96;
    float d = f16_at(B + 108);
    for (size_t s = 0; s < 16; s++) {
        int scale = nib(S[s % 8], s / 8) | ((S[8 + s % 4] >> (2 * (s / 4))) & 3) << 4;
        float ds = d * (float)(scale - 32);
        for (size_t i = 16 * s; i < 16 * s + 16; i++) {
            int low = (qs[32 * (i / 128) + i % 32] >> (2 * ((i % 128) / 32))) & 3;
            int bit = (B[i % 32] >> (i / 32)) & 1;
            y[i] = ds * (float)(low - 4 + 4 * bit);
        }
    }
}
DECODE_BLOCKS(Q3_K, q3_k)

/* The eight six-bit (scale, min) pairs of Q4_K and Q5_K in 12 bytes, p = 0..3:
 *
 *     byte p      | scale p+4, bits 5-4 | scale p         |
 *     byte p+4    | min p+4, bits 5-4   | min p           |
 *                  7                   6 5               0
 *     byte p+8    | min p+4, bits 3-0   | scale p+4, bits 3-0 |
 *                  7                   4 3                   0      */
static void scale_min(const uint8_t *S, size_t s, int *scale, int *min)
{
    if (s < 4) {
        *scale = S[s] & 63;
        *min = S[s + 4] & 63;
    } else {
        *scale = nib(S[s + 4], 0) | (S[s - 4] >> 6) << 4;
        *min = nib(S[s + 4], 1) | (S[s] >> 6) << 4;
    }
}

/* Q4_K   |d f16|dmin f16|S[12]|qs[128]|       sub-block s = i/32; each run of 32 bytes of qs
 *         0     2        4     16     144     holds one sub-block low, the next one high:
 *                                               | sub-block 2k+1 | sub-block 2k |
 *                                                7              4 3            0
 * q = nib(qs[32*(i/64) + i%32], s%2);  y = ((d * scale[s]) * q) - (dmin * min[s])             */
static void q4_k_block(const uint8_t *B, float *y)
{
    float d = f16_at(B), dmin = f16_at(B + 2);
    for (size_t s = 0; s < 8; s++) {
        const uint8_t *qs = B + 16 + 32 * (s / 2);
        int scale, min;
        scale_min(B + 4, s, &scale, &min);
        float ds = d * (float)scale, ms = dmin * (float)min;
        for (size_t l = 0; l < 32; l++) y[32 * s + l] = (ds * (float)nib(qs[l], s % 2)) - ms;
    }
}
DECODE_BLOCKS(Q4_K, q4_k)

/* Q5_K   |d f16|dmin f16|S[12]|qh[32]|qs[128]|       as Q4_K, and bit s of qh[i%32] is bit 4 of q
 *         0     2        4     16     48     176     y = ((d * scale[s]) * q) - (dmin * min[s]) */
static void q5_k_block(const uint8_t *B, float *y)
{
    const uint8_t *qh = B + 16;
    float d = f16_at(B), dmin = f16_at(B + 2);
    for (size_t s = 0; s < 8; s++) {
        const uint8_t *qs = B + 48 + 32 * (s / 2);
        int scale, min;
        scale_min(B + 4, s, &scale, &min);
        float ds = d * (float)scale, ms = dmin * (float)min;
        for (size_t l = 0; l < 32; l++) {
            int q = nib(qs[l], s % 2) | ((qh[l] >> s) & 1) << 4;
            y[32 * s + l] = (ds * (float)q) - ms;
        }
    }
}
DECODE_BLOCKS(Q5_K, q5_k)

/* Q6_K   |ql[128]|qh[64]|scales[16] i8|d f16|
 *         0       128    192           208 210
 * n = i/128, k = (i%128)/32, l = i%32. Half n has 64 bytes of ql and 32 of qh:
 *     ql[64n + l]       | plane 2 | plane 0 |      qh[32n + l]   | plane 3 | 2 | 1 | 0 |
 *     ql[64n + 32 + l]  | plane 3 | plane 1 |                     7       6 5 4 3 2 1 0
 *                        7       4 3       0
 * q = (nib(ql[64n + 32*(k%2) + l], k/2) | ((qh[32n + l] >> 2k) & 3) << 4) - 32, -32..31
 * y = (d * scales[i/16]) * q                                                                  */
static void q6_k_block(const uint8_t *B, float *y)
{
    float d = f16_at(B + 208);
    for (size_t s = 0; s < 16; s++) {
        size_t n = s / 8, k = (s % 8) / 2;
        const uint8_t *ql = B + 64 * n + 32 * (k % 2), *qh = B + 128 + 32 * n;
        float ds = d * (float)(int8_t)B[192 + s];
        for (size_t i = 0; i < 16; i++) {
            size_t l = 16 * (s % 2) + i;
            int q = nib(ql[l], k / 2) | ((qh[l] >> (2 * k)) & 3) << 4;
            y[16 * s + i] = ds * (float)(q - 32);
        }
    }
}
DECODE_BLOCKS(Q6_K, q6_k)

/* Q8_K   |d f32|qs[256] i8|bsums[16] i16|       y = d * qs[i]; the sums serve dot products only
 *         0     4          260          292                                                     */
static void q8_k_block(const uint8_t *B, float *y)
{
    uint32_t bits = u32_at(B);
    float d;
    memcpy(&d, &bits, sizeof d);
    for (size_t i = 0; i < ELEMS_Q8_K; i++) y[i] = d * (float)(int8_t)B[4 + i];
}
DECODE_BLOCKS(Q8_K, q8_k)
