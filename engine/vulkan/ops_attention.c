/* Attention, whole and in its three steps. Bindings: 0 q or probs in, 1 k, 2 v, 3 pos, 4 cell_pos,
 * 5 what is written. */
#include "vk.h"

#include <stdio.h>

static enum status start(struct dispatch *d, const struct op_attention *a, enum kernel kernel,
                         struct err *e)
{
    const enum tensor_type types[] = {a->k_type, a->v_type};
    for (int i = 0; i < 2; i++)
        if (types[i] != TYPE_F32 && types[i] != TYPE_F16)
            return fail(e, ST_UNSUPPORTED, "attention: cache of type %s",
                        type_by_id(types[i])->name);
    if (a->head_dim % 8 != 0 || a->head_dim > 256)
        return fail(e, ST_UNSUPPORTED, "attention: head size %u is not a multiple of 8 up to 256",
                    a->head_dim);
    *d = (struct dispatch){.kernel = kernel,
                           .spec = {LOCAL_SIZE, a->k_type == TYPE_F16, a->v_type == TYPE_F16},
                           .params = {.n_tokens = a->n_tokens,
                                      .n_heads = a->n_heads,
                                      .n_kv_heads = a->n_kv_heads,
                                      .head_dim = a->head_dim,
                                      .n_cells = a->n_cells,
                                      .scale = a->scale}};
    return ST_OK;
}

static uint64_t cache_bytes(const struct op_attention *a, enum tensor_type t)
{
    return (uint64_t)a->n_cells * a->n_kv_heads * a->head_dim * (t == TYPE_F16 ? 2 : 4);
}

static uint64_t heads_bytes(const struct op_attention *a)
{
    return (uint64_t)a->n_tokens * a->n_heads * a->head_dim * 4;
}

static uint64_t probs_bytes(const struct op_attention *a)
{
    return (uint64_t)a->n_tokens * a->n_heads * a->n_cells * 4;
}

static enum status bind_positions(struct backend *b, struct dispatch *d,
                                  const struct op_attention *a, struct err *e)
{
    enum status st = vk_bind(b, d, 3, a->pos, (uint64_t)a->n_tokens * 4, false, e);
    return st ? st : vk_bind(b, d, 4, a->cell_pos, (uint64_t)a->n_cells * 4, false, e);
}

static const char *name_op(char *out, size_t cap, const char *op, const struct op_attention *a)
{
    snprintf(out, cap, "%s k %s v %s", op, type_by_id(a->k_type)->name,
             type_by_id(a->v_type)->name);
    return out;
}

enum status vk_op_attention(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct dispatch d;
    char op[48];
    enum status st =
        start(&d, a, b->config.subgroup ? KERNEL_attention_subgroup : KERNEL_attention_shared, e);
    if (st) return st;
    d.groups = (uint64_t)a->n_tokens * a->n_heads;
    st = vk_bind(b, &d, 0, a->q, heads_bytes(a), false, e);
    if (!st) st = vk_bind(b, &d, 1, a->k, cache_bytes(a, a->k_type), false, e);
    if (!st) st = vk_bind(b, &d, 2, a->v, cache_bytes(a, a->v_type), false, e);
    if (!st) st = bind_positions(b, &d, a, e);
    if (!st) st = vk_bind(b, &d, 5, a->out, heads_bytes(a), true, e);
    return st ? st : vk_dispatch(b, name_op(op, sizeof op, "attention", a), &d, e);
}

/* Tokens whose scores fit one binding. */
static uint32_t tokens_per_dispatch(const struct backend *b, const struct op_attention *a)
{
    uint64_t one = (uint64_t)a->n_heads * (a->n_cells > a->head_dim ? a->n_cells : a->head_dim) * 4;
    uint64_t n = (b->caps.props.limits.maxStorageBufferRange - 512) / (one ? one : 4);
    return n == 0 ? 1 : n > a->n_tokens ? a->n_tokens : (uint32_t)n;
}

/* The operation on n tokens from t on. */
static struct op_attention tokens_from(const struct op_attention *a, uint32_t t, uint32_t n)
{
    struct op_attention part = *a;
    part.n_tokens = a->n_tokens - t < n ? a->n_tokens - t : n;
    part.q.off += (size_t)t * a->n_heads * a->head_dim * 4;
    part.out.off += (size_t)t * a->n_heads * a->head_dim * 4;
    part.pos.off += (size_t)t * 4;
    part.probs.off += (size_t)t * a->n_heads * a->n_cells * 4;
    return part;
}

static enum status scores(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct dispatch d;
    char op[48];
    enum status st = start(&d, a, KERNEL_attn_scores, e);
    if (st) return st;
    d.groups = ((uint64_t)a->n_tokens * a->n_heads * a->n_cells + LOCAL_SIZE - 1) / LOCAL_SIZE;
    st = vk_bind(b, &d, 0, a->q, heads_bytes(a), false, e);
    if (!st) st = vk_bind(b, &d, 1, a->k, cache_bytes(a, a->k_type), false, e);
    if (!st) st = bind_positions(b, &d, a, e);
    if (!st) st = vk_bind(b, &d, 5, a->probs, probs_bytes(a), true, e);
    return st ? st : vk_dispatch(b, name_op(op, sizeof op, "attn_scores", a), &d, e);
}

static enum status mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    struct dispatch d;
    char op[48];
    enum status st = start(&d, a, KERNEL_attn_mix, e);
    if (st) return st;
    d.groups = ((uint64_t)a->n_tokens * a->n_heads * a->head_dim + LOCAL_SIZE - 1) / LOCAL_SIZE;
    st = vk_bind(b, &d, 0, a->probs, probs_bytes(a), false, e);
    if (!st) st = vk_bind(b, &d, 2, a->v, cache_bytes(a, a->v_type), false, e);
    if (!st) st = bind_positions(b, &d, a, e);
    if (!st) st = vk_bind(b, &d, 5, a->out, heads_bytes(a), true, e);
    return st ? st : vk_dispatch(b, name_op(op, sizeof op, "attn_mix", a), &d, e);
}

enum status vk_op_attn_scores(struct backend *b, const struct op_attention *a, struct err *e)
{
    const uint32_t n = tokens_per_dispatch(b, a);
    enum status st = ST_OK;
    for (uint32_t t = 0; !st && t < a->n_tokens; t += n) {
        const struct op_attention part = tokens_from(a, t, n);
        st = scores(b, &part, e);
    }
    return st;
}

enum status vk_op_attn_mix(struct backend *b, const struct op_attention *a, struct err *e)
{
    const uint32_t n = tokens_per_dispatch(b, a);
    enum status st = ST_OK;
    for (uint32_t t = 0; !st && t < a->n_tokens; t += n) {
        const struct op_attention part = tokens_from(a, t, n);
        st = mix(b, &part, e);
    }
    return st;
}

enum status vk_op_kv_write(struct backend *b, const struct op_kv_write *a, struct err *e)
{
    if (a->type != TYPE_F32 && a->type != TYPE_F16)
        return fail(e, ST_UNSUPPORTED, "kv_write: cache of type %s", type_by_id(a->type)->name);
    const bool half = a->type == TYPE_F16;
    const uint64_t words = half ? a->row / 2 + 1 : a->row;
    /* Which cells is known to the device only: the cache is bound to the end of its buffer. */
    uint64_t bytes = a->cache.buf->segments.bytes - a->cache.off;
    const uint64_t most = b->caps.props.limits.maxStorageBufferRange - 512;
    struct dispatch d = {.kernel = KERNEL_kv_write,
                         .spec = {LOCAL_SIZE, half},
                         .params = {.n_in = a->row, .n_tokens = a->n_tokens},
                         .groups = vk_div_up(words * a->n_tokens, LOCAL_SIZE)};
    enum status st = vk_bind(b, &d, 0, a->src, (uint64_t)a->n_tokens * a->row * 4, false, e);
    if (!st) st = vk_bind(b, &d, 1, a->cells, (uint64_t)a->n_tokens * 4, false, e);
    if (!st) st = vk_bind(b, &d, 2, a->cache, bytes < most ? bytes : most, true, e);
    return st ? st : vk_dispatch(b, half ? "kv_write f16" : "kv_write f32", &d, e);
}
