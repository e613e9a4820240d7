/* Wrong products and wrong block decoders, made on purpose; see locate_causes.h. What a decoder
 * does wrongly is told by what becomes of the right values, or read from the block anew. */
#include "selftest/locate_cause.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The matrix of the site, decoded: (n_out, n_in). */
struct matrix {
    struct ref_weight w;
    float *v;
    size_t n_in, n_out;
};

static bool matrix_open(struct matrix *a, const struct scene *s, uint32_t layer)
{
    a->w = ref_site_of(s->m.ref, s->site, layer).weight;
    if (!a->w.data) return false;
    a->n_in = a->w.n_in;
    a->n_out = a->w.n_out;
    a->v = alloc_array(a->n_in * a->n_out, sizeof *a->v);
    return a->v && ref_decode(a->w.type, a->w.data, a->n_in * a->n_out, a->v);
}

/* y = W x + bias, W (n_out, n_in). */
static bool multiply(struct scene *s, const struct matrix *a, const double *x)
{
    for (size_t r = 0; x && r < s->n; r++)
        for (size_t i = 0; i < a->n_out; i++) {
            double sum = a->w.bias ? (double)a->w.bias[i] : 0;
            for (size_t k = 0; k < a->n_in; k++)
                sum += (double)a->v[i * a->n_in + k] * x[r * a->n_in + k];
            s->y[r * a->n_out + i] = (float)sum;
        }
    free(a->v);
    return x != NULL;
}

/* ---- the matrix read wrongly ----------------------------------------------------------------- */

/* Which weight stands where W[i][k] should. */
static size_t taken(int way, const struct matrix *a, size_t head_dim, size_t i, size_t k)
{
    const size_t n_in = a->n_in, n_out = a->n_out, d = head_dim;
    const size_t head = i - i % d, p = i % d;
    size_t row = i;
    if (way == MATRIX_TRANSPOSED) return k * n_out + i;
    if (way == MATRIX_ROWS_AS_LONG_AS_COLUMNS) return (i * n_out + k) % (n_in * n_out);
    if (way == MATRIX_ROW_AFTER) row = (i + 1) % n_out;
    if (way == MATRIX_ROW_BEFORE) row = (i + n_out - 1) % n_out;
    if (way == MATRIX_NEOX_ORDER) row = head + (p < d / 2 ? 2 * p : 2 * (p - d / 2) + 1);
    if (way == MATRIX_NORM_ORDER) row = head + (p % 2 ? d / 2 : 0) + p / 2;
    if (way == MATRIX_HEADS_REVERSED) row = n_out - d - head + p;
    return row * n_in + k;
}

/* gemm(m, k, n) called as gemm(m, n, k): rows of the weights and of x are n_out long, rows of the
 * result n_in; there are zeros behind the end of x, and what is not reached is zero. */
static void swap_arguments(struct scene *s, const struct matrix *a, const double *x)
{
    const size_t n_x = s->n * a->n_in, n_y = s->n * a->n_out;
    memset(s->y, 0, n_y * sizeof *s->y);
    for (size_t r = 0; r < s->n; r++)
        for (size_t i = 0; i < a->n_in && r * a->n_in + i < n_y; i++) {
            double sum = 0;
            for (size_t k = 0; k < a->n_out && r * a->n_out + k < n_x; k++)
                sum += (double)a->v[i * a->n_out + k] * x[r * a->n_out + k];
            s->y[r * a->n_in + i] = (float)sum;
        }
}

bool break_matrix(struct scene *s, int way)
{
    struct matrix a;
    const double *x = scene_input(s, 0);
    const uint32_t layer = way == MATRIX_OTHER_LAYER ? s->layer - 1 : s->layer;
    if (!x || !matrix_open(&a, s, layer)) return false;
    float *read = alloc_array(a.n_in * a.n_out, sizeof *read);
    if (!read) return false;
    for (size_t i = 0; i < a.n_out; i++)
        for (size_t k = 0; k < a.n_in; k++)
            read[i * a.n_in + k] = a.v[taken(way, &a, s->m.shape.head_dim, i, k)];
    for (size_t i = 0; i < a.n_out * a.n_in; i++) {
        if (way == MATRIX_CUT && i % a.n_in >= a.n_in / 2) read[i] = 0;
        if (way == MATRIX_SHORT && i / a.n_in >= a.n_out - 40) read[i] = 0;
    }
    if (way == MATRIX_NO_BIAS && !a.w.bias) return false;
    if (way == MATRIX_NO_BIAS) a.w.bias = NULL;
    if (way == MATRIX_OTHER_INPUT) x = scene_value(s, SITE_RESID_1);
    if (way == MATRIX_ARGUMENTS_SWAPPED) {
        swap_arguments(s, &a, x);
        free(a.v);
        free(read);
        return true;
    }
    free(a.v);
    a.v = read;
    return multiply(s, &a, x);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static float f16_at(const uint8_t *p)
{
    return ref_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* A block of 32 weights with scale d and, in Q4_1, minimum m at its head. */
static void damage_block(int way, const uint8_t *at, const uint8_t *before, float *v)
{
    static const float levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};
    const uint8_t turned[2] = {at[1], at[0]};
    const float d = f16_at(at), m = f16_at(at + 2);
    float old[32];
    memcpy(old, v, sizeof old);
    for (int i = 0; i < 32; i++) {
        if (way == BLOCK_NIBBLES_SWAPPED) v[i] = old[(i + 16) % 32];
        if (way == BLOCK_NIBBLES_PAIRED) v[i] = old[i / 2 + (i % 2 ? 16 : 0)];
        if (way == BLOCK_AS_IQ4_NL) v[i] = d * levels[lroundf(old[i] / d) + 8];
        if (way == BLOCK_NO_MINIMUM) v[i] = old[i] - m;
        if (way == BLOCK_MINIMUM_SIGN) v[i] = old[i] - 2 * m;
        if (way == BLOCK_SCALE_FOR_MINIMUM) v[i] = m * roundf((old[i] - m) / d) + d;
        if (way == BLOCK_NO_SCALE) v[i] = roundf(old[i] / d);
        if (way == BLOCK_SCALE_BYTES) v[i] = roundf(old[i] / d) * f16_at(turned);
        if (way == BLOCK_SCALE_BEFORE && before) v[i] = roundf(old[i] / d) * f16_at(before);
        if (way == BLOCK_NO_HIGH_BITS) v[i] = d * (float)((lroundf(old[i] / d) + 16) % 16 - 16);
    }
}

/* Blocks of 32 at other places; block b of row i. */
static void move_blocks(int way, struct matrix *a, const float *old)
{
    const size_t n = a->n_in / 32;
    for (size_t i = 0; i < a->n_out; i++)
        for (size_t b = 0; b < n; b++) {
            const size_t from = way == BLOCK_REVERSED ? i * n + (n - 1 - b) : b * a->n_out + i;
            memcpy(a->v + (i * n + b) * 32, old + from * 32, 32 * sizeof *old);
        }
}

static void as_bf16(struct matrix *a)
{
    for (size_t i = 0; i < a->n_in * a->n_out; i++) {
        const uint32_t bits = (uint32_t)(a->w.data[2 * i] | a->w.data[2 * i + 1] << 8) << 16;
        memcpy(&a->v[i], &bits, sizeof bits);
    }
}

/* Rows of the table for the tokens, at the embedding. */
static bool look_up(struct scene *s, const struct matrix *a)
{
    for (size_t r = 0; r < s->n; r++)
        memcpy(s->y + r * a->n_in, a->v + (size_t)s->prompts.tokens[r] * a->n_in,
               a->n_in * sizeof *s->y);
    free(a->v);
    return true;
}

bool break_block(struct scene *s, int way)
{
    struct matrix a;
    if (!matrix_open(&a, s, s->layer)) return false;
    const struct type_spec *type = type_by_id(a.w.type);
    const size_t n = a.n_in * a.n_out / 32, in_row = a.n_in / 32;
    if (way == BLOCK_AS_BF16) {
        as_bf16(&a);
    } else if (way == BLOCK_REVERSED || way == BLOCK_BY_COLUMNS) {
        float *old = alloc_array(a.n_in * a.n_out, sizeof *old);
        if (!old) return false;
        memcpy(old, a.v, a.n_in * a.n_out * sizeof *old);
        move_blocks(way, &a, old);
        free(old);
    } else {
        for (size_t b = 0; b < n; b++) {
            const uint8_t *at = a.w.data + b * type->block_bytes;
            damage_block(way, at, b % in_row ? at - type->block_bytes : NULL, a.v + b * 32);
        }
    }
    return s->site == SITE_EMBD ? look_up(s, &a) : multiply(s, &a, scene_input(s, 0));
}

/* ---- Q4_K ------------------------------------------------------------------------------------ */

/* Scale (min 0) or minimum (min 1) of sub-block j, from the 12 bytes p of a block. */
static int six_bits(int way, const uint8_t *p, int j, int min)
{
    const int top = way == Q4K_CROSSED ? !min : min; /* whose byte holds the two high bits */
    if (way == Q4K_NEXT && !min) j = (j + 1) % 8;
    if (way == Q4K_SWAPPED) min = !min;
    if (j < 4) return p[j + 4 * min] & 63;
    if (way == Q4K_CONSECUTIVE) return p[j + 4 * min] & 63;
    const int low = min ? p[j + 4] >> 4 : p[j + 4] & 15;
    if (way == Q4K_LOW_BITS || (way == Q4K_LOW_BITS_OF_SCALES && !min)) return low;
    return low | p[j - 4 + 4 * (way == Q4K_SWAPPED ? min : top)] >> 6 << 4;
}

bool break_q4_k(struct scene *s, int way)
{
    struct matrix a;
    if (!matrix_open(&a, s, s->layer) || a.w.type != TYPE_Q4_K) return false;
    for (size_t e = 0; e < a.n_in * a.n_out; e++) {
        const uint8_t *block = a.w.data + e / 256 * 144;
        const int i = (int)(e % 256), j = i / 32, half = way == Q4K_NIBBLES ? !(j % 2) : j % 2;
        const int q = block[16 + 32 * (i / 64) + i % 32] >> 4 * half & 15;
        const float least = way == Q4K_NO_MINIMUM ? 0 : f16_at(block + 2);
        a.v[e] = f16_at(block) * (float)six_bits(way, block + 4, j, 0) * (float)q -
                 least * (float)six_bits(way, block + 4, j, 1);
    }
    return multiply(s, &a, scene_input(s, 0));
}

/* ---- precision ------------------------------------------------------------------------------- */

static float half(double x)
{
    return ref_f16_to_f32(ref_f32_to_f16((float)x));
}

/* Blocks of n values as 8-bit multiples of the largest over 127; of 256 with its sign. */
static void eight_bits(double *x, size_t n)
{
    double top = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs(x[i]) > fabs(top)) top = x[i];
    const float id = n == 256 ? -127 / (float)top : 127 / fabsf((float)top);
    for (size_t i = 0; i < n; i++)
        x[i] = (double)(n == 256 ? rintf((float)x[i] * id) / id
                                 : roundf((float)x[i] * id) * half(1 / (double)id));
}

bool break_rounded(struct scene *s, int way)
{
    struct matrix a;
    const double *right = scene_input(s, 0);
    if (!right || !matrix_open(&a, s, s->layer)) return false;
    double *x = alloc_array(s->n * a.n_in, sizeof *x);
    if (!x) return false;
    for (size_t i = 0; i < s->n * a.n_in; i++) {
        x[i] = right[i];
        if (way == INPUT_F16) x[i] = (double)half(x[i]);
        if (way == INPUT_BF16) x[i] = (double)ref_bf16_to_f32(ref_f32_to_bf16((float)x[i]));
    }
    const size_t block = way == INPUT_Q8_K ? 256 : 32;
    for (size_t i = 0; (way == INPUT_Q8_0 || way == INPUT_Q8_K) && i < s->n * a.n_in; i += block)
        eight_bits(x + i, block);
    if (way != SUM_OF_HALVES) {
        const bool done = multiply(s, &a, x);
        free(x);
        return done;
    }
    for (size_t r = 0; r < s->n; r++)
        for (size_t i = 0; i < a.n_out; i++) {
            float sum = 0;
            for (size_t k = 0; k < a.n_in; k++)
                sum = half(
                    (double)(sum + half((double)(a.v[i * a.n_in + k] * (float)x[r * a.n_in + k]))));
            s->y[r * a.n_out + i] = sum;
        }
    free(x);
    free(a.v);
    return true;
}
