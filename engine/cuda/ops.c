/* Operations as launches: which kernel, how many blocks, which bytes each argument may touch. */
#include "launch.h"

#include <string.h>

const struct kernel_info kernel_table[KERNEL_COUNT] = {
#define SYNC                               true
#define FREE                               false
#define KERNEL(name, file, args, barriers) {#name, #file, barriers},
#include "kernels/kernels.def"
#undef KERNEL
#undef SYNC
#undef FREE
};

/* Kernels of a type. */
struct type_kernels {
    bool weight;
    uint32_t elems, bytes;
    enum kernel_id get_rows, matvec1, matvec8, matmul;
};

/* Types with a faster matvec of one column, see kernels/fast.def. */
static const struct fast_kernel {
    enum kernel_id kernel;
    uint32_t chunk, align; /* chunk 0: none */
} fast_kernels[TYPE_ID_END] = {
#define FAST(e, c, n, bytes) [TYPE_##e] = {KERNEL_matvec_fast_##c, n, bytes},
#include "kernels/fast.def"
#undef FAST
};

/* Types with a matmul on tensor cores, see kernels/mma.def. */
static const struct mma_kernel {
    enum kernel_id kernel;
    bool known;
} mma_kernels[TYPE_ID_END] = {
#define MMA(e, c) [TYPE_##e] = {KERNEL_matmul_mma_##c, true},
#include "kernels/mma.def"
#undef MMA
};

#define W_KERNELS(c)                                                                               \
    .weight = true, .matvec1 = KERNEL_matvec1_##c, .matvec8 = KERNEL_matvec8_##c,                  \
    .matmul = KERNEL_matmul_##c
static const struct type_kernels type_kernels[TYPE_ID_END] = {
#define TYPE(e, num, nm, c, n, size, use, act)                                                     \
    IF_DECODED(use)                                                                                \
    ([num] = {.elems = n,                                                                          \
              .bytes = size,                                                                       \
              .get_rows = KERNEL_get_rows_##c,                                                     \
              IF_WEIGHT(use)(W_KERNELS(c))}, )
#include "spec/types.def"
#undef TYPE
};

static const char general_word[] = "general";

bool cuda_variant_known(const char *word, size_t len)
{
    return len == strlen(general_word) && memcmp(word, general_word, len) == 0;
}

void cuda_choose(struct cuda_base *c, const char *list, bool mma)
{
    for (const char *p = list; p && *p;) {
        size_t len = strcspn(p, ",");
        if (cuda_variant_known(p, len)) c->general = true;
        p += len + (p[len] == ',');
    }
    c->mma = mma && !c->general;
}

void cuda_stats(struct backend *b, struct backend_stats *out)
{
    const struct cuda_base *c = (const struct cuda_base *)(const void *)b;
    memset(out, 0, sizeof *out);
    out->dispatches = c->dispatches;
    if (c->dispatches == 0) return;
    size_t n = strlen(kernel_table[c->last].name);
    if (n >= sizeof out->variant) n = sizeof out->variant - 1;
    memcpy(out->variant, kernel_table[c->last].name, n);
}

/* A launch being planned: the first failure sticks, so that plans read straight down. */
struct plan {
    struct launch l;
    struct err *e;
    enum status st;
};

enum access { READ, WRITE };

/* The device address of count * size bytes at v, NULL if v is absent. */
static void *use_bytes(struct plan *p, const char *name, struct view v, size_t count, size_t size,
                       enum access access)
{
    size_t bytes;
    if (!v.buf || p->st != ST_OK) return NULL;
    if (!mul_size(count, size, &bytes) || v.off > v.buf->bytes || bytes > v.buf->bytes - v.off) {
        p->st =
            fail(p->e, ST_RANGE, "%s: %zu values of %zu bytes at %zu do not fit a buffer of %zu",
                 name, count, size, v.off, v.buf->bytes);
        return NULL;
    }
    if (access == WRITE && v.buf->read_only) {
        p->st = fail(p->e, ST_USAGE, "%s: weights are read-only", name);
        return NULL;
    }
    struct extent *x = &p->l.extents[p->l.n_extents++];
    *x = (struct extent){name, v.buf, v.buf->base + v.off, bytes, access == WRITE};
    return (void *)(uintptr_t)x->addr;
}

static void *use(struct plan *p, const char *name, struct view v, size_t count, enum access access)
{
    return use_bytes(p, name, v, count, sizeof(float), access);
}

/* All of the buffer from v on. */
static void *use_rest(struct plan *p, const char *name, struct view v, enum access access)
{
    return use_bytes(p, name, v, v.buf->bytes - (v.off <= v.buf->bytes ? v.off : 0), 1, access);
}

/* Rows of weights of a type that has kernels. */
static const struct type_kernels *use_weight(struct plan *p, const struct weight *w, bool rows,
                                             const uint8_t **at, uint64_t *row_bytes)
{
    const struct type_kernels *t = (unsigned)w->type < TYPE_ID_END ? &type_kernels[w->type] : NULL;
    if (p->st != ST_OK) return NULL;
    if (!t || t->elems == 0 || (!t->weight && !rows) || w->n_in % t->elems != 0) {
        p->st = fail(p->e, ST_UNSUPPORTED, "weights of type %d, rows of %u", (int)w->type, w->n_in);
        return NULL;
    }
    *row_bytes = (uint64_t)(w->n_in / t->elems) * t->bytes;
    *at = use_bytes(p, "w", w->at, w->n_out, *row_bytes, READ);
    return p->st == ST_OK ? t : NULL;
}

/* Runs the plan; nothing to do where there are no blocks. */
static enum status run(struct backend *b, struct plan *p, enum kernel_id kernel, uint64_t grid_x,
                       uint64_t grid_y, uint32_t block, const void *args, size_t args_bytes)
{
    struct cuda_base *c = (struct cuda_base *)(void *)b;
    if (p->st != ST_OK) return p->st;
    if (grid_x == 0 || grid_y == 0) return ST_OK;
    if (grid_x > INT32_MAX || grid_y > UINT16_MAX)
        return fail(p->e, ST_RANGE, "%s: a grid of %llu x %llu blocks", kernel_table[kernel].name,
                    (unsigned long long)grid_x, (unsigned long long)grid_y);
    p->l.kernel = kernel;
    p->l.grid_x = (uint32_t)grid_x;
    p->l.grid_y = (uint32_t)grid_y;
    p->l.block = block;
    p->l.args_bytes = (uint32_t)args_bytes;
    memcpy(p->l.args, args, args_bytes);
    c->dispatches++;
    c->last = kernel;
    return c->launch(b, &p->l, p->e);
}

/* One thread per item. */
static enum status run_flat(struct backend *b, struct plan *p, enum kernel_id kernel,
                            uint64_t items, const void *args, size_t args_bytes)
{
    uint64_t blocks = (items + FLAT_BLOCK - 1) / FLAT_BLOCK;
    return run(b, p, kernel, blocks, 1, FLAT_BLOCK, args, args_bytes);
}

enum status cuda_op_get_rows(struct backend *b, const struct op_get_rows *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_get_rows k = {.n_in = a->w.n_in, .n = a->n};
    const struct type_kernels *t = use_weight(&p, &a->w, true, &k.w, &k.row_bytes);
    k.ids = use(&p, "ids", a->ids, a->n, READ);
    k.out = use(&p, "out", a->out, (size_t)a->n * a->w.n_in, WRITE);
    if (p.st != ST_OK) return p.st;
    uint64_t items = (uint64_t)a->n * ((a->w.n_in + 7) / 8);
    return run_flat(b, &p, t->get_rows, items, &k, sizeof k);
}

enum status cuda_op_rms_norm(struct backend *b, const struct op_norm *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_rms_norm k = {.rows = a->rows, .n = a->n, .eps = a->eps};
    k.x = use(&p, "x", a->x, (size_t)a->rows * a->n, READ);
    k.w = use(&p, "w", a->w, a->n, READ);
    k.out = use(&p, "out", a->out, (size_t)a->rows * a->n, WRITE);
    return run(b, &p, KERNEL_rms_norm, a->rows, 1, ROW_BLOCK, &k, sizeof k);
}

static const struct type_kernels *plan_matmul(struct plan *p, const struct op_matmul *a,
                                              struct k_matmul *k)
{
    k->n_in = a->w.n_in;
    k->n_out = a->w.n_out;
    k->n_cols = a->n_cols;
    const struct type_kernels *t = use_weight(p, &a->w, false, &k->w, &k->row_bytes);
    k->x = use(p, "x", a->x, (size_t)a->n_cols * a->w.n_in, READ);
    k->bias = use(p, "bias", a->bias, a->w.n_out, READ);
    k->out = use(p, "out", a->out, (size_t)a->n_cols * a->w.n_out, WRITE);
    return p->st == ST_OK ? t : NULL;
}

/* Whether the fast kernel of the type can do it: whole chunks, wide loads aligned. */
static bool fast_fits(const struct backend *b, const struct op_matmul *a, const struct k_matmul *k)
{
    const struct cuda_base *c = (const struct cuda_base *)(const void *)b;
    const struct fast_kernel *f = &fast_kernels[a->w.type];
    return !c->general && a->n_cols == 1 && f->chunk != 0 && k->n_in % f->chunk == 0 &&
           (uintptr_t)k->w % f->align == 0 && k->row_bytes % f->align == 0 &&
           (uintptr_t)k->x % sizeof(float[4]) == 0 && k->n_out > 0;
}

enum status cuda_op_matvec(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_matmul k = {0};
    const struct type_kernels *t = plan_matmul(&p, a, &k);
    if (!t) return p.st;
    if (a->n_cols > MATVEC_COLS)
        return fail(e, ST_RANGE, "matvec of %u columns, at most %d", a->n_cols, MATVEC_COLS);
    if (fast_fits(b, a, &k))
        return run(b, &p, fast_kernels[a->w.type].kernel,
                   ((uint64_t)k.n_out + FAST_ROWS - 1) / FAST_ROWS, 1, FAST_WARPS * WARP, &k,
                   sizeof k);
    enum kernel_id kernel = a->n_cols == 1 ? t->matvec1 : t->matvec8;
    uint64_t blocks = a->n_cols ? ((uint64_t)a->w.n_out + MATVEC_WARPS - 1) / MATVEC_WARPS : 0;
    return run(b, &p, kernel, blocks, 1, MATVEC_WARPS * WARP, &k, sizeof k);
}

enum status cuda_op_matmul(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_matmul k = {0};
    const struct type_kernels *t = plan_matmul(&p, a, &k);
    if (!t) return p.st;
    const struct cuda_base *c = (const struct cuda_base *)(void *)b;
    bool mma = c->mma && mma_kernels[a->w.type].known;
    return run(b, &p, mma ? mma_kernels[a->w.type].kernel : t->matmul,
               ((uint64_t)a->w.n_out + TILE_M - 1) / TILE_M,
               ((uint64_t)a->n_cols + TILE_N - 1) / TILE_N, mma ? MMA_BLOCK : TILE_BLOCK, &k,
               sizeof k);
}

enum status cuda_op_rope(struct backend *b, const struct op_rope *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_rope k = {.n_tokens = a->n_tokens,
                       .n_heads = a->n_heads,
                       .head_dim = a->head_dim,
                       .n_dims = a->n_dims,
                       .neox = a->pairing == ROPE_NEOX};
    k.x = use(&p, "x", a->x, (size_t)a->n_tokens * a->n_heads * a->head_dim, WRITE);
    k.table = use(&p, "table", a->table, (size_t)a->n_tokens * (a->n_dims / 2) * 2, READ);
    uint64_t items = (uint64_t)a->n_tokens * a->n_heads * (a->n_dims / 2);
    return run_flat(b, &p, KERNEL_rope, items, &k, sizeof k);
}

/* ST_UNSUPPORTED unless the cache can be of this type. */
static uint32_t use_half(struct plan *p, enum tensor_type t)
{
    if (p->st == ST_OK && t != TYPE_F32 && t != TYPE_F16)
        p->st = fail(p->e, ST_UNSUPPORTED, "a cache of type %d", (int)t);
    return t == TYPE_F16;
}

static size_t half_bytes(uint32_t half)
{
    return half ? sizeof(uint16_t) : sizeof(float);
}

enum status cuda_op_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_kv_write k = {.n_tokens = a->n_tokens, .row = a->row};
    k.half = use_half(&p, a->type);
    k.src = use(&p, "src", a->src, (size_t)a->n_tokens * a->row, READ);
    k.cells = use(&p, "cells", a->cells, a->n_tokens, READ);
    k.cache = use_rest(&p, "cache", a->cache, WRITE);
    return run_flat(b, &p, KERNEL_kv_write, (uint64_t)a->n_tokens * a->row, &k, sizeof k);
}

static struct k_attention plan_attention(struct plan *p, const struct op_attention *a)
{
    struct k_attention k = {.n_tokens = a->n_tokens,
                            .n_heads = a->n_heads,
                            .n_kv_heads = a->n_kv_heads,
                            .head_dim = a->head_dim,
                            .n_cells = a->n_cells,
                            .scale = a->scale};
    if (a->n_kv_heads == 0 || a->n_heads % a->n_kv_heads != 0)
        p->st = fail(p->e, ST_USAGE, "%u heads over %u kv heads", a->n_heads, a->n_kv_heads);
    k.pos = use(p, "pos", a->pos, a->n_tokens, READ);
    k.cell_pos = use(p, "cell_pos", a->cell_pos, a->n_cells, READ);
    return k;
}

static void plan_cache(struct plan *p, const struct op_attention *a, struct k_attention *k,
                       bool use_k, bool use_v)
{
    size_t n = (size_t)a->n_cells * a->n_kv_heads * a->head_dim;
    if (use_k) {
        k->k_half = use_half(p, a->k_type);
        k->k = use_bytes(p, "k", a->k, n, half_bytes(k->k_half), READ);
    }
    if (use_v) {
        k->v_half = use_half(p, a->v_type);
        k->v = use_bytes(p, "v", a->v, n, half_bytes(k->v_half), READ);
    }
}

/* One warp per 32 cells up to eight: a short context needs no more. */
static uint32_t attention_warps(uint32_t n_cells)
{
    uint32_t warps = 1;
    while (warps < ATTN_MAX_WARPS && warps * WARP < n_cells) warps *= 2;
    return warps;
}

enum status cuda_op_attention(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_attention k = plan_attention(&p, a);
    size_t n = (size_t)a->n_tokens * a->n_heads * a->head_dim;
    if (p.st == ST_OK && a->head_dim > HEAD_MAX)
        p.st = fail(e, ST_UNSUPPORTED, "heads of %u, at most %d", a->head_dim, HEAD_MAX);
    plan_cache(&p, a, &k, true, true);
    k.q = use(&p, "q", a->q, n, READ);
    k.out = use(&p, "out", a->out, n, WRITE);
    return run(b, &p, KERNEL_attention, a->n_tokens, a->n_heads, attention_warps(a->n_cells) * WARP,
               &k, sizeof k);
}

enum status cuda_op_attn_scores(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_attention k = plan_attention(&p, a);
    uint64_t items = (uint64_t)a->n_tokens * a->n_heads * a->n_cells;
    plan_cache(&p, a, &k, true, false);
    k.q = use(&p, "q", a->q, (size_t)a->n_tokens * a->n_heads * a->head_dim, READ);
    k.probs = use(&p, "probs", a->probs, items, WRITE);
    return run_flat(b, &p, KERNEL_attn_scores, items, &k, sizeof k);
}

enum status cuda_op_attn_mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_attention k = plan_attention(&p, a);
    uint64_t items = (uint64_t)a->n_tokens * a->n_heads * a->head_dim;
    plan_cache(&p, a, &k, false, true);
    k.probs = use(&p, "probs", a->probs, (size_t)a->n_tokens * a->n_heads * a->n_cells, READ);
    k.out = use(&p, "out", a->out, items, WRITE);
    return run_flat(b, &p, KERNEL_attn_mix, items, &k, sizeof k);
}

enum status cuda_op_softmax(struct backend *b, const struct op_softmax *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_softmax k = {.rows = a->rows, .n = a->n};
    k.x = use(&p, "x", a->x, (size_t)a->rows * a->n, READ);
    k.out = use(&p, "out", a->out, (size_t)a->rows * a->n, WRITE);
    return run(b, &p, KERNEL_softmax, a->rows, 1, ROW_BLOCK, &k, sizeof k);
}

enum status cuda_op_argmax(struct backend *b, const struct op_rows *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_argmax k = {.rows = a->rows, .n = a->n};
    k.x = use(&p, "x", a->x, (size_t)a->rows * a->n, READ);
    k.out = use(&p, "out", a->out, a->rows, WRITE);
    return run(b, &p, KERNEL_argmax, a->rows, 1, ROW_BLOCK, &k, sizeof k);
}

static enum status run_unary(struct backend *b, const struct op_unary *a, enum kernel_id kernel,
                             struct err *e)
{
    struct plan p = {.e = e};
    struct k_unary k = {.n = a->n};
    k.x = use(&p, "x", a->x, a->n, READ);
    k.out = use(&p, "out", a->out, a->n, WRITE);
    return run_flat(b, &p, kernel, a->n, &k, sizeof k);
}

static enum status run_binary(struct backend *b, const struct op_binary *a, enum kernel_id kernel,
                              struct err *e)
{
    struct plan p = {.e = e};
    struct k_binary k = {.n = a->n};
    k.a = use(&p, "a", a->a, a->n, READ);
    k.b = use(&p, "b", a->b, a->n, READ);
    k.out = use(&p, "out", a->out, a->n, WRITE);
    return run_flat(b, &p, kernel, a->n, &k, sizeof k);
}

#define FLAT_OP(name, form)                                                                        \
    enum status cuda_op_##name(struct backend *b, const struct op_##form *a, struct err *e)        \
    {                                                                                              \
        return run_##form(b, a, KERNEL_##name, e);                                                 \
    }
FLAT_OP(silu, unary)
FLAT_OP(gelu, unary)
FLAT_OP(silu_mul, binary)
FLAT_OP(gelu_mul, binary)
FLAT_OP(add, binary)

enum status cuda_op_scale(struct backend *b, const struct op_scale *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_scale k = {.n = a->n, .factor = a->factor};
    k.x = use(&p, "x", a->x, a->n, READ);
    k.out = use(&p, "out", a->out, a->n, WRITE);
    return run_flat(b, &p, KERNEL_scale, a->n, &k, sizeof k);
}
