/* Encoders of the codebook types. Signs are taken off first, so that the search is one for the
 * magnitudes; types that store eight signs in seven bits need an even number of minus signs, and
 * where that is not so the sign that costs least is turned. */
#include "reference/encode_priv.h"

#include <math.h>
#include <string.h>

/* Makes 8 values of b non-negative; returns the sign mask. even: the type can only store an even
 * number of minus signs. A turned value stays in x as a negative one: its magnitude is wanted as
 * small as possible. Turning costs 4 w |x| level, about. */
static uint32_t take_signs(float *x, const float *w, bool even)
{
    uint32_t mask = 0, n = 0, cheapest = 0;
    for (uint32_t j = 0; j < 8; j++) {
        if (x[j] < 0) {
            mask |= 1u << j;
            n++;
            x[j] = -x[j];
        }
        if (w[j] * x[j] < w[cheapest] * x[cheapest]) cheapest = j;
    }
    if (even && n % 2 != 0) {
        mask ^= 1u << cheapest;
        x[cheapest] = -x[cheapest];
    }
    return mask;
}

/* What the type stores for the signs of 8 values: nothing (the grid has them), 8 bits, or 7 bits
 * that leave the number of minus signs even. */
enum iq_signs { SIGNS_NONE, SIGNS_ALL, SIGNS_EVEN };

struct iq {
    struct enc_form form;
    size_t block_bytes;
    enum iq_signs signs;
    void (*put)(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs, uint8_t *p);
};

static void encode_iq(const struct iq *q, const float *x, size_t n, const float *weight,
                      uint8_t *out)
{
    for (size_t i = 0; i < n; i += ENC_MAX, out += q->block_bytes) {
        struct enc_block b;
        struct enc_fit fit;
        uint32_t signs[32] = {0};
        memset(out, 0, q->block_bytes);
        if (!ref_enc_load(&b, x + i, weight ? weight + i : NULL, ENC_MAX)) continue;
        for (size_t k = 0; k < 32 && q->signs != SIGNS_NONE; k++) {
            signs[k] = take_signs(b.x + 8 * k, b.w + 8 * k, q->signs == SIGNS_EVEN);
        }
        ref_enc_fit(&q->form, &b, &fit);
        q->put(q, &fit, signs, out);
    }
}

static uint32_t index_at(const struct iq *q, const struct enc_fit *fit, int i)
{
    return ref_enc_book_index(q->form.book, fit->level + i);
}

/* The place of an odd scale among the odd numbers. */
static uint32_t odd(int sc)
{
    return (uint32_t)(sc - 1) / 2;
}

static void add_bits(uint8_t *p, uint32_t bits)
{
    *p = (uint8_t)(*p | bits);
}

static void put_iq2_xxs(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs,
                        uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int g = 0; g < 8; g++) {
        uint32_t a = odd(fit->sc[g]) << 28;
        for (int l = 0; l < 4; l++) {
            p[2 + 8 * g + l] = (uint8_t)index_at(q, fit, 32 * g + 8 * l);
            a |= (signs[4 * g + l] & 127) << 7 * l;
        }
        enc_put32(p + 2 + 8 * g + 4, a);
    }
}

void ref_encode_iq2_xxs(const float *x, size_t n, const float *weight, uint8_t *out)
{
    struct iq q = {.form = {.n_sub = 8,
                            .len = 32,
                            .sc_lo = 1,
                            .sc_hi = 31,
                            .sc_step = 2,
                            .unit = -3,
                            .top = 43,
                            .reach = 0.6f,
                            .growth = 1.093f,
                            .n_guess = 12,
                            .nearest = ref_enc_nearest_book,
                            .book = ref_enc_book(BOOK_IQ2XXS)},
                   .block_bytes = 66,
                   .signs = SIGNS_EVEN,
                   .put = put_iq2_xxs};
    encode_iq(&q, x, n, weight, out);
}

static void put_iq2_xs(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs,
                       uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int k = 0; k < 32; k++) {
        enc_put16(p + 2 + 2 * k, index_at(q, fit, 8 * k) | (signs[k] & 127) << 9);
    }
    for (int s = 0; s < 16; s++) add_bits(p + 66 + s / 2, odd(fit->sc[s]) << 4 * (s % 2));
}

void ref_encode_iq2_xs(const float *x, size_t n, const float *weight, uint8_t *out)
{
    struct iq q = {.form = {.n_sub = 16,
                            .len = 16,
                            .sc_lo = 1,
                            .sc_hi = 31,
                            .sc_step = 2,
                            .unit = -3,
                            .top = 43,
                            .reach = 0.6f,
                            .growth = 1.093f,
                            .n_guess = 12,
                            .nearest = ref_enc_nearest_book,
                            .book = ref_enc_book(BOOK_IQ2XS)},
                   .block_bytes = 74,
                   .signs = SIGNS_EVEN,
                   .put = put_iq2_xs};
    encode_iq(&q, x, n, weight, out);
}

static void put_iq2_s(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs,
                      uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int k = 0; k < 32; k++) {
        uint32_t index = index_at(q, fit, 8 * k);
        p[2 + k] = (uint8_t)(index & 255);
        p[34 + k] = (uint8_t)signs[k];
        add_bits(p + 66 + k / 4, (index >> 8) << 2 * (k % 4));
    }
    for (int s = 0; s < 16; s++) add_bits(p + 74 + s / 2, odd(fit->sc[s]) << 4 * (s % 2));
}

void ref_encode_iq2_s(const float *x, size_t n, const float *weight, uint8_t *out)
{
    struct iq q = {.form = {.n_sub = 16,
                            .len = 16,
                            .sc_lo = 1,
                            .sc_hi = 31,
                            .sc_step = 2,
                            .unit = -3,
                            .top = 43,
                            .reach = 0.6f,
                            .growth = 1.093f,
                            .n_guess = 12,
                            .nearest = ref_enc_nearest_book,
                            .book = ref_enc_book(BOOK_IQ2S)},
                   .block_bytes = 82,
                   .signs = SIGNS_ALL,
                   .put = put_iq2_s};
    encode_iq(&q, x, n, weight, out);
}

static void put_iq3_xxs(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs,
                        uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int k = 0; k < 64; k++) p[2 + k] = (uint8_t)index_at(q, fit, 4 * k);
    for (int g = 0; g < 8; g++) {
        uint32_t a = odd(fit->sc[g]) << 28;
        for (int l = 0; l < 4; l++) a |= (signs[4 * g + l] & 127) << 7 * l;
        enc_put32(p + 66 + 4 * g, a);
    }
}

void ref_encode_iq3_xxs(const float *x, size_t n, const float *weight, uint8_t *out)
{
    struct iq q = {.form = {.n_sub = 8,
                            .len = 32,
                            .sc_lo = 1,
                            .sc_hi = 31,
                            .sc_step = 2,
                            .unit = -2,
                            .top = 62,
                            .reach = 0.6f,
                            .growth = 1.073f,
                            .n_guess = 14,
                            .nearest = ref_enc_nearest_book,
                            .book = ref_enc_book(BOOK_IQ3XXS)},
                   .block_bytes = 98,
                   .signs = SIGNS_EVEN,
                   .put = put_iq3_xxs};
    encode_iq(&q, x, n, weight, out);
}

static void put_iq3_s(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs,
                      uint8_t *p)
{
    enc_put16(p, fit->d);
    for (int k = 0; k < 64; k++) {
        uint32_t index = index_at(q, fit, 4 * k);
        p[2 + k] = (uint8_t)(index & 255);
        add_bits(p + 66 + k / 8, (index >> 8) << k % 8);
    }
    for (int k = 0; k < 32; k++) p[74 + k] = (uint8_t)signs[k];
    for (int g = 0; g < 8; g++) add_bits(p + 106 + g / 2, odd(fit->sc[g]) << 4 * (g % 2));
}

void ref_encode_iq3_s(const float *x, size_t n, const float *weight, uint8_t *out)
{
    struct iq q = {.form = {.n_sub = 8,
                            .len = 32,
                            .sc_lo = 1,
                            .sc_hi = 31,
                            .sc_step = 2,
                            .top = 15,
                            .reach = 0.6f,
                            .growth = 1.073f,
                            .n_guess = 14,
                            .nearest = ref_enc_nearest_book,
                            .book = ref_enc_book(BOOK_IQ3S)},
                   .block_bytes = 110,
                   .signs = SIGNS_ALL,
                   .put = put_iq3_s};
    encode_iq(&q, x, n, weight, out);
}

/* Grid index of a group of shifted levels; *down: the shift is -1/8. */
static uint32_t shifted_index(const struct iq *q, const float *level, bool *down)
{
    float whole[8];
    for (int j = 0; j < 8; j++) whole[j] = rintf(level[j]);
    *down = level[0] < whole[0];
    return ref_enc_book_index(q->form.book, whole);
}

static void put_iq1_s(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs,
                      uint8_t *p)
{
    (void)signs;
    enc_put16(p, fit->d);
    for (int g = 0; g < 8; g++) {
        bool down = false;
        uint32_t h = odd(fit->sc[g]) << 12;
        for (int l = 0; l < 4; l++) {
            uint32_t index = shifted_index(q, fit->level + 32 * g + 8 * l, &down);
            p[2 + 4 * g + l] = (uint8_t)(index & 255);
            h |= (index >> 8) << 3 * l;
        }
        enc_put16(p + 34 + 2 * g, h | (down ? 0x8000u : 0));
    }
}

void ref_encode_iq1_s(const float *x, size_t n, const float *weight, uint8_t *out)
{
    struct iq q = {.form = {.n_sub = 8,
                            .len = 32,
                            .sc_lo = 1,
                            .sc_hi = 15,
                            .sc_step = 2,
                            .top = 1.125f,
                            .reach = 0.9f,
                            .growth = 1.134f,
                            .n_guess = 10,
                            .nearest = ref_enc_nearest_delta,
                            .book = ref_enc_book(BOOK_IQ1S)},
                   .block_bytes = 50,
                   .put = put_iq1_s};
    encode_iq(&q, x, n, weight, out);
}

static void put_iq1_m(const struct iq *q, const struct enc_fit *fit, const uint32_t *signs,
                      uint8_t *p)
{
    (void)signs;
    for (int k = 0; k < 32; k++) {
        bool down;
        uint32_t index = shifted_index(q, fit->level + 8 * k, &down);
        p[k] = (uint8_t)(index & 255);
        add_bits(p + 32 + k / 2, (index >> 8 | (down ? 8u : 0)) << 4 * (k % 2));
    }
    /* Four 16-bit words: four scales of 3 bits each, and 4 bits of d on top. */
    for (int k = 0; k < 4; k++) {
        uint32_t word = (uint32_t)(fit->d >> 4 * k & 15) << 12;
        for (int s = 0; s < 4; s++) word |= odd(fit->sc[4 * k + s]) << 3 * s;
        enc_put16(p + 48 + 2 * k, word);
    }
}

void ref_encode_iq1_m(const float *x, size_t n, const float *weight, uint8_t *out)
{
    struct iq q = {.form = {.n_sub = 16,
                            .len = 16,
                            .sc_lo = 1,
                            .sc_hi = 15,
                            .sc_step = 2,
                            .top = 1.125f,
                            .reach = 0.9f,
                            .growth = 1.125f,
                            .n_guess = 10,
                            .nearest = ref_enc_nearest_delta8,
                            .book = ref_enc_book(BOOK_IQ1S)},
                   .block_bytes = 56,
                   .put = put_iq1_m};
    encode_iq(&q, x, n, weight, out);
}
