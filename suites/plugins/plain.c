/* The complete example of a plug-in: an engine of single operations in plain C, for F32 and F16
 * weights, with everything that `assay locate` needs of a LLaMA model in those types.
 *
 *     cc -std=c17 -shared -fPIC -Isuites/plugins -o plain.so suites/plugins/plain.c -lm
 *     assay locate model-f16.gguf --subject plugin:./plain.so
 *
 * minimal.c is the shorter one, with which to begin. */
#include "assay_subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float load(uint32_t type, const void *data, size_t i)
{
    float f;
    uint16_t h;
    if (type == 0) {
        memcpy(&f, (const char *)data + 4 * i, 4);
        return f;
    }
    memcpy(&h, (const char *)data + 2 * i, 2);
    const int exponent = h >> 10 & 31, mantissa = h & 1023, sign = h >> 15;
    f = exponent == 0    ? ldexpf((float)mantissa, -24)
        : exponent == 31 ? (mantissa ? NAN : INFINITY)
                         : ldexpf((float)(1024 + mantissa), exponent - 25);
    return sign ? -f : f;
}

/* To the nearest half, ties to even. */
static uint16_t to_half(float x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    const float a = fabsf(x);
    int e;
    if (isnan(x)) return 0x7e00;
    if (a >= 65520.0f) return (uint16_t)(sign | 0x7c00);
    if (a < 0x1p-14f) return (uint16_t)(sign | (uint16_t)nearbyintf(ldexpf(a, 24)));
    const float m = frexpf(a, &e); /* a = m 2^e, 0.5 <= m < 1 */
    const int bits = (int)nearbyintf(ldexpf(m, 11));
    return (uint16_t)(sign | (uint16_t)((e + 13) * 1024 + bits));
}

static int is_plain(uint32_t type)
{
    return type <= 1;
}

static int plain_decode(void *ctx, uint32_t type, const void *blocks, uint64_t n, float *out)
{
    (void)ctx;
    if (!is_plain(type)) return ASSAY_UNSUPPORTED;
    for (uint64_t i = 0; i < n; i++) out[i] = load(type, blocks, i);
    return ASSAY_OK;
}

static int plain_get_rows(void *ctx, const struct assay_get_rows *a)
{
    (void)ctx;
    if (!is_plain(a->w.type)) return ASSAY_UNSUPPORTED;
    for (size_t r = 0; r < a->n; r++)
        for (size_t i = 0; i < a->w.n_in; i++)
            a->out[r * a->w.n_in + i] =
                load(a->w.type, a->w.data, (size_t)a->ids[r] * a->w.n_in + i);
    return ASSAY_OK;
}

static int plain_rms_norm(void *ctx, const struct assay_norm *a)
{
    (void)ctx;
    for (size_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < a->n; i++) sum += (double)a->x[r * a->n + i] * a->x[r * a->n + i];
        const float scale = (float)(1 / sqrt(sum / a->n + (double)a->eps));
        for (size_t i = 0; i < a->n; i++)
            a->out[r * a->n + i] = a->x[r * a->n + i] * scale * a->w[r % a->w_rows * a->n + i];
    }
    return ASSAY_OK;
}

static int plain_matmul(void *ctx, const struct assay_matmul *a)
{
    const size_t n_in = a->w.n_in, n_out = a->w.n_out;
    (void)ctx;
    if (!is_plain(a->w.type)) return ASSAY_UNSUPPORTED;
    for (size_t i = 0; i < n_out; i++)
        for (size_t c = 0; c < a->n_cols; c++) {
            float sum = 0;
            for (size_t k = 0; k < n_in; k++)
                sum += load(a->w.type, a->w.data, i * n_in + k) * a->x[c * n_in + k];
            a->out[c * n_out + i] = sum + (a->bias ? a->bias[i] : 0);
        }
    return ASSAY_OK;
}

static int plain_rope(void *ctx, const struct assay_rope *a)
{
    const uint32_t half = a->n_dims / 2;
    (void)ctx;
    for (size_t t = 0; t < a->n_tokens; t++)
        for (size_t h = 0; h < a->n_heads; h++)
            for (uint32_t p = 0; p < half; p++) {
                float *head = a->x + (t * a->n_heads + h) * a->head_dim + a->first;
                float *u = head + (a->neox ? p : 2 * p),
                      *v = head + (a->neox ? p + half : 2 * p + 1);
                const float c = a->table[(t * half + p) * 2], s = a->table[(t * half + p) * 2 + 1];
                const float x = *u, y = *v;
                *u = x * c - y * s;
                *v = x * s + y * c;
            }
    return ASSAY_OK;
}

static int plain_kv_write(void *ctx, const struct assay_kv_write *a)
{
    (void)ctx;
    if (a->type > 1) return ASSAY_UNSUPPORTED;
    for (size_t t = 0; t < a->n_tokens; t++)
        for (size_t i = 0; i < a->row; i++) {
            const float x = a->src[t * a->row + i];
            const size_t at = (size_t)a->cells[t] * a->row + i;
            const uint16_t h = to_half(x);
            if (a->type == 0)
                memcpy((char *)a->cache + 4 * at, &x, 4);
            else
                memcpy((char *)a->cache + 2 * at, &h, 2);
        }
    return ASSAY_OK;
}

static int sees(const struct assay_attention *a, size_t t, size_t c)
{
    return a->first[t] <= a->cell_pos[c] && a->cell_pos[c] <= a->pos[t];
}

static float capped(const struct assay_attention *a, float z)
{
    return a->softcap > 0 && z != -INFINITY ? a->softcap * tanhf(z / a->softcap) : z;
}

static int plain_attn_scores(void *ctx, const struct assay_attention *a)
{
    (void)ctx;
    if (a->k_type > 1) return ASSAY_UNSUPPORTED;
    for (size_t t = 0; t < a->n_tokens; t++)
        for (size_t h = 0; h < a->n_heads; h++)
            for (size_t c = 0; c < a->n_cells; c++) {
                const size_t group = h / (a->n_heads / a->n_kv_heads);
                float sum = sees(a, t, c) ? 0 : -INFINITY;
                for (size_t i = 0; i < a->head_dim && sees(a, t, c); i++)
                    sum += a->q[(t * a->n_heads + h) * a->head_dim + i] *
                           load(a->k_type, a->k, (c * a->n_kv_heads + group) * a->head_dim + i);
                a->probs[(t * a->n_heads + h) * a->n_cells + c] = capped(a, sum * a->scale);
            }
    return ASSAY_OK;
}

static int plain_attn_mix(void *ctx, const struct assay_attention *a)
{
    (void)ctx;
    if (a->v_type > 1) return ASSAY_UNSUPPORTED;
    for (size_t t = 0; t < a->n_tokens; t++)
        for (size_t h = 0; h < a->n_heads; h++)
            for (size_t i = 0; i < a->value_dim; i++) {
                const size_t group = h / (a->n_heads / a->n_kv_heads);
                float sum = 0;
                for (size_t c = 0; c < a->n_cells; c++)
                    if (sees(a, t, c))
                        sum +=
                            a->probs[(t * a->n_heads + h) * a->n_cells + c] *
                            load(a->v_type, a->v, (c * a->n_kv_heads + group) * a->value_dim + i);
                a->out[(t * a->n_heads + h) * a->value_dim + i] = sum;
            }
    return ASSAY_OK;
}

static int plain_softmax(void *ctx, const struct assay_softmax *a)
{
    float *out = a->out;
    (void)ctx;
    for (size_t r = 0; r < a->rows; r++) {
        const float *x = a->x + r * a->n;
        const float sink = a->sinks ? a->sinks[r % a->n_sinks] : -INFINITY;
        float top = sink;
        double sum = 0;
        for (size_t i = 0; i < a->n; i++) top = fmaxf(top, x[i]);
        for (size_t i = 0; i < a->n; i++) {
            const float y = x[i] == -INFINITY ? 0 : expf(x[i] - top);
            sum += (double)y;
            out[r * a->n + i] = y;
        }
        if (sink > -INFINITY) sum += (double)expf(sink - top);
        for (size_t i = 0; i < a->n && sum > 0; i++)
            out[r * a->n + i] = (float)((double)out[r * a->n + i] / sum);
    }
    return ASSAY_OK;
}

static int plain_attention(void *ctx, const struct assay_attention *a)
{
    struct assay_attention b = *a;
    b.probs = calloc((size_t)a->n_tokens * a->n_heads * a->n_cells, sizeof *b.probs);
    if (!b.probs) return ASSAY_FAILED;
    const struct assay_softmax rows = {b.probs,    a->sinks,  b.probs, a->n_tokens * a->n_heads,
                                       a->n_cells, a->n_heads};
    int code = plain_attn_scores(ctx, &b);
    if (code == ASSAY_OK) code = plain_softmax(ctx, &rows);
    if (code == ASSAY_OK) code = plain_attn_mix(ctx, &b);
    free(b.probs);
    return code;
}

static int plain_silu_mul(void *ctx, const struct assay_elements *a)
{
    (void)ctx;
    for (size_t i = 0; i < a->n; i++)
        a->out[i] = (float)((double)a->a[i] / (1 + exp(-(double)a->a[i]))) * a->b[i];
    return ASSAY_OK;
}

static int plain_add(void *ctx, const struct assay_elements *a)
{
    (void)ctx;
    for (size_t i = 0; i < a->n; i++) a->out[i] = a->a[i] + a->b[i];
    return ASSAY_OK;
}

static const struct assay_ops ops = {
    .get_rows = plain_get_rows,
    .rms_norm = plain_rms_norm,
    .matvec = plain_matmul,
    .matmul = plain_matmul,
    .rope = plain_rope,
    .kv_write = plain_kv_write,
    .attention = plain_attention,
    .attn_scores = plain_attn_scores,
    .softmax = plain_softmax,
    .attn_mix = plain_attn_mix,
    .silu_mul = plain_silu_mul,
    .add = plain_add,
};

static const struct assay_subject subject = {
    .abi = ASSAY_SUBJECT_ABI,
    .name = "plain C",
    .decode = plain_decode,
    .ops = &ops,
};

__attribute__((visibility("default"))) const struct assay_subject *assay_subject(uint32_t abi)
{
    return abi == ASSAY_SUBJECT_ABI ? &subject : NULL;
}
