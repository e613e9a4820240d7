/* The cache: writing it, attention, whole and in its three steps. Bindings of attention: 0 q or
 * probs in, 1 k, 2 v, 3 pos, 4 cell_pos, 5 what is written, 6 first, 7 sinks, 8 state. A cache that
 * is larger than what the device binds is bound in windows of cells, a dispatch for each. */
#include "engine/vulkan/vk.h"

#include <stdio.h>

enum { MAX_FUSED_DIM = 1024, BLOCK = 32 }; /* as attention.comp and cache_types.glsl say */

/* Types that cache_types.glsl knows, by their numbers there. */
static bool is_cache_type(enum tensor_type t)
{
    const enum tensor_type types[] = {TYPE_F32,  TYPE_F16,  TYPE_BF16,  TYPE_Q8_0,
                                      TYPE_Q4_0, TYPE_Q5_1, TYPE_IQ4_NL};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i] == t) return true;
    return false;
}

static enum status check_cache(const char *op, enum tensor_type t, uint32_t n, uint32_t multiple,
                               struct err *e)
{
    if (!is_cache_type(t))
        return fail(e, ST_UNSUPPORTED, "%s: cache of type %s", op, type_by_id(t)->name);
    if (type_by_id(t)->block_elems > 1) multiple = BLOCK;
    if (n % multiple != 0)
        return fail(e, ST_UNSUPPORTED, "%s: %u values of type %s, not a multiple of %u", op, n,
                    type_by_id(t)->name, multiple);
    return ST_OK;
}

/* ---- attention ------------------------------------------------------------------------------- */

static enum status start(struct dispatch *d, const struct op_attention *a, enum kernel kernel,
                         struct err *e)
{
    *d = (struct dispatch){.kernel = kernel,
                           .spec = {LOCAL_SIZE, (uint32_t)a->k_type, (uint32_t)a->v_type},
                           .params = {.n_tokens = a->n_tokens,
                                      .n_heads = a->n_heads,
                                      .n_kv_heads = a->n_kv_heads,
                                      .head_dim = a->head_dim,
                                      .value_dim = a->value_dim,
                                      .n_cells = a->n_cells,
                                      .scale = a->scale,
                                      .softcap = a->softcap}};
    enum status st = ST_OK;
    if (kernel != KERNEL_attn_mix) st = check_cache("attention", a->k_type, a->head_dim, 8, e);
    if (!st && kernel != KERNEL_attn_scores)
        st = check_cache("attention", a->v_type, a->value_dim, 8, e);
    return st;
}

static struct row_range cells_of(const struct op_attention *a, bool values)
{
    const uint64_t dim = values ? a->value_dim : a->head_dim;
    const enum tensor_type t = values ? a->v_type : a->k_type;
    return (struct row_range){values ? a->v : a->k,
                              type_bytes(type_by_id(t), (uint64_t)a->n_kv_heads * dim), a->n_cells};
}

/* Binds the cells from `cell` on that fit, of keys, values, or both, and what they hold. */
static enum status bind_cells(struct backend *b, struct dispatch *d, const struct op_attention *a,
                              bool keys, bool values, uint32_t cell, struct err *e)
{
    const struct row_range k = cells_of(a, false), v = cells_of(a, true);
    struct window kw = {.n_rows = a->n_cells - cell}, vw = kw;
    enum status st = ST_OK;
    if (keys) st = vk_bind_window(b, d, 1, &k, cell, false, &kw, e);
    if (!st && values) st = vk_bind_window(b, d, 2, &v, cell, false, &vw, e);
    const uint32_t n = kw.n_rows < vw.n_rows ? kw.n_rows : vw.n_rows;
    d->params.k0 = cell;
    d->params.n_rows = n;
    if (!st) st = vk_bind(b, d, 4, vk_advance(a->cell_pos, cell), (uint64_t)n * 4, false, e);
    return st;
}

static enum status bind_positions(struct backend *b, struct dispatch *d,
                                  const struct op_attention *a, struct err *e)
{
    enum status st = vk_bind(b, d, 3, a->pos, (uint64_t)a->n_tokens * 4, false, e);
    return st ? st : vk_bind(b, d, 6, a->first, (uint64_t)a->n_tokens * 4, false, e);
}

/* Values of all heads of the part's tokens. */
static uint64_t heads_bytes(const struct op_attention *a, uint32_t each)
{
    return (uint64_t)a->n_tokens * a->n_heads * each * 4;
}

static const char *name_op(char *out, size_t cap, const char *op, const struct op_attention *a)
{
    snprintf(out, cap, "%s k %s v %s", op, type_by_id(a->k_type)->name,
             type_by_id(a->v_type)->name);
    return out;
}

/* In one piece, window after window; what the last one needs, when it is there. */
static enum status fused(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct dispatch d;
    struct view state = {0};
    char op[48];
    const uint64_t state_bytes = heads_bytes(a, 2);
    const enum kernel kernel = !b->config.subgroup ? KERNEL_attention_shared
                               : b->config.half    ? KERNEL_attention_half
                                                   : KERNEL_attention_subgroup;
    enum status st = start(&d, a, kernel, e);
    if (st) return st;
    if (a->value_dim > 8 * LOCAL_SIZE) d.spec[0] = 2 * LOCAL_SIZE;
    d.groups = (uint64_t)a->n_tokens * a->n_heads;
    st = vk_bind(b, &d, 0, a->q, heads_bytes(a, a->head_dim), false, e);
    if (!st) st = bind_positions(b, &d, a, e);
    if (!st) st = vk_bind(b, &d, 5, a->out, heads_bytes(a, a->value_dim), true, e);
    if (!st && a->sinks.buf) st = vk_bind(b, &d, 7, a->sinks, (uint64_t)a->n_heads * 4, false, e);
    for (uint32_t cell = 0; !st && cell < a->n_cells; cell += d.params.n_rows) {
        st = bind_cells(b, &d, a, true, true, cell, e);
        if (st) break;
        const bool last = cell + d.params.n_rows == a->n_cells;
        if (last) d.params.flags = FLAG_LAST | (a->sinks.buf ? FLAG_SINKS : 0);
        if (!last && !state.buf) {
            st = vk_scratch(b, state_bytes, &state, e);
            if (!st) st = vk_bind(b, &d, 8, state, state_bytes, true, e);
        }
        if (!st) st = vk_dispatch(b, name_op(op, sizeof op, "attention", a), &d, e);
    }
    return st;
}

static enum status scores(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct dispatch d;
    char op[48];
    enum status st = start(&d, a, KERNEL_attn_scores, e);
    if (!st) st = vk_bind(b, &d, 0, a->q, heads_bytes(a, a->head_dim), false, e);
    if (!st) st = bind_positions(b, &d, a, e);
    if (!st) st = vk_bind(b, &d, 5, a->probs, heads_bytes(a, a->n_cells), true, e);
    for (uint32_t cell = 0; !st && cell < a->n_cells; cell += d.params.n_rows) {
        st = bind_cells(b, &d, a, true, false, cell, e);
        d.groups = vk_div_up((uint64_t)a->n_tokens * a->n_heads * d.params.n_rows, LOCAL_SIZE);
        if (!st) st = vk_dispatch(b, name_op(op, sizeof op, "attn_scores", a), &d, e);
    }
    return st;
}

static enum status mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct dispatch d;
    char op[48];
    enum status st = start(&d, a, KERNEL_attn_mix, e);
    if (!st) st = vk_bind(b, &d, 0, a->probs, heads_bytes(a, a->n_cells), false, e);
    if (!st) st = bind_positions(b, &d, a, e);
    if (!st) st = vk_bind(b, &d, 5, a->out, heads_bytes(a, a->value_dim), true, e);
    for (uint32_t cell = 0; !st && cell < a->n_cells; cell += d.params.n_rows) {
        st = bind_cells(b, &d, a, false, true, cell, e);
        d.groups = vk_div_up((uint64_t)a->n_tokens * a->n_heads * (a->value_dim / 8), LOCAL_SIZE);
        if (!st) st = vk_dispatch(b, name_op(op, sizeof op, "attn_mix", a), &d, e);
    }
    return st;
}

/* The operation on n tokens from t on. */
static struct op_attention tokens_from(const struct op_attention *a, uint32_t t, uint32_t n)
{
    struct op_attention part = *a;
    const uint64_t heads = (uint64_t)t * a->n_heads;
    part.n_tokens = a->n_tokens - t < n ? a->n_tokens - t : n;
    part.q = vk_advance(a->q, heads * a->head_dim);
    part.out = vk_advance(a->out, heads * a->value_dim);
    part.pos = vk_advance(a->pos, t);
    part.first = vk_advance(a->first, t);
    part.probs = vk_advance(a->probs, heads * a->n_cells);
    return part;
}

/* As many tokens at once as have all of their values, `widest` of a head, in one binding. */
static enum status in_parts(struct backend *b, const struct op_attention *a, uint32_t widest,
                            enum status (*run)(struct backend *, const struct op_attention *,
                                               struct err *),
                            struct err *e)
{
    if (widest < a->head_dim) widest = a->head_dim;
    if (widest < a->value_dim) widest = a->value_dim;
    const uint32_t most = vk_rows_per_dispatch(b, (uint64_t)a->n_heads * widest);
    enum status st = ST_OK;
    for (uint32_t t = 0, n; !st && t < a->n_tokens; t += n) {
        n = a->n_tokens - t < most ? a->n_tokens - t : most;
        const struct op_attention part = tokens_from(a, t, n);
        st = run(b, &part, e);
    }
    return st;
}

enum status vk_op_attention(struct backend *b, const struct op_attention *a, struct err *e)
{
    if (a->head_dim > MAX_FUSED_DIM || a->value_dim > MAX_FUSED_DIM)
        return fail(e, ST_UNSUPPORTED, "attention: heads of %u and %u values, more than %d",
                    a->head_dim, a->value_dim, MAX_FUSED_DIM);
    return in_parts(b, a, 0, fused, e);
}

enum status vk_op_attn_scores(struct backend *b, const struct op_attention *a, struct err *e)
{
    return in_parts(b, a, a->n_cells, scores, e);
}

enum status vk_op_attn_mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    return in_parts(b, a, a->n_cells, mix, e);
}

/* ---- kv_write -------------------------------------------------------------------------------- */

enum status vk_op_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    const struct type_spec *t = type_by_id(a->type);
    enum status st = check_cache("kv_write", a->type, a->row, 1, e);
    if (st) return st;
    char op[48];
    snprintf(op, sizeof op, "kv_write %s", t->name);
    const uint64_t parts = a->type == TYPE_F32  ? a->row
                           : t->block_elems > 1 ? a->row / BLOCK
                                                : a->row / 2 + 1;
    struct dispatch d = {.kernel = KERNEL_kv_write,
                         .spec = {LOCAL_SIZE, (uint32_t)a->type},
                         .params = {.n_in = a->row, .n_tokens = a->n_tokens},
                         .groups = vk_div_up(parts * a->n_tokens, LOCAL_SIZE)};
    st = vk_bind(b, &d, 0, a->src, (uint64_t)a->n_tokens * a->row * 4, false, e);
    if (!st) st = vk_bind(b, &d, 1, a->cells, (uint64_t)a->n_tokens * 4, false, e);
    /* Which cells is known to the device only: any up to the end of the buffer. */
    struct row_range rows = {a->cache, type_bytes(t, a->row), 0};
    const uint64_t n = (a->cache.buf->segments.bytes - a->cache.off) / rows.row_bytes;
    rows.n_rows = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    struct window w = {0};
    for (uint32_t cell = 0; !st && cell < rows.n_rows; cell += w.n_rows) {
        st = vk_bind_window(b, &d, 2, &rows, cell, true, &w, e);
        d.params.row0 = cell;
        d.params.n_rows = w.n_rows;
        if (!st) st = vk_dispatch(b, op, &d, e);
    }
    return st;
}
