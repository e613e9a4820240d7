/* Encoders of the plain types and of the types with one scale per block. */
#include "reference/encode_priv.h"

#include <math.h>
#include <string.h>

void ref_encode_f32(const float *x, size_t n, const float *weight, uint8_t *out)
{
    (void)weight;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        enc_put32(out + 4 * i, bits);
    }
}

/* Round to nearest even. What would become infinite is held at the largest finite value: an
 * encoded model has no infinities that the original did not have. */
void ref_encode_f16(const float *x, size_t n, const float *weight, uint8_t *out)
{
    (void)weight;
    for (size_t i = 0; i < n; i++) {
        uint16_t h = ref_f32_to_f16(x[i]);
        if ((h & 0x7fff) == 0x7c00 && isfinite(x[i])) h = (uint16_t)(h - 1);
        enc_put16(out + 2 * i, h);
    }
}

void ref_encode_bf16(const float *x, size_t n, const float *weight, uint8_t *out)
{
    (void)weight;
    for (size_t i = 0; i < n; i++) {
        uint16_t h = ref_f32_to_bf16(x[i]);
        if ((h & 0x7fff) == 0x7f80 && isfinite(x[i])) h = (uint16_t)(h - 1);
        enc_put16(out + 2 * i, h);
    }
}

/* d @0 | low nibbles @at: byte j holds elements j and j + 16. */
static void put_nibbles(const int *q, uint8_t *p)
{
    for (int j = 0; j < 16; j++) p[j] = (uint8_t)((q[j] & 15) | (q[j + 16] & 15) << 4);
}

static void put_q4_0(const struct enc_fit *fit, uint8_t *p)
{
    int q[32];
    for (int i = 0; i < 32; i++) q[i] = (int)fit->level[i] + 8;
    enc_put16(p, fit->d);
    put_nibbles(q, p + 2);
}

void ref_encode_q4_0(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 1,
                                         .len = 32,
                                         .sc_lo = 1,
                                         .sc_hi = 1,
                                         .sc_step = 1,
                                         .both_signs = true,
                                         .top = 8,
                                         .reach = 0.8f,
                                         .growth = 1.030f,
                                         .n_guess = 16,
                                         .lo = -8,
                                         .hi = 7,
                                         .nearest = ref_enc_nearest_int};
    ref_enc_blocks(&form, 18, x, n, weight, out, put_q4_0);
}

static void put_q5_0(const struct enc_fit *fit, uint8_t *p)
{
    int q[32];
    uint32_t high = 0;
    for (int i = 0; i < 32; i++) {
        q[i] = (int)fit->level[i] + 16;
        high |= (uint32_t)(q[i] >> 4) << i;
    }
    enc_put16(p, fit->d);
    enc_put32(p + 2, high);
    put_nibbles(q, p + 6);
}

void ref_encode_q5_0(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 1,
                                         .len = 32,
                                         .sc_lo = 1,
                                         .sc_hi = 1,
                                         .sc_step = 1,
                                         .both_signs = true,
                                         .top = 16,
                                         .reach = 0.88f,
                                         .growth = 1.016f,
                                         .n_guess = 16,
                                         .lo = -16,
                                         .hi = 15,
                                         .nearest = ref_enc_nearest_int};
    ref_enc_blocks(&form, 22, x, n, weight, out, put_q5_0);
}

static void put_q8_0(const struct enc_fit *fit, uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int i = 0; i < 32; i++) p[2 + i] = (uint8_t)((int)fit->level[i] & 255);
}

void ref_encode_q8_0(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 1,
                                         .len = 32,
                                         .sc_lo = 1,
                                         .sc_hi = 1,
                                         .sc_step = 1,
                                         .top = 127,
                                         .reach = 0.985f,
                                         .growth = 1.0018f,
                                         .n_guess = 12,
                                         .lo = -127,
                                         .hi = 127,
                                         .nearest = ref_enc_nearest_int};
    ref_enc_blocks(&form, 34, x, n, weight, out, put_q8_0);
}

static void put_iq4_nl(const struct enc_fit *fit, uint8_t *p)
{
    int q[32];
    for (int i = 0; i < 32; i++) q[i] = ref_enc_table_index(ref_enc_iq4, 16, fit->level[i]);
    enc_put16(p, fit->d);
    put_nibbles(q, p + 2);
}

void ref_encode_iq4_nl(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 1,
                                         .len = 32,
                                         .sc_lo = 1,
                                         .sc_hi = 1,
                                         .sc_step = 1,
                                         .both_signs = true,
                                         .top = 127,
                                         .reach = 0.75f,
                                         .growth = 1.031f,
                                         .n_guess = 18,
                                         .table = ref_enc_iq4,
                                         .n_table = 16,
                                         .nearest = ref_enc_nearest_table};
    ref_enc_blocks(&form, 18, x, n, weight, out, put_iq4_nl);
}

static void put_q1_0(const struct enc_fit *fit, uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int i = 0; i < 128; i++) {
        if (fit->level[i] > 0) p[2 + i / 8] = (uint8_t)(p[2 + i / 8] | 1 << i % 8);
    }
}

void ref_encode_q1_0(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const float signs[2] = {-1, 1};
    static const struct enc_form form = {.n_sub = 1,
                                         .len = 128,
                                         .sc_lo = 1,
                                         .sc_hi = 1,
                                         .sc_step = 1,
                                         .top = 1,
                                         .reach = 1,
                                         .growth = 1,
                                         .n_guess = 1,
                                         .table = signs,
                                         .n_table = 2,
                                         .nearest = ref_enc_nearest_table};
    ref_enc_blocks(&form, 18, x, n, weight, out, put_q1_0);
}

static void put_q2_0(const struct enc_fit *fit, uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int i = 0; i < 64; i++) {
        p[2 + i / 4] = (uint8_t)(p[2 + i / 4] | ((int)fit->level[i] + 1) << 2 * (i % 4));
    }
}

void ref_encode_q2_0(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 1,
                                         .len = 64,
                                         .sc_lo = 1,
                                         .sc_hi = 1,
                                         .sc_step = 1,
                                         .both_signs = true,
                                         .top = 2,
                                         .reach = 0.7f,
                                         .growth = 1.079f,
                                         .n_guess = 24,
                                         .lo = -1,
                                         .hi = 2,
                                         .nearest = ref_enc_nearest_int};
    ref_enc_blocks(&form, 18, x, n, weight, out, put_q2_0);
}

static const struct enc_form ternary = {.n_sub = 1,
                                        .len = 256,
                                        .sc_lo = 1,
                                        .sc_hi = 1,
                                        .sc_step = 1,
                                        .top = 1,
                                        .reach = 0.9f,
                                        .growth = 1.087f,
                                        .n_guess = 32,
                                        .lo = -1,
                                        .hi = 1,
                                        .nearest = ref_enc_nearest_int};

static void put_tq1_0(const struct enc_fit *fit, uint8_t *p)
{
    for (int k = 0; k < 52; k++) {
        /* Byte k holds trits at `first`, one every `stride` elements; most significant first. */
        int first = k < 32 ? k : k < 48 ? 160 + k - 32 : 240 + k - 48;
        int stride = k < 32 ? 32 : k < 48 ? 16 : 4;
        int v = 0;
        for (int t = 0; t < 5; t++) {
            bool absent = k >= 48 && t == 4;
            v = 3 * v + (absent ? 0 : (int)fit->level[first + t * stride] + 1);
        }
        p[k] = (uint8_t)((256 * v + 242) / 243);
    }
    enc_put16(p + 52, fit->d);
}

void ref_encode_tq1_0(const float *x, size_t n, const float *weight, uint8_t *out)
{
    ref_enc_blocks(&ternary, 54, x, n, weight, out, put_tq1_0);
}

static void put_tq2_0(const struct enc_fit *fit, uint8_t *p)
{
    for (int i = 0; i < 256; i++) {
        int at = 32 * (i / 128) + i % 32, shift = 2 * (i % 128 / 32);
        p[at] = (uint8_t)(p[at] | ((int)fit->level[i] + 1) << shift);
    }
    enc_put16(p + 64, fit->d);
}

void ref_encode_tq2_0(const float *x, size_t n, const float *weight, uint8_t *out)
{
    ref_enc_blocks(&ternary, 66, x, n, weight, out, put_tq2_0);
}
