/* A backend with one fault; see faults.h. */
#include "stories/faults.h"
#include "reference/ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct story stories[] = {
    {"transposed-q", "Q weights are read transposed; n_embd x n_embd hides it", EVERY_LAYER,
     "primer-4m-f16", SITE_Q, 0, "transposed"},
    {"transposed-q-3", "the same, in layer 3 only", 3, "primer-4m-f16", SITE_Q, 3, "transposed"},
    {"neox", "Q and K are not permuted for NORM pairing: RoPE takes halves", EVERY_LAYER,
     "primer-4m-f16", SITE_Q_ROPE, 0, "pairs as NEOX"},
    {"ffn-size", "the feed-forward size is 448, not what the file says", EVERY_LAYER,
     "primer-4m-f16", SITE_GATE, 0, "size of 448"},
    {"epsilon", "the epsilon of the norms is 1e-6, not what the file says", EVERY_LAYER,
     "primer-4m-f16", SITE_ATTN_NORM, 0, "epsilon is 1e-06"},
    {"epsilon-outside", "the epsilon is added to the root, not under it", EVERY_LAYER,
     "primer-4m-f16", SITE_ATTN_NORM, 0, "epsilon outside the root"},
    {"gqa-modulo", "query head h reads KV head h % n_kv_heads", EVERY_LAYER, "primer-4m-f16",
     SITE_SCORES, 0, "h % n_kv_heads"},
    {"kv-slot", "K and V are written one cell too far", EVERY_LAYER, "primer-4m-f16", SITE_SCORES,
     0, "one cell too far"},
    {"clip", "sums are clipped at +-10", EVERY_LAYER, "primer-4m-f16", SITE_RESID_2, 0,
     "clipped at +-10"},
    {"half-sums", "products are accumulated in f16", EVERY_LAYER, "primer-4m-f16", SITE_Q, 0,
     "accumulation in half precision"},
    {"half-sums-down-2", "the same, in the down projection of layer 2", 2, "primer-4m-f16",
     SITE_FFN_OUT, 2, "accumulation in half precision"},
    {"scale-bits", "q4_K: the top bits of the scales of sub-blocks 4..7 are dropped", EVERY_LAYER,
     "primer-4m-Q4_K_M", SITE_EMBD, 0, "6-bit scales"},
    {"scale-bits-k-4", "the same, in the K projection of layer 4", 4, "primer-4m-Q4_K_M", SITE_K, 4,
     "top bits of the 6-bit scales"},
};
const size_t n_stories = sizeof stories / sizeof *stories;

/* ---- the backend ----------------------------------------------------------------------------- */

struct held {
    struct dbuf *buf;
    const void *host; /* of imported weights */
    size_t bytes;
};

struct faulty {
    struct backend_base base;
    struct backend *inner;
    const struct backend_ops *ops; /* of inner */
    const struct story *story;
    struct held *held;
    size_t n_held, cap_held;
    int n_linear, n_norms, n_ropes, n_writes, n_adds; /* since the embedding */
};

static struct faulty *faulty_of(struct backend *b)
{
    return (struct faulty *)(void *)b;
}

static bool is(const struct faulty *f, const char *name)
{
    const size_t n = strlen(name);
    return strncmp(f->story->name, name, n) == 0 &&
           (f->story->name[n] == 0 || f->story->name[n] == '-') &&
           (strcmp(name, "epsilon") != 0 || f->story->name[n] == 0);
}

static bool in_layer(const struct faulty *f, int layer)
{
    return f->story->layer == EVERY_LAYER || f->story->layer == layer;
}

static enum status hold(struct faulty *f, struct dbuf *buf, const void *host, size_t bytes,
                        struct err *e)
{
    if (f->n_held == f->cap_held) {
        const size_t cap = f->cap_held ? 2 * f->cap_held : 64;
        struct held *grown = realloc(f->held, cap * sizeof *grown);
        if (!grown) return fail(e, ST_NOMEM, "no memory for %zu buffers", cap);
        f->held = grown;
        f->cap_held = cap;
    }
    f->held[f->n_held++] = (struct held){buf, host, bytes};
    return ST_OK;
}

static const struct held *held_of(const struct faulty *f, const struct dbuf *buf)
{
    for (size_t i = 0; i < f->n_held; i++)
        if (f->held[i].buf == buf) return &f->held[i];
    return NULL;
}

static enum status faulty_alloc(struct backend *b, size_t bytes, struct dbuf **out, struct err *e)
{
    struct faulty *f = faulty_of(b);
    enum status st = f->ops->alloc(f->inner, bytes, out, e);
    return st == ST_OK ? hold(f, *out, NULL, bytes, e) : st;
}

static enum status faulty_import(struct backend *b, const void *host, size_t bytes,
                                 struct dbuf **out, struct err *e)
{
    struct faulty *f = faulty_of(b);
    enum status st = f->ops->import(f->inner, host, bytes, out, e);
    return st == ST_OK ? hold(f, *out, host, bytes, e) : st;
}

static void faulty_release(struct backend *b, struct dbuf *buf)
{
    struct faulty *f = faulty_of(b);
    for (size_t i = 0; i < f->n_held; i++)
        if (f->held[i].buf == buf) f->held[i] = f->held[--f->n_held];
    f->ops->release(f->inner, buf);
}

static enum status faulty_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                                 struct err *e)
{
    struct faulty *f = faulty_of(b);
    return f->ops->upload(f->inner, dst, src, bytes, e);
}

static enum status faulty_download(struct backend *b, void *dst, struct view src, size_t bytes,
                                   struct err *e)
{
    struct faulty *f = faulty_of(b);
    return f->ops->download(f->inner, dst, src, bytes, e);
}

static enum status faulty_flush(struct backend *b, struct err *e)
{
    struct faulty *f = faulty_of(b);
    return f->ops->flush(f->inner, e);
}

static void faulty_stats(struct backend *b, struct backend_stats *out)
{
    struct faulty *f = faulty_of(b);
    f->ops->stats(f->inner, out);
}

static void faulty_close(struct backend *b)
{
    struct faulty *f = faulty_of(b);
    backend_close(f->inner);
    free(f->held);
    free(f);
}

/* n values of a view on the host; free() them. NULL: e is set. */
static float *fetch(struct faulty *f, struct view v, size_t n, struct err *e)
{
    float *x = alloc_array(n, sizeof *x);
    if (!x)
        fail(e, ST_NOMEM, "no memory for %zu values", n);
    else if (f->ops->download(f->inner, x, v, n * sizeof *x, e) != ST_OK) {
        free(x);
        x = NULL;
    }
    return x;
}

static enum status store(struct faulty *f, struct view v, float *x, size_t n, struct err *e)
{
    enum status st = f->ops->upload(f->inner, v, x, n * sizeof *x, e);
    free(x);
    return st;
}

/* ---- products -------------------------------------------------------------------------------- */

static float half(float x)
{
    return ref_f16_to_f32(ref_f32_to_f16(x));
}

/* Q4_K as by a programmer who took the first four sub-blocks' rule for all: 4 bits of the last
 * four scales come from the low nibble, the 2 bits in the top of bytes 0..3 are forgotten. */
static void decode_q4_k_dropped(const uint8_t *block, size_t n_blocks, float *out)
{
    for (size_t b = 0; b < n_blocks; b++, block += 144, out += 256) {
        const float d = ref_f16_to_f32((uint16_t)(block[0] | block[1] << 8));
        const float dmin = ref_f16_to_f32((uint16_t)(block[2] | block[3] << 8));
        const uint8_t *s = block + 4;
        for (int i = 0; i < 256; i++) {
            const int j = i / 32;
            const int sc = j < 4 ? s[j] & 63 : s[j + 4] & 15;
            const int mn = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
            const int q = block[16 + 32 * (i / 64) + i % 32] >> 4 * (j % 2) & 15;
            out[i] = d * (float)sc * (float)q - dmin * (float)mn;
        }
    }
}

static void decode_rows(const struct faulty *f, const struct weight *w, const uint8_t *data,
                        float *out)
{
    const size_t n = (size_t)w->n_in * w->n_out;
    if (is(f, "scale-bits") && w->type == TYPE_Q4_K)
        decode_q4_k_dropped(data, n / 256, out);
    else
        ref_decode(w->type, data, n, out);
}

static float product(const struct faulty *f, const struct op_matmul *a, const float *w,
                     const float *x, size_t i)
{
    const size_t n_in = a->w.n_in, n_out = a->w.n_out;
    const bool transposed = is(f, "transposed-q"), low = is(f, "half-sums");
    float sum = 0;
    for (size_t k = 0; k < n_in; k++) {
        const float term = (transposed ? w[k * n_out + i] : w[i * n_in + k]) * x[k];
        sum = low ? half(sum + half(term)) : sum + term;
    }
    return sum;
}

static enum status wrong_product(struct faulty *f, const struct op_matmul *a, struct err *e)
{
    const size_t n_in = a->w.n_in, n_out = a->w.n_out;
    const struct held *h = held_of(f, a->w.at.buf);
    float *x = fetch(f, a->x, (size_t)a->n_cols * n_in, e);
    float *bias = a->bias.buf ? fetch(f, a->bias, n_out, e) : alloc_array(n_out, sizeof *bias);
    float *w = alloc_array(n_in * n_out, sizeof *w);
    float *y = alloc_array((size_t)a->n_cols * n_out, sizeof *y);
    enum status st = ST_NOMEM;
    if (x && bias && w && y && h && h->host) {
        const size_t n_right = is(f, "ffn-size") ? 448 : n_out;
        decode_rows(f, &a->w, (const uint8_t *)h->host + a->w.at.off, w);
        for (size_t c = 0; c < a->n_cols; c++)
            for (size_t i = 0; i < n_right; i++)
                y[c * n_out + i] = product(f, a, w, x + c * n_in, i) + bias[i];
        st = store(f, a->out, y, (size_t)a->n_cols * n_out, e);
    } else {
        free(y);
        st = fail(e, ST_NOMEM, "no memory for a product");
    }
    free(x);
    free(bias);
    free(w);
    return st;
}

/* The seven products of a layer come in this order. */
enum { LINEAR_Q, LINEAR_K, LINEAR_V, LINEAR_OUT, LINEAR_GATE, LINEAR_UP, LINEAR_DOWN, N_LINEAR };

static bool is_wrong_product(struct faulty *f, const struct op_matmul *a)
{
    const int layer = f->n_linear / N_LINEAR, which = f->n_linear % N_LINEAR;
    f->n_linear++;
    if (!in_layer(f, layer)) return false;
    if (is(f, "transposed-q")) return which == LINEAR_Q && a->w.n_in == a->w.n_out;
    if (is(f, "ffn-size")) return which == LINEAR_GATE || which == LINEAR_UP;
    if (is(f, "half-sums")) return f->story->layer == EVERY_LAYER || which == LINEAR_DOWN;
    if (is(f, "scale-bits"))
        return a->w.type == TYPE_Q4_K && (f->story->layer == EVERY_LAYER || which == LINEAR_K);
    return false;
}

static enum status faulty_matvec(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    return is_wrong_product(f, a) ? wrong_product(f, a, e) : f->ops->matvec(f->inner, a, e);
}

static enum status faulty_matmul(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    return is_wrong_product(f, a) ? wrong_product(f, a, e) : f->ops->matmul(f->inner, a, e);
}

static enum status faulty_get_rows(struct backend *b, const struct op_get_rows *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    const size_t n_in = a->w.n_in;
    const struct held *h = held_of(f, a->w.at.buf);
    f->n_linear = f->n_norms = f->n_ropes = f->n_writes = f->n_adds = 0;
    if (!is(f, "scale-bits") || f->story->layer != EVERY_LAYER || a->w.type != TYPE_Q4_K || !h)
        return f->ops->get_rows(f->inner, a, e);
    int32_t *ids = (int32_t *)(void *)fetch(f, a->ids, a->n, e);
    float *out = alloc_array(a->n * n_in, sizeof *out);
    if (!ids || !out) {
        free(ids);
        free(out);
        return fail(e, ST_NOMEM, "no memory for %u rows", a->n);
    }
    for (size_t i = 0; i < a->n; i++)
        decode_q4_k_dropped((const uint8_t *)h->host + a->w.at.off +
                                (size_t)ids[i] * type_bytes(type_by_id(TYPE_Q4_K), n_in),
                            n_in / 256, out + i * n_in);
    free(ids);
    return store(f, a->out, out, a->n * n_in, e);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static enum status faulty_rms_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    struct op_norm wrong = *a;
    const int layer = f->n_norms++ / 2;
    if (is(f, "epsilon") && in_layer(f, layer)) wrong.eps = 1e-6f;
    if (!is(f, "epsilon-outside") || !in_layer(f, layer))
        return f->ops->rms_norm(f->inner, &wrong, e);
    const size_t n = a->n;
    float *x = fetch(f, a->x, a->rows * n, e), *w = fetch(f, a->w, n, e);
    if (!x || !w) {
        free(x);
        free(w);
        return e->st;
    }
    for (size_t r = 0; r < a->rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)x[r * n + i] * (double)x[r * n + i];
        const float root = (float)sqrt(sum / (double)n) + a->eps;
        for (size_t i = 0; i < n; i++) x[r * n + i] = x[r * n + i] / root * w[i];
    }
    free(w);
    return store(f, a->out, x, a->rows * n, e);
}

static enum status faulty_rope(struct backend *b, const struct op_rope *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    struct op_rope wrong = *a;
    if (is(f, "neox") && in_layer(f, f->n_ropes++ / 2))
        wrong.pairing = a->pairing == ROPE_NORM ? ROPE_NEOX : ROPE_NORM;
    return f->ops->rope(f->inner, &wrong, e);
}

static enum status faulty_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    const struct held *cache = held_of(f, a->cache.buf);
    if (!is(f, "kv-slot") || !in_layer(f, f->n_writes++ / 2) || !cache)
        return f->ops->kv_write(f->inner, a, e);
    int32_t *cells = (int32_t *)(void *)fetch(f, a->cells, a->n_tokens, e);
    struct op_kv_write wrong = *a;
    struct view moved = {0};
    enum status st =
        cells ? f->ops->alloc(f->inner, a->n_tokens * sizeof *cells, &moved.buf, e) : e->st;
    const size_t row = a->row * (size_t)type_by_id(a->type)->block_bytes;
    const int32_t n_cells = (int32_t)(cache->bytes / row);
    for (size_t i = 0; cells && i < a->n_tokens; i++) cells[i] = (cells[i] + 1) % n_cells;
    if (st == ST_OK) st = f->ops->upload(f->inner, moved, cells, a->n_tokens * sizeof *cells, e);
    wrong.cells = moved;
    if (st == ST_OK) st = f->ops->kv_write(f->inner, &wrong, e);
    if (st == ST_OK) st = f->ops->flush(f->inner, e);
    f->ops->release(f->inner, moved.buf);
    free(cells);
    return st;
}

/* Query heads in an order in which division gives what modulo would: (rows, heads, n). */
static enum status reorder(struct faulty *f, const struct op_attention *a, struct view v, size_t n,
                           bool back, struct err *e)
{
    const size_t heads = a->n_heads, kv = a->n_kv_heads, total = a->n_tokens * heads * n;
    float *x = fetch(f, v, total, e), *y = alloc_array(total, sizeof *y);
    if (!x || !y) {
        free(x);
        free(y);
        return e->st;
    }
    for (size_t t = 0; t < a->n_tokens; t++)
        for (size_t h = 0; h < heads; h++) {
            const size_t place = h % kv * (heads / kv) + h / kv;
            const size_t to = back ? h : place, from = back ? place : h;
            memcpy(y + (t * heads + to) * n, x + (t * heads + from) * n, n * sizeof *x);
        }
    free(x);
    return store(f, v, y, total, e);
}

static enum status
by_modulo(struct faulty *f, const struct op_attention *a,
          enum status (*op)(struct backend *, const struct op_attention *, struct err *),
          struct view in, size_t n_in, struct view out, size_t n_out, struct err *e)
{
    if (!is(f, "gqa-modulo")) return op(f->inner, a, e);
    enum status st = reorder(f, a, in, n_in, false, e);
    if (st == ST_OK) st = op(f->inner, a, e);
    if (st == ST_OK) st = reorder(f, a, in, n_in, true, e);
    return st == ST_OK ? reorder(f, a, out, n_out, true, e) : st;
}

static enum status faulty_attention(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    return by_modulo(f, a, f->ops->attention, a->q, a->head_dim, a->out, a->head_dim, e);
}

static enum status faulty_attn_scores(struct backend *b, const struct op_attention *a,
                                      struct err *e)
{
    struct faulty *f = faulty_of(b);
    return by_modulo(f, a, f->ops->attn_scores, a->q, a->head_dim, a->probs, a->n_cells, e);
}

static enum status faulty_attn_mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    return by_modulo(f, a, f->ops->attn_mix, a->probs, a->n_cells, a->out, a->head_dim, e);
}

static enum status faulty_add(struct backend *b, const struct op_binary *a, struct err *e)
{
    struct faulty *f = faulty_of(b);
    enum status st = f->ops->add(f->inner, a, e);
    if (st != ST_OK || !is(f, "clip") || !in_layer(f, f->n_adds++ / 2)) return st;
    float *y = fetch(f, a->out, a->n, e);
    if (!y) return e->st;
    for (size_t i = 0; i < a->n; i++) y[i] = fminf(fmaxf(y[i], -10.0f), 10.0f);
    return store(f, a->out, y, a->n, e);
}

/* Operations that no story touches. */
#define FORWARD(op, args)                                                                          \
    static enum status faulty_##op(struct backend *b, const struct op_##args *a, struct err *e)    \
    {                                                                                              \
        struct faulty *f = faulty_of(b);                                                           \
        return f->ops->op(f->inner, a, e);                                                         \
    }
FORWARD(layer_norm, norm)
FORWARD(matmul_id, matmul_id)
FORWARD(softmax, softmax)
FORWARD(silu, unary)
FORWARD(gelu, unary)
FORWARD(gelu_erf, unary)
FORWARD(sigmoid, unary)
FORWARD(softcap, scale)
FORWARD(silu_mul, binary)
FORWARD(gelu_mul, binary)
FORWARD(gelu_erf_mul, binary)
FORWARD(swiglu_oai, binary)
FORWARD(route, route)
FORWARD(moe_sum, moe_sum)
FORWARD(scale, scale)
FORWARD(scale_rows, scale_rows)
FORWARD(copy, copy)
FORWARD(argmax, rows)
#undef FORWARD

static const struct backend_ops faulty_backend = {
    .name = "story",
    .on_host = true,
    .close = faulty_close,
    .alloc = faulty_alloc,
    .release = faulty_release,
    .import = faulty_import,
    .upload = faulty_upload,
    .download = faulty_download,
    .flush = faulty_flush,
    .stats = faulty_stats,
#define OP(name, args, types, tol) .name = faulty_##name,
#include "spec/ops.def"
#undef OP
};

/* ---- the subjects ---------------------------------------------------------------------------- */

static enum status story_open(struct subject *out, const char *name, struct err *e)
{
    const struct story *story = NULL;
    for (size_t i = 0; i < n_stories; i++)
        if (strcmp(stories[i].name, name) == 0) story = &stories[i];
    if (!story) return fail(e, ST_USAGE, "there is no story '%s'", name);
    struct faulty *f = alloc_array(1, sizeof *f);
    if (!f) return fail(e, ST_NOMEM, "no memory for a backend");
    f->base.ops = &faulty_backend;
    f->story = story;
    if (backend_open(&f->inner, "cpu", NULL, e) != ST_OK) {
        free(f);
        return e->st;
    }
    f->ops = backend_ops_of(f->inner);
    out->backend = (struct backend *)(void *)f;
    return ST_OK;
}

static void story_close(struct subject *s)
{
    backend_close(s->backend);
}

const struct subject_kind story_kind = {"story", story_open, story_close};
