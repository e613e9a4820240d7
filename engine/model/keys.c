/* What a model's metadata says: values by key, and the sizes that all architectures have. */
#include "engine/model/model.h"

#include <math.h>
#include <stdio.h>

enum { MAX_LAYERS = 512 };

/* ---- metadata --------------------------------------------------------------------------- */

void model_key_name(const struct engine_model *m, const char *key, char out[MODEL_KEY_CAP])
{
    snprintf(out, MODEL_KEY_CAP, "%s.%s", m->arch->name, key);
}

bool model_has_key(const struct engine_model *m, const char *key)
{
    char name[MODEL_KEY_CAP];
    model_key_name(m, key, name);
    return gguf_find(m->gguf, name) != NULL;
}

/* An array with one value per layer: taken if all are the same. */
static enum status key_array_u32(struct gguf_kv *kv, const char *name, uint32_t *out, struct err *e)
{
    int64_t first = 0, v = 0;
    for (uint64_t i = 0; i < kv->count; i++) {
        if (!gguf_value_i64(kv, i, &v) || v < 0 || v > UINT32_MAX)
            return fail(e, ST_FORMAT, "key %s: element %llu is no 32-bit count", name,
                        (unsigned long long)i);
        if (i == 0) first = v;
        if (v != first)
            return fail(e, ST_UNSUPPORTED,
                        "key %s differs between layers (%lld and %lld): not "
                        "supported",
                        name, (long long)first, (long long)v);
    }
    if (kv->count == 0) return fail(e, ST_FORMAT, "key %s is an empty array", name);
    *out = (uint32_t)first;
    return ST_OK;
}

enum status model_key_u32(struct engine_model *m, const char *key, uint32_t *out, struct err *e)
{
    char name[MODEL_KEY_CAP];
    model_key_name(m, key, name);
    struct gguf_kv *kv = gguf_find(m->gguf, name);
    if (kv && kv->type == GGUF_ARRAY) return key_array_u32(kv, name, out, e);
    return gguf_get_u32(m->gguf, name, out, e);
}

enum status model_key_u32_or(struct engine_model *m, const char *key, uint32_t absent,
                             uint32_t *out, struct err *e)
{
    *out = absent;
    return model_has_key(m, key) ? model_key_u32(m, key, out, e) : ST_OK;
}

enum status model_key_f64(struct engine_model *m, const char *key, double *out, struct err *e)
{
    char name[MODEL_KEY_CAP];
    model_key_name(m, key, name);
    TRY(gguf_get_f64(m->gguf, name, out, e));
    if (!isfinite(*out)) return fail(e, ST_FORMAT, "key %s is %g", name, *out);
    return ST_OK;
}

enum status model_key_f64_or(struct engine_model *m, const char *key, double absent, double *out,
                             struct err *e)
{
    *out = absent;
    return model_has_key(m, key) ? model_key_f64(m, key, out, e) : ST_OK;
}

enum status model_key_bool(struct engine_model *m, const char *key, bool *out, struct err *e)
{
    char name[MODEL_KEY_CAP];
    model_key_name(m, key, name);
    return gguf_get_bool(m->gguf, name, out, e);
}

enum status model_key_bool_or(struct engine_model *m, const char *key, bool absent, bool *out,
                              struct err *e)
{
    *out = absent;
    return model_has_key(m, key) ? model_key_bool(m, key, out, e) : ST_OK;
}

/* ---- sizes ------------------------------------------------------------------------------ */

/* What a head has of the stream, unless the key says something else. */
static enum status load_head_size(struct engine_model *m, const char *key, uint32_t *out,
                                  struct err *e)
{
    const struct hyper *h = &m->h;
    if (!model_has_key(m, key) && h->n_embd % h->n_heads != 0)
        return fail(e, ST_FORMAT,
                    "%s.embedding_length %u is no multiple of %s.attention.head_count "
                    "%u, and there is no %s.%s",
                    m->arch->name, h->n_embd, m->arch->name, h->n_heads, m->arch->name, key);
    TRY(model_key_u32_or(m, key, h->n_embd / h->n_heads, out, e));
    return *out > 0 ? ST_OK : fail(e, ST_FORMAT, "%s.%s is 0", m->arch->name, key);
}

static enum status load_head_dim(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    TRY(load_head_size(m, "attention.key_length", &h->head_dim, e));
    TRY(load_head_size(m, "attention.value_length", &h->value_dim, e));
    const uint64_t limit = INT32_MAX / 4; /* q, k and v side by side are still counted in 32 bits */
    if ((uint64_t)h->n_heads * h->head_dim > limit || (uint64_t)h->n_heads * h->value_dim > limit)
        return fail(e, ST_FORMAT, "%u heads of %u dimensions: too large", h->n_heads, h->head_dim);
    return ST_OK;
}

/* What the formulas of a model without any of it are multiplied and capped by. */
static enum status load_norm_traits(struct engine_model *m, enum norm_kind norm, struct err *e)
{
    struct hyper *h = &m->h;
    double eps;
    TRY(model_key_f64(
        m, norm == NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
        &eps, e));
    if (!(eps >= 0.0))
        return fail(e, ST_FORMAT, "%s: the epsilon of the norms is %g", m->arch->name, eps);
    h->norm = norm;
    h->norm_bias = norm == NORM_RMS ? BIAS_NONE : BIAS_REQUIRED;
    h->norm_eps = (float)eps;
    h->attn_scale = (float)(1.0 / sqrt((double)h->head_dim));
    h->embd_scale = h->residual_scale = h->logit_scale = 1.0f;
    return ST_OK;
}

/* Key vocab_size, or else the number of tokens. */
static enum status load_vocab_size(struct engine_model *m, struct err *e)
{
    if (model_has_key(m, "vocab_size")) return model_key_u32(m, "vocab_size", &m->h.n_vocab, e);
    const struct gguf_kv *tokens = gguf_find(m->gguf, "tokenizer.ggml.tokens");
    if (!tokens || tokens->type != GGUF_ARRAY)
        return fail(e, ST_FORMAT,
                    "key %s.vocab_size is missing, and there is no list of tokens "
                    "(tokenizer.ggml.tokens)",
                    m->arch->name);
    if (tokens->count > UINT32_MAX)
        return fail(e, ST_FORMAT, "tokenizer.ggml.tokens has %llu entries",
                    (unsigned long long)tokens->count);
    m->h.n_vocab = (uint32_t)tokens->count;
    return ST_OK;
}

/* Experts and how many of them are used: both, or neither. */
static enum status check_experts(struct engine_model *m, struct err *e)
{
    uint32_t n, used;
    TRY(model_key_u32_or(m, "expert_count", 0, &n, e));
    TRY(model_key_u32_or(m, "expert_used_count", 0, &used, e));
    if (used <= n && (used == 0) == (n == 0)) return ST_OK;
    return fail(e, ST_FORMAT, "%s.expert_used_count is %u of %u experts", m->arch->name, used, n);
}

enum status model_load_sizes(struct engine_model *m, enum norm_kind norm, struct err *e)
{
    struct hyper *h = &m->h;
    TRY(model_key_u32(m, "context_length", &h->n_ctx, e));
    TRY(model_key_u32(m, "embedding_length", &h->n_embd, e));
    TRY(model_key_u32(m, "block_count", &h->n_layers, e));
    TRY(model_key_u32_or(m, "feed_forward_length", 0, &h->n_ff, e));
    TRY(model_key_u32(m, "attention.head_count", &h->n_heads, e));
    TRY(model_key_u32_or(m, "attention.head_count_kv", h->n_heads, &h->n_kv_heads, e));
    TRY(load_vocab_size(m, e));
    const struct {
        const char *key;
        uint32_t value, min, max;
    } sizes[] = {
        {"context_length", h->n_ctx, 1, INT32_MAX},
        {"embedding_length", h->n_embd, 1, INT32_MAX},
        {"block_count", h->n_layers, 1, MAX_LAYERS},
        {"feed_forward_length", h->n_ff, 0, INT32_MAX},
        {"attention.head_count", h->n_heads, 1, INT32_MAX},
        {"attention.head_count_kv", h->n_kv_heads, 1, INT32_MAX},
        {"vocab_size", h->n_vocab, 1, INT32_MAX},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].value < sizes[i].min || sizes[i].value > sizes[i].max)
            return fail(e, ST_FORMAT, "%s.%s is %u, not in [%u, %u]", m->arch->name, sizes[i].key,
                        sizes[i].value, sizes[i].min, sizes[i].max);
    if (h->n_heads % h->n_kv_heads != 0)
        return fail(e, ST_FORMAT,
                    "%s.attention.head_count %u is no multiple of "
                    "attention.head_count_kv %u",
                    m->arch->name, h->n_heads, h->n_kv_heads);
    TRY(load_head_dim(m, e));
    TRY(load_norm_traits(m, norm, e));
    TRY(check_experts(m, e));
    m->layers = arena_alloc(&m->arena, h->n_layers, sizeof *m->layers);
    return m->layers ? ST_OK : fail(e, ST_NOMEM, "out of memory for %u layers", h->n_layers);
}
