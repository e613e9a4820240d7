/* The weight table of a model: finds tensors by role and checks type and shape. */
#include "arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Name of a tensor: "blk.3.attn_q.bias". */
static void tensor_name(const struct tensor_want *w, const char *suffix,
                        char out[GGUF_MAX_NAME + 1])
{
    if (w->layer == NO_LAYER)
        snprintf(out, GGUF_MAX_NAME + 1, "%s.%s", w->role, suffix);
    else
        snprintf(out, GGUF_MAX_NAME + 1, "blk.%d.%s.%s", w->layer, w->role, suffix);
}

static enum status push(struct engine_model *m, const struct model_tensor *t, uint32_t *index,
                        struct err *e)
{
    if (m->n_tensors >= m->cap_tensors) {
        uint32_t cap = m->cap_tensors ? 2 * m->cap_tensors : 64;
        struct model_tensor *grown = realloc(m->tensors, cap * sizeof *grown);
        if (!grown) return fail(e, ST_NOMEM, "out of memory for the weight table");
        if (m->cap_tensors == 0) memset(grown, 0, sizeof *grown);
        m->tensors = grown;
        m->cap_tensors = cap;
    }
    m->tensors[m->n_tensors] = *t;
    *index = m->n_tensors++;
    return ST_OK;
}

static enum status check_shape(const struct gguf_tensor *t, const char *name,
                               const struct tensor_want *w, struct err *e)
{
    if (t->type->use != USE_W)
        return fail(e, ST_UNSUPPORTED, "tensor %s is of type %s, which no weight can have", name,
                    t->type->name);
    if (w->use == TENSOR_HOST && t->type->id != TYPE_F32)
        return fail(e, ST_UNSUPPORTED, "tensor %s is of type %s, not f32", name, t->type->name);
    if (t->dims[0] != w->n_in || t->dims[1] != w->n_out || t->dims[2] != 1 || t->dims[3] != 1)
        return fail(e, ST_FORMAT, "tensor %s is %llu x %llu x %llu x %llu, not %u x %u", name,
                    (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                    (unsigned long long)t->dims[2], (unsigned long long)t->dims[3], w->n_in,
                    w->n_out);
    if (!t->data) return fail(e, ST_FORMAT, "tensor %s: only the file's header was read", name);
    return ST_OK;
}

/* *out empty if optional and absent. */
static enum status find_tensor(struct engine_model *m, const struct tensor_want *w,
                               const char *suffix, struct model_tensor *out, struct err *e)
{
    char name[GGUF_MAX_NAME + 1];
    tensor_name(w, suffix, name);
    const struct gguf_tensor *t = gguf_find_tensor(m->gguf, name);
    *out = (struct model_tensor){0};
    if (!t && w->optional) return ST_OK;
    if (!t) return fail(e, ST_FORMAT, "tensor %s is missing", name);
    TRY(check_shape(t, name, w, e));
    m->claimed[t - m->gguf->tensors] = true;
    out->name = arena_strdup(&m->arena, name, strlen(name));
    if (!out->name) return fail(e, ST_NOMEM, "out of memory for a tensor's name");
    out->type = t->type;
    out->data = t->data;
    out->bytes = t->bytes;
    out->n_in = w->n_in;
    out->n_out = w->n_out;
    out->use = w->use;
    return ST_OK;
}

enum status model_load_tensor(struct engine_model *m, const struct tensor_want *w, uint32_t *out,
                              struct err *e)
{
    struct model_tensor t;
    *out = 0;
    TRY(find_tensor(m, w, "weight", &t, e));
    return t.data ? push(m, &t, out, e) : ST_OK;
}

/* The bias and the factor that may come with a matrix. */
static enum status find_extras(struct engine_model *m, const struct tensor_want *w,
                               struct model_tensor *bias, float *factor, struct err *e)
{
    struct model_tensor scale;
    struct tensor_want wb = {w->layer, w->role, w->n_out, 1, TENSOR_VECTOR, true};
    struct tensor_want ws = {w->layer, w->role, 1, 1, TENSOR_HOST, true};
    TRY(find_tensor(m, &wb, "bias", bias, e));
    TRY(find_tensor(m, &ws, "scale", &scale, e));
    *factor = 1.0f;
    if (scale.data) memcpy(factor, scale.data, sizeof *factor);
    return ST_OK;
}

enum status model_load_linear(struct engine_model *m, const struct tensor_want *w,
                              struct linear *out, struct err *e)
{
    struct model_tensor bias;
    *out = (struct linear){.factor = 1.0f};
    TRY(model_load_tensor(m, w, &out->w, e));
    if (!out->w) return ST_OK;
    TRY(find_extras(m, w, &bias, &out->factor, e));
    return bias.data ? push(m, &bias, &out->bias, e) : ST_OK;
}

/* Rows [first, first + n) of a matrix, or elements of a vector, as a tensor of their own. */
static enum status push_rows(struct engine_model *m, const struct model_tensor *t, uint32_t first,
                             uint32_t n, uint32_t *index, struct err *e)
{
    struct model_tensor part = *t;
    if (t->use == TENSOR_MATRIX) {
        size_t row = type_bytes(t->type, t->n_in);
        part.data += row * first;
        part.bytes = row * n;
        part.n_out = n;
    } else {
        if (first % t->type->block_elems != 0 || n % t->type->block_elems != 0)
            return fail(e, ST_UNSUPPORTED, "tensor %s of type %s cannot be cut at element %u",
                        t->name, t->type->name, first);
        part.data += type_bytes(t->type, first);
        part.bytes = type_bytes(t->type, n);
        part.n_in = n;
    }
    return push(m, &part, index, e);
}

/* Output rows of attn_qkv are Q (all heads), then K, then V. */
static enum status load_fused_qkv(struct engine_model *m, struct layer_weights *l,
                                  const struct tensor_want *w, struct err *e)
{
    const struct hyper *h = &m->h;
    const uint32_t n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    const uint32_t first[3] = {0, n_q, n_q + n_kv}, count[3] = {n_q, n_kv, n_kv};
    struct linear *const parts[3] = {&l->q, &l->k, &l->v};
    struct model_tensor fused, bias;
    float factor;
    TRY(find_tensor(m, w, "weight", &fused, e));
    TRY(find_extras(m, w, &bias, &factor, e));
    for (size_t i = 0; i < 3; i++) {
        *parts[i] = (struct linear){.factor = factor};
        TRY(push_rows(m, &fused, first[i], count[i], &parts[i]->w, e));
        if (bias.data) TRY(push_rows(m, &bias, first[i], count[i], &parts[i]->bias, e));
    }
    return ST_OK;
}

enum status model_load_qkv(struct engine_model *m, uint32_t layer, struct err *e)
{
    const struct hyper *h = &m->h;
    struct layer_weights *l = &m->layers[layer];
    const uint32_t n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    char name[GGUF_MAX_NAME + 1];
    struct tensor_want w = {
        .layer = (int)layer, .role = "attn_qkv", .n_in = h->n_embd, .n_out = n_q + 2 * n_kv};
    tensor_name(&w, "weight", name);
    if (gguf_find_tensor(m->gguf, name)) return load_fused_qkv(m, l, &w, e);
    w.role = "attn_q";
    w.n_out = n_q;
    TRY(model_load_linear(m, &w, &l->q, e));
    w.role = "attn_k";
    w.n_out = n_kv;
    TRY(model_load_linear(m, &w, &l->k, e));
    w.role = "attn_v";
    return model_load_linear(m, &w, &l->v, e);
}

enum status model_load_ends(struct engine_model *m, struct err *e)
{
    const struct hyper *h = &m->h;
    struct tensor_want w = {
        .layer = NO_LAYER, .role = "token_embd", .n_in = h->n_embd, .n_out = h->n_vocab};
    TRY(model_load_tensor(m, &w, &m->token_embd, e));
    w.role = "output";
    w.optional = true;
    TRY(model_load_linear(m, &w, &m->output, e));
    if (!m->output.w) m->output.w = m->token_embd;
    w = (struct tensor_want){NO_LAYER, "output_norm", h->n_embd, 1, TENSOR_VECTOR, false};
    return model_load_tensor(m, &w, &m->output_norm, e);
}
