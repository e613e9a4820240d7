/* Encoders of the FP4 types: levels of E2M1, scales that are floating-point bytes themselves. */
#include "reference/encode_priv.h"

#include <math.h>
#include <string.h>

/* The code of a level of the doubled table: 0..7 ascending from zero, 8 + magnitude if negative. */
static int fp4_code(float level)
{
    int k = ref_enc_table_index(ref_enc_fp4, 15, level);
    return k >= 7 ? k - 7 : 15 - k;
}

static const struct enc_form fp4_32 = {
    .len = 32, .table = ref_enc_fp4, .n_table = 15, .nearest = ref_enc_nearest_table};
static const struct enc_form fp4_16 = {
    .len = 16, .table = ref_enc_fp4, .n_table = 15, .nearest = ref_enc_nearest_table};

/* The error that a scale (in the block's unit) leaves on one sub-block; levels go to `level`. */
static double try_scale(const struct enc_form *f, const float *x, const float *w, double scale,
                        float *level)
{
    float inv = scale > 1e-30 ? (float)(1 / scale) : 0;
    f->nearest(f, x, w, inv, level);
    return ref_enc_error(x, w, level, scale, f->len);
}

/* d = 2^(e-128). The largest magnitude of the block is in [1, 2) units, the largest level 12:
 * scales from 2^-5 to 2^0 units cover every sensible choice. e stops at 252, where 12 d is still
 * finite. */
static void encode_mxfp4_block(const struct enc_block *b, uint8_t *p)
{
    float level[32];
    double best = INFINITY;
    for (int k = -5; k <= 0; k++) {
        int e = k + b->shift + 128;
        e = e < 0 ? 0 : e > 252 ? 252 : e;
        double error = try_scale(&fp4_32, b->x, b->w, ldexp(1, e - 128 - b->shift), level);
        if (!(error < best)) continue;
        best = error;
        p[0] = (uint8_t)e;
        for (int j = 0; j < 16; j++) {
            p[1 + j] = (uint8_t)(fp4_code(level[j]) | fp4_code(level[j + 16]) << 4);
        }
    }
}

void ref_encode_mxfp4(const float *x, size_t n, const float *weight, uint8_t *out)
{
    for (size_t i = 0; i < n; i += 32, out += 17) {
        struct enc_block b;
        memset(out, 0, 17);
        if (ref_enc_load(&b, x + i, weight ? weight + i : NULL, 32)) encode_mxfp4_block(&b, out);
    }
}

/* Half the value of a UE4M3 byte below 0x7f. */
static double ue4m3_half(int byte)
{
    int e = byte >> 3, m = byte & 7;
    return e == 0 ? ldexp(m, -10) : ldexp(8 + m, e - 11);
}

/* Scales of each 16 are tried over two octaves around the one that fits the largest value. */
static void encode_nvfp4_sub(const float *x, const float *w, int shift, uint8_t *scale, uint8_t *qs)
{
    float level[16], top = 0;
    for (int i = 0; i < 16; i++) top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
    double fit = ldexp((double)top / 12, shift), best = INFINITY;
    for (int byte = 0; byte < 0x7f; byte++) {
        double d = ue4m3_half(byte);
        /* The first at or above the range is tried too, so that there always is one. */
        if (byte < 0x7e && ue4m3_half(byte + 1) < 0.5 * fit) continue;
        if (d > 2.1 * fit && best < INFINITY) break;
        double error = try_scale(&fp4_16, x, w, ldexp(d, -shift), level);
        if (!(error < best)) continue;
        best = error;
        *scale = (uint8_t)byte;
        for (int j = 0; j < 8; j++)
            qs[j] = (uint8_t)(fp4_code(level[j]) | fp4_code(level[j + 8]) << 4);
    }
}

void ref_encode_nvfp4(const float *x, size_t n, const float *weight, uint8_t *out)
{
    for (size_t i = 0; i < n; i += 64, out += 36) {
        struct enc_block b;
        memset(out, 0, 36);
        if (!ref_enc_load(&b, x + i, weight ? weight + i : NULL, 64)) continue;
        for (int s = 0; s < 4; s++) {
            encode_nvfp4_sub(b.x + 16 * s, b.w + 16 * s, b.shift, out + s, out + 4 + 8 * s);
        }
    }
}
