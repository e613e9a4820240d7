/* Decoders of the IQ types: 256 values; groups of 4 or 8 are entries of a grid, with signs apart.
 * Throughout: group g = i/32, l = (i%32)/8 the eight inside it, j = i%8. */
#include "reference/decode_block.h"
#include "reference/codebook.h"

/* Eight magnitudes: one grid entry of eight or two of four. y = (d * magnitude) * sign. */
static void put_signed(const int *magnitude, float d, unsigned signs, float *y)
{
    for (size_t j = 0; j < 8; j++) {
        y[j] = (d * (float)magnitude[j]) * ((signs >> j) & 1 ? -1.0f : 1.0f);
    }
}

static void put_entry8(const struct ref_grid *grid, size_t idx, float d, unsigned signs, float *y)
{
    int m[8];
    for (size_t j = 0; j < 8; j++) m[j] = ref_grid_at(grid, idx, j);
    put_signed(m, d, signs, y);
}

static void put_entries4(const struct ref_grid *grid, size_t idx0, size_t idx1, float d,
                         unsigned signs, float *y)
{
    int m[8];
    for (size_t j = 0; j < 4; j++) m[j] = ref_grid_at(grid, idx0, j);
    for (size_t j = 0; j < 4; j++) m[4 + j] = ref_grid_at(grid, idx1, j);
    put_signed(m, d, signs, y);
}

/* IQ2_XXS   |d f16|8 groups of |idx[4] u8|a u32| |       a   | n | sgn 3 | sgn 2 | sgn 1 | sgn 0 |
 *            0     2                           66             31-28 27-21   20-14   13-7    6-0
 * signs = even parity expansion of the 7 bits of l
 * y = (((d * (0.5 + n)) * 0.25) * grid[idx[l]][j]) * sign                                        */
static void iq2_xxs_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t g = 0; g < 8; g++) {
        const uint8_t *idx = B + 2 + 8 * g;
        uint32_t a = u32_at(idx + 4);
        float dg = (d * (0.5f + (float)(a >> 28))) * 0.25f;
        for (size_t l = 0; l < 4; l++) {
            unsigned signs = ref_even_signs((a >> (7 * l)) & 127);
            put_entry8(&ref_grid_iq2xxs, idx[l], dg, signs, y + 32 * g + 8 * l);
        }
    }
}
DECODE_BLOCKS(IQ2_XXS, iq2_xxs)

/* IQ2_XS   |d f16|w[32] u16|scales[8]|       w   | sgn | idx |       scales[g]   | l=2,3 | l=0,1 |
 *           0     2         66       74           15-9  8-0                       7     4 3     0
 * n = nib(scales[g], l/2); signs as in IQ2_XXS
 * y = (((d * (0.5 + n)) * 0.25) * grid[idx][j]) * sign                                           */
static void iq2_xs_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t k = 0; k < 32; k++) { /* k = i/8 */
        unsigned w = u16_at(B + 2 + 2 * k);
        int n = nib(B[66 + k / 4], k % 4 / 2);
        float dk = (d * (0.5f + (float)n)) * 0.25f;
        put_entry8(&ref_grid_iq2xs, w & 511, dk, ref_even_signs(w >> 9), y + 8 * k);
    }
}
DECODE_BLOCKS(IQ2_XS, iq2_xs)

/* IQ2_S   |d f16|low[32]|signs[32]|qh[8]|scales[8]|
 *          0     2       34        66    74       82
 * qh[g]   | l=3 | l=2 | l=1 | l=0 |  index bits 9-8      scales[g] as in IQ2_XS
 *          7   6 5   4 3   2 1   0
 * idx = low[i/8] | that << 8;  signs[i/8] holds all eight, bit set = minus
 * y = (((d * (0.5 + n)) * 0.25) * grid[idx][j]) * sign                                           */
static void iq2_s_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t k = 0; k < 32; k++) { /* k = i/8 */
        size_t high = (B[66 + k / 4] >> (2 * (k % 4))) & 3;
        int n = nib(B[74 + k / 4], k % 4 / 2);
        float dk = (d * (0.5f + (float)n)) * 0.25f;
        put_entry8(&ref_grid_iq2s, B[2 + k] | high << 8, dk, B[34 + k], y + 8 * k);
    }
}
DECODE_BLOCKS(IQ2_S, iq2_s)

/* IQ3_XXS   |d f16|idx[64]|a[8] u32|       a[g] as in IQ2_XXS: scale n and four sign codes
 *            0     2       66      98
 * y = (((d * (0.5 + n)) * 0.5) * grid[idx[i/4]][i%4]) * sign                                     */
static void iq3_xxs_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t k = 0; k < 32; k++) { /* k = i/8 */
        const uint8_t *idx = B + 2 + 2 * k;
        uint32_t a = u32_at(B + 66 + 4 * (k / 4));
        float dk = (d * (0.5f + (float)(a >> 28))) * 0.5f;
        unsigned signs = ref_even_signs((a >> (7 * (k % 4))) & 127);
        put_entries4(&ref_grid_iq3xxs, idx[0], idx[1], dk, signs, y + 8 * k);
    }
}
DECODE_BLOCKS(IQ3_XXS, iq3_xxs)

/* IQ3_S   |d f16|low[64]|qh[8]|signs[32]|scales[4]|
 *          0     2       66    74        106      110
 * qh[g]: bit (i%32)/4 is index bit 8; scales[g/2]   | odd g | even g |
 *                                                    7     4 3      0
 * idx = low[i/4] | that << 8;  signs[i/8] holds all eight
 * y = ((d * (1 + 2n)) * grid[idx][i%4]) * sign                                                   */
static void iq3_s_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t k = 0; k < 32; k++) { /* k = i/8 */
        const uint8_t *low = B + 2 + 2 * k;
        size_t g = k / 4, high = B[66 + g] >> (2 * (k % 4));
        float dk = d * (float)(1 + 2 * nib(B[106 + g / 2], g % 2));
        put_entries4(&ref_grid_iq3s, low[0] | (high & 1) << 8, low[1] | (high & 2) << 7, dk,
                     B[74 + k], y + 8 * k);
    }
}
DECODE_BLOCKS(IQ3_S, iq3_s)

/* Eight values of the IQ1 types: y = d * (grid[idx][j] + delta), delta = +-1/8. */
static void put_delta(size_t idx, float d, bool minus, float *y)
{
    float delta = minus ? -0.125f : 0.125f;
    for (size_t j = 0; j < 8; j++) {
        y[j] = d * ((float)ref_grid_at(&ref_grid_iq1s, idx, j) + delta);
    }
}

/* IQ1_S   |d f16|low[32]|qh[8] u16|       qh[g]   | delta sign | n | l=3 | l=2 | l=1 | l=0 |
 *          0     2       34       50               15           14-12 11-9  8-6   5-3   2-0
 * idx = low[i/8] | three bits of l << 8;  y = (d * (2n + 1)) * (grid[idx][j] + delta)            */
static void iq1_s_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t k = 0; k < 32; k++) { /* k = i/8 */
        unsigned h = u16_at(B + 34 + 2 * (k / 4));
        size_t high = (h >> (3 * (k % 4))) & 7;
        float dk = d * (float)(2 * ((h >> 12) & 7) + 1);
        put_delta(B[2 + k] | high << 8, dk, h & 0x8000, y + 8 * k);
    }
}
DECODE_BLOCKS(IQ1_S, iq1_s)

/* IQ1_M   |low[32]|qh[16]|c[4] u16|       no d field: its binary16 bits are the top nibbles of c
 *          0       32     48      56
 * c[p]   | d bits 4p+3..4p | b=4p+3 | b=4p+2 | b=4p+1 | b=4p |     3-bit scale n of the sixteen
 *         15             12 11     9 8      6 5      3 2    0      b = i/16
 * qh[k/2], k = i/8   | delta sign | idx 10-8 | delta sign | idx 10-8 |   high nibble: odd k
 *                     7            6        4 3            2        0
 * y = (d * (2n + 1)) * (grid[idx][j] + delta)                                                    */
static void iq1_m_block(const uint8_t *B, float *y)
{
    unsigned bits = 0;
    for (size_t p = 0; p < 4; p++) bits |= (u16_at(B + 48 + 2 * p) >> 12) << (4 * p);
    float d = ref_f16_to_f32((uint16_t)bits);
    for (size_t k = 0; k < 32; k++) {
        size_t b = k / 2, t = (size_t)nib(B[32 + k / 2], k % 2);
        unsigned n = (u16_at(B + 48 + 2 * (b / 4)) >> (3 * (b % 4))) & 7;
        put_delta(B[k] | (t & 7) << 8, d * (float)(2 * n + 1), t & 8, y + 8 * k);
    }
}
DECODE_BLOCKS(IQ1_M, iq1_m)

/* IQ4_XS   |d f16|scales_h u16|scales_l[4]|qs[128]|       group g: 6-bit scale, nibble g%2 of
 *           0     2            4           8     136      scales_l[g/2] | bits 2g of scales_h << 4
 * qs: 16 bytes per group, halves as in IQ4_NL: q = nib(qs[16g + i%16], (i%32)/16)
 * y = (d * (scale - 32)) * kv[q]                                                                 */
static void iq4_xs_block(const uint8_t *B, float *y)
{
    float d = f16_at(B);
    for (size_t g = 0; g < 8; g++) {
        const uint8_t *qs = B + 8 + 16 * g;
        int high = (int)(u16_at(B + 2) >> (2 * g)) & 3;
        float dg = d * (float)((nib(B[4 + g / 2], g % 2) | high << 4) - 32);
        for (size_t i = 0; i < 32; i++) {
            y[32 * g + i] = dg * (float)ref_levels_iq4nl[nib(qs[i % 16], i / 16)];
        }
    }
}
DECODE_BLOCKS(IQ4_XS, iq4_xs)
