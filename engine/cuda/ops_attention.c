/* The KV cache and attention as launches. */
#include "engine/cuda/plan.h"

/* Types of the cache: values that a thread of kv_write makes (0: no such type), and its kernel. */
static const struct cache_kernel {
    uint32_t unit;
    enum kernel_id kv_write;
} cache_kernels[TYPE_ID_END] = {
#define PLAIN             1
#define BLOCK             32
#define CACHE(e, c, what) [TYPE_##e] = {what, KERNEL_kv_write_##c},
#include "engine/cuda/kernels/cache.def"
#undef CACHE
#undef PLAIN
#undef BLOCK
};

/* The type's kernel, if rows of n values are whole blocks; else the plan fails. */
static const struct cache_kernel *use_type(struct plan *p, enum tensor_type type, uint32_t n,
                                           size_t *row_bytes)
{
    const struct type_spec *t = type_by_id((int64_t)type);
    if (p->st != ST_OK) return NULL;
    if (!t || cache_kernels[type].unit == 0)
        p->st = fail(p->e, ST_UNSUPPORTED, "a cache of type %d", (int)type);
    else if (n % t->block_elems != 0)
        p->st = fail(p->e, ST_USAGE, "a cache of %s with rows of %u, no multiple of %u", t->name, n,
                     t->block_elems);
    if (p->st != ST_OK) return NULL;
    *row_bytes = type_bytes(t, n);
    return &cache_kernels[type];
}

enum status cuda_op_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_kv_write k = {.n_tokens = a->n_tokens, .row = a->row};
    size_t row_bytes;
    const struct cache_kernel *c = use_type(&p, a->type, a->row, &row_bytes);
    k.src = plan_use(&p, "src", a->src, (size_t)a->n_tokens * a->row, READ);
    k.cells = plan_use(&p, "cells", a->cells, a->n_tokens, READ);
    k.cache = plan_rest(&p, "cache", a->cache, WRITE);
    if (p.st != ST_OK) return p.st;
    return plan_run_flat(b, &p, c->kv_write, (uint64_t)a->n_tokens * (a->row / c->unit), &k,
                         sizeof k);
}

/* What all forms of attention have in common. */
static struct k_attention plan_attention(struct plan *p, const struct op_attention *a)
{
    struct k_attention k = {.n_tokens = a->n_tokens,
                            .n_heads = a->n_heads,
                            .n_kv_heads = a->n_kv_heads,
                            .head_dim = a->head_dim,
                            .value_dim = a->value_dim,
                            .n_cells = a->n_cells,
                            .k_type = (uint32_t)a->k_type,
                            .v_type = (uint32_t)a->v_type,
                            .scale = a->scale,
                            .softcap = a->softcap};
    if (a->n_kv_heads == 0 || a->n_heads % a->n_kv_heads != 0)
        p->st = fail(p->e, ST_USAGE, "%u heads over %u kv heads", a->n_heads, a->n_kv_heads);
    k.pos = plan_use(p, "pos", a->pos, a->n_tokens, READ);
    k.first = plan_use(p, "first", a->first, a->n_tokens, READ);
    k.cell_pos = plan_use(p, "cell_pos", a->cell_pos, a->n_cells, READ);
    return k;
}

/* A cache whose heads have dim values. */
static const uint8_t *plan_cache(struct plan *p, const char *name, struct view v,
                                 enum tensor_type type, const struct op_attention *a, uint32_t dim)
{
    size_t row_bytes;
    if (!use_type(p, type, dim, &row_bytes)) return NULL;
    return plan_bytes(p, name, v, (size_t)a->n_cells * a->n_kv_heads, row_bytes, READ);
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
    size_t heads = (size_t)a->n_tokens * a->n_heads;
    bool wide = a->value_dim > ATTN_SLICE;
    uint32_t slice = wide ? ATTN_WIDE : ATTN_SLICE;
    k.k = plan_cache(&p, "k", a->k, a->k_type, a, a->head_dim);
    k.v = plan_cache(&p, "v", a->v, a->v_type, a, a->value_dim);
    k.q = plan_use(&p, "q", a->q, heads * a->head_dim, READ);
    k.sinks = plan_use(&p, "sinks", a->sinks, a->n_heads, READ);
    k.out = plan_use(&p, "out", a->out, heads * a->value_dim, WRITE);
    struct plan_kernel kernel = {wide ? KERNEL_attention_wide : KERNEL_attention,
                                 (uint64_t)a->n_tokens * ((a->value_dim + slice - 1) / slice),
                                 a->n_heads, attention_warps(a->n_cells) * WARP};
    return plan_run(b, &p, kernel, &k, sizeof k);
}

enum status cuda_op_attn_scores(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_attention k = plan_attention(&p, a);
    size_t heads = (size_t)a->n_tokens * a->n_heads;
    k.k = plan_cache(&p, "k", a->k, a->k_type, a, a->head_dim);
    k.q = plan_use(&p, "q", a->q, heads * a->head_dim, READ);
    k.probs = plan_use(&p, "probs", a->probs, heads * a->n_cells, WRITE);
    return plan_run_flat(b, &p, KERNEL_attn_scores, heads * a->n_cells, &k, sizeof k);
}

enum status cuda_op_attn_mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_attention k = plan_attention(&p, a);
    size_t heads = (size_t)a->n_tokens * a->n_heads;
    k.v = plan_cache(&p, "v", a->v, a->v_type, a, a->value_dim);
    k.probs = plan_use(&p, "probs", a->probs, heads * a->n_cells, READ);
    k.out = plan_use(&p, "out", a->out, heads * a->value_dim, WRITE);
    return plan_run_flat(b, &p, KERNEL_attn_mix, heads * a->value_dim, &k, sizeof k);
}

enum status cuda_op_softmax(struct backend *b, const struct op_softmax *a, struct err *e)
{
    struct plan p = {.e = e};
    struct k_softmax k = {.rows = a->rows, .n = a->n, .n_sinks = a->n_sinks};
    if (a->sinks.buf && a->n_sinks == 0) return fail(e, ST_USAGE, "softmax: sinks, but none");
    k.x = plan_use(&p, "x", a->x, (size_t)a->rows * a->n, READ);
    k.sinks = plan_use(&p, "sinks", a->sinks, a->n_sinks, READ);
    k.out = plan_use(&p, "out", a->out, (size_t)a->rows * a->n, WRITE);
    return plan_run(b, &p, (struct plan_kernel){KERNEL_softmax, a->rows, 1, ROW_BLOCK}, &k,
                    sizeof k);
}
