/* Encoders of the K types and of their relatives: Q4_1, Q5_1 (an offset per block), IQ4_XS
 * (sub-block scales over an uneven table). */
#include "reference/encode_priv.h"

#include <string.h>

static void encode_min_form(const struct enc_min_form *f, size_t block_bytes, const float *x,
                            size_t n, const float *weight, uint8_t *out,
                            void (*put)(const struct enc_min_fit *fit, uint8_t *p))
{
    for (size_t i = 0; i < n; i += f->n_sub * f->len, out += block_bytes) {
        struct enc_block b;
        struct enc_min_fit fit;
        memset(out, 0, block_bytes);
        if (!ref_enc_load(&b, x + i, weight ? weight + i : NULL, f->n_sub * f->len)) continue;
        ref_enc_min_fit(f, &b, &fit);
        put(&fit, out);
    }
}

static void add_bits(uint8_t *p, int bits)
{
    *p = (uint8_t)(*p | bits);
}

/* m is stored as what is added: minus the offset of the fit. */
static void put_q4_1(const struct enc_min_fit *fit, uint8_t *p)
{
    enc_put16(p, fit->d);
    enc_put16(p + 2, fit->m ^ 0x8000u);
    for (int i = 0; i < 32; i++) add_bits(p + 4 + i % 16, (int)fit->q[i] << 4 * (i / 16));
}

void ref_encode_q4_1(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_min_form form = {
        .n_sub = 1, .len = 32, .q_max = 15, .reach_lo = 0.94f, .reach_hi = 1.3f, .n_guess = 12};
    encode_min_form(&form, 20, x, n, weight, out, put_q4_1);
}

static void put_q5_1(const struct enc_min_fit *fit, uint8_t *p)
{
    enc_put16(p, fit->d);
    enc_put16(p + 2, fit->m ^ 0x8000u);
    for (int i = 0; i < 32; i++) {
        int q = (int)fit->q[i];
        add_bits(p + 4 + i / 8, (q >> 4) << i % 8);
        add_bits(p + 8 + i % 16, (q & 15) << 4 * (i / 16));
    }
}

void ref_encode_q5_1(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_min_form form = {
        .n_sub = 1, .len = 32, .q_max = 31, .reach_lo = 0.96f, .reach_hi = 1.15f, .n_guess = 12};
    encode_min_form(&form, 24, x, n, weight, out, put_q5_1);
}

static void put_q2_k(const struct enc_min_fit *fit, uint8_t *p)
{
    for (int s = 0; s < 16; s++) p[s] = (uint8_t)(fit->sc[s] | fit->mn[s] << 4);
    for (int i = 0; i < 256; i++) {
        add_bits(p + 16 + 32 * (i / 128) + i % 32, (int)fit->q[i] << 2 * (i % 128 / 32));
    }
    enc_put16(p + 80, fit->d);
    enc_put16(p + 82, fit->m);
}

void ref_encode_q2_k(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_min_form form = {.n_sub = 16,
                                             .len = 16,
                                             .q_max = 3,
                                             .sc_max = 15,
                                             .reach_lo = 0.8f,
                                             .reach_hi = 2.2f,
                                             .n_guess = 14};
    encode_min_form(&form, 84, x, n, weight, out, put_q2_k);
}

/* The twelve bytes of eight 6-bit pairs. */
static void put_pairs(const struct enc_min_fit *fit, uint8_t *p)
{
    for (int s = 0; s < 4; s++) {
        p[s] = (uint8_t)(fit->sc[s] | (fit->sc[s + 4] >> 4) << 6);
        p[s + 4] = (uint8_t)(fit->mn[s] | (fit->mn[s + 4] >> 4) << 6);
        p[s + 8] = (uint8_t)((fit->sc[s + 4] & 15) | (fit->mn[s + 4] & 15) << 4);
    }
}

static void put_q4_k(const struct enc_min_fit *fit, uint8_t *p)
{
    enc_put16(p, fit->d);
    enc_put16(p + 2, fit->m);
    put_pairs(fit, p + 4);
    for (int i = 0; i < 256; i++) {
        add_bits(p + 16 + 32 * (i / 64) + i % 32, (int)fit->q[i] << 4 * (i / 32 % 2));
    }
}

void ref_encode_q4_k(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_min_form form = {.n_sub = 8,
                                             .len = 32,
                                             .q_max = 15,
                                             .sc_max = 63,
                                             .reach_lo = 0.94f,
                                             .reach_hi = 1.3f,
                                             .n_guess = 12};
    encode_min_form(&form, 144, x, n, weight, out, put_q4_k);
}

static void put_q5_k(const struct enc_min_fit *fit, uint8_t *p)
{
    enc_put16(p, fit->d);
    enc_put16(p + 2, fit->m);
    put_pairs(fit, p + 4);
    for (int i = 0; i < 256; i++) {
        int q = (int)fit->q[i], s = i / 32;
        add_bits(p + 16 + i % 32, (q >> 4) << s);
        add_bits(p + 48 + 32 * (i / 64) + i % 32, (q & 15) << 4 * (s % 2));
    }
}

void ref_encode_q5_k(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_min_form form = {.n_sub = 8,
                                             .len = 32,
                                             .q_max = 31,
                                             .sc_max = 63,
                                             .reach_lo = 0.96f,
                                             .reach_hi = 1.15f,
                                             .n_guess = 12};
    encode_min_form(&form, 176, x, n, weight, out, put_q5_k);
}

static void put_q3_k(const struct enc_fit *fit, uint8_t *p)
{
    for (int i = 0; i < 256; i++) {
        int q = (int)fit->level[i] + 4;
        add_bits(p + i % 32, (q >> 2) << i / 32);
        add_bits(p + 32 + 32 * (i / 128) + i % 32, (q & 3) << 2 * (i % 128 / 32));
    }
    for (int s = 0; s < 16; s++) {
        int sc = fit->sc[s] + 32;
        add_bits(p + 96 + s % 8, (sc & 15) << 4 * (s / 8));
        add_bits(p + 104 + s % 4, (sc >> 4) << 2 * (s / 4));
    }
    enc_put16(p + 108, fit->d);
}

void ref_encode_q3_k(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 16,
                                         .len = 16,
                                         .sc_lo = -32,
                                         .sc_hi = 31,
                                         .sc_step = 1,
                                         .both_signs = true,
                                         .top = 4,
                                         .reach = 0.7f,
                                         .growth = 1.065f,
                                         .n_guess = 12,
                                         .lo = -4,
                                         .hi = 3,
                                         .nearest = ref_enc_nearest_int};
    ref_enc_blocks(&form, 110, x, n, weight, out, put_q3_k);
}

static void put_q6_k(const struct enc_fit *fit, uint8_t *p)
{
    for (int i = 0; i < 256; i++) {
        int q = (int)fit->level[i] + 32, half = i / 128, k = i % 128 / 32, l = i % 32;
        add_bits(p + 64 * half + 32 * (k % 2) + l, (q & 15) << 4 * (k / 2));
        add_bits(p + 128 + 32 * half + l, (q >> 4) << 2 * k);
    }
    for (int s = 0; s < 16; s++) p[192 + s] = (uint8_t)(fit->sc[s] & 255);
    enc_put16(p + 208, fit->d);
}

void ref_encode_q6_k(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 16,
                                         .len = 16,
                                         .sc_lo = -128,
                                         .sc_hi = 127,
                                         .sc_step = 1,
                                         .both_signs = true,
                                         .top = 32,
                                         .reach = 0.93f,
                                         .growth = 1.012f,
                                         .n_guess = 12,
                                         .lo = -32,
                                         .hi = 31,
                                         .nearest = ref_enc_nearest_int};
    ref_enc_blocks(&form, 210, x, n, weight, out, put_q6_k);
}

static void put_iq4_xs(const struct enc_fit *fit, uint8_t *p)
{
    uint32_t high = 0;
    enc_put16(p, fit->d);
    for (int g = 0; g < 8; g++) {
        int ls = fit->sc[g] + 32;
        high |= (uint32_t)(ls >> 4) << 2 * g;
        add_bits(p + 4 + g / 2, (ls & 15) << 4 * (g % 2));
    }
    enc_put16(p + 2, high);
    for (int i = 0; i < 256; i++) {
        int q = ref_enc_table_index(ref_enc_iq4, 16, fit->level[i]);
        add_bits(p + 8 + 16 * (i / 32) + i % 16, q << 4 * (i % 32 / 16));
    }
}

void ref_encode_iq4_xs(const float *x, size_t n, const float *weight, uint8_t *out)
{
    static const struct enc_form form = {.n_sub = 8,
                                         .len = 32,
                                         .sc_lo = -32,
                                         .sc_hi = 31,
                                         .sc_step = 1,
                                         .both_signs = true,
                                         .top = 127,
                                         .reach = 0.75f,
                                         .growth = 1.035f,
                                         .n_guess = 16,
                                         .table = ref_enc_iq4,
                                         .n_table = 16,
                                         .nearest = ref_enc_nearest_table};
    ref_enc_blocks(&form, 136, x, n, weight, out, put_iq4_xs);
}
