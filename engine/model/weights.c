/* The weight table of a model: finds tensors by role and checks type and shape. */
#include "engine/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROLE_CAP = 32 };

/* Name of a tensor: "blk.3.attn_q.bias". */
static void tensor_name(int layer, const char *role, const char *suffix,
                        char out[GGUF_MAX_NAME + 1])
{
    if (layer == NO_LAYER)
        snprintf(out, GGUF_MAX_NAME + 1, "%s.%s", role, suffix);
    else
        snprintf(out, GGUF_MAX_NAME + 1, "blk.%d.%s.%s", layer, role, suffix);
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

static uint32_t mats_of(const struct tensor_want *w)
{
    return w->n_mats ? w->n_mats : 1;
}

static enum status check_shape(const struct gguf_tensor *t, const char *name,
                               const struct tensor_want *w, struct err *e)
{
    if (t->type->use != USE_W)
        return fail(e, ST_UNSUPPORTED, "tensor %s is of type %s, which no weight can have", name,
                    t->type->name);
    if (w->use == TENSOR_HOST && t->type->id != TYPE_F32)
        return fail(e, ST_UNSUPPORTED, "tensor %s is of type %s, not f32", name, t->type->name);
    if (t->dims[0] != w->n_in || t->dims[1] != w->n_out || t->dims[2] != mats_of(w) ||
        t->dims[3] != 1)
        return fail(e, ST_FORMAT, "tensor %s is %llu x %llu x %llu x %llu, not %u x %u x %u", name,
                    (unsigned long long)t->dims[0], (unsigned long long)t->dims[1],
                    (unsigned long long)t->dims[2], (unsigned long long)t->dims[3], w->n_in,
                    w->n_out, mats_of(w));
    if (!t->data) return fail(e, ST_FORMAT, "tensor %s: only the file's header was read", name);
    return ST_OK;
}

/* *out empty if optional and absent. */
static enum status find_tensor(struct engine_model *m, const struct tensor_want *w,
                               struct model_tensor *out, struct err *e)
{
    char name[GGUF_MAX_NAME + 1];
    tensor_name(w->layer, w->role, w->suffix ? w->suffix : "weight", name);
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
    out->n_mats = mats_of(w);
    out->use = w->use;
    return ST_OK;
}

enum status model_load_tensor(struct engine_model *m, const struct tensor_want *w, uint32_t *out,
                              struct err *e)
{
    struct model_tensor t;
    *out = 0;
    TRY(find_tensor(m, w, &t, e));
    return t.data ? push(m, &t, out, e) : ST_OK;
}

bool model_has_tensor(const struct engine_model *m, int layer, const char *role)
{
    char name[GGUF_MAX_NAME + 1];
    tensor_name(layer, role, "weight", name);
    return gguf_find_tensor(m->gguf, name) != NULL;
}

/* Of w->n_out elements for each matrix. */
static enum status find_bias(struct engine_model *m, const struct tensor_want *w,
                             struct model_tensor *bias, struct err *e)
{
    struct tensor_want b = {.layer = w->layer,
                            .role = w->role,
                            .n_in = w->n_out,
                            .n_out = mats_of(w),
                            .use = TENSOR_VECTOR,
                            .optional = w->bias == BIAS_MAYBE,
                            .suffix = "bias"};
    *bias = (struct model_tensor){0};
    return w->bias == BIAS_NONE ? ST_OK : find_tensor(m, &b, bias, e);
}

/* The bias and the factor that may come with a matrix. */
static enum status find_extras(struct engine_model *m, const struct tensor_want *w,
                               struct model_tensor *bias, float *factor, struct err *e)
{
    struct model_tensor scale;
    struct tensor_want ws = {.layer = w->layer,
                             .role = w->role,
                             .n_in = 1,
                             .n_out = 1,
                             .use = TENSOR_HOST,
                             .optional = true,
                             .suffix = "scale"};
    TRY(find_bias(m, w, bias, e));
    TRY(find_tensor(m, &ws, &scale, e));
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

enum status model_load_norm(struct engine_model *m, const struct tensor_want *w, struct norm *out,
                            struct err *e)
{
    struct tensor_want one = *w;
    one.use = TENSOR_VECTOR;
    *out = (struct norm){.n = w->n_in, .rows = w->n_out};
    TRY(model_load_tensor(m, &one, &out->w, e));
    if (!out->w || w->bias == BIAS_NONE) return ST_OK;
    one.suffix = "bias";
    one.optional = w->bias == BIAS_MAYBE;
    return model_load_tensor(m, &one, &out->b, e);
}

/* ---- fused matrices ------------------------------------------------------------------------- */

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

enum status model_load_fused(struct engine_model *m, const struct tensor_want *w,
                             const uint32_t *rows, struct linear *const *parts, size_t n_parts,
                             struct err *e)
{
    struct model_tensor fused, bias;
    float factor;
    uint32_t first = 0;
    TRY(find_tensor(m, w, &fused, e));
    TRY(find_extras(m, w, &bias, &factor, e));
    for (size_t i = 0; i < n_parts; i++) {
        *parts[i] = (struct linear){.factor = factor};
        TRY(push_rows(m, &fused, first, rows[i], &parts[i]->w, e));
        if (bias.data) TRY(push_rows(m, &bias, first, rows[i], &parts[i]->bias, e));
        first += rows[i];
    }
    return ST_OK;
}

/* Output rows of attn_qkv are Q (all heads), then K, then V. */
enum status model_load_qkv(struct engine_model *m, int layer, enum bias_rule bias, struct err *e)
{
    const struct hyper *h = &m->h;
    struct layer_weights *l = &m->layers[layer];
    struct linear *const parts[3] = {&l->q, &l->k, &l->v};
    const char *const roles[3] = {"attn_q", "attn_k", "attn_v"};
    const uint32_t n_q = h->n_heads * h->head_dim, n_kv = h->n_kv_heads * h->head_dim;
    const uint32_t rows[3] = {n_q, n_kv, n_kv};
    struct tensor_want w = {.layer = layer, .n_in = h->n_embd, .bias = bias};
    if (model_has_tensor(m, layer, "attn_qkv")) {
        w.role = "attn_qkv";
        w.n_out = n_q + 2 * n_kv;
        return model_load_fused(m, &w, rows, parts, 3, e);
    }
    for (size_t i = 0; i < 3; i++) {
        w.role = roles[i];
        w.n_out = rows[i];
        TRY(model_load_linear(m, &w, parts[i], e));
    }
    return ST_OK;
}

/* ---- stacks of matrices --------------------------------------------------------------------- */

/* Matrices that the file has one by one: ROLE_exps is ROLE.0, ROLE.1 and so on. */
static enum status find_parts(struct engine_model *m, const struct tensor_want *w,
                              struct model_tensor *out, struct err *e)
{
    const uint8_t **parts = arena_alloc(&m->arena, w->n_mats, sizeof *parts);
    if (!parts) return fail(e, ST_NOMEM, "out of memory for %u matrices", w->n_mats);
    for (uint32_t i = 0; i < w->n_mats; i++) {
        char role[ROLE_CAP];
        struct tensor_want one = *w;
        struct model_tensor t;
        snprintf(role, sizeof role, "%.*s.%u", (int)(strlen(w->role) - strlen("_exps")), w->role,
                 i);
        one.role = role;
        one.n_mats = 1;
        TRY(find_tensor(m, &one, &t, e));
        parts[i] = t.data;
        if (i == 0) *out = t;
        if (t.type != out->type)
            return fail(e, ST_UNSUPPORTED, "tensor %s is of type %s, %s of type %s: not supported",
                        t.name, t.type->name, out->name, out->type->name);
    }
    out->parts = parts;
    out->data = NULL;
    out->n_mats = w->n_mats;
    out->bytes *= w->n_mats; /* of bytes that are all in the file */
    return ST_OK;
}

/* The factors of the products: one per matrix, or one for all. */
static enum status load_factors(struct engine_model *m, const struct tensor_want *w, uint32_t *out,
                                struct err *e)
{
    char name[GGUF_MAX_NAME + 1];
    struct model_tensor t;
    struct tensor_want ws = {.layer = w->layer,
                             .role = w->role,
                             .n_in = w->n_mats,
                             .n_out = 1,
                             .use = TENSOR_HOST,
                             .optional = true,
                             .suffix = "scale"};
    tensor_name(w->layer, w->role, "scale", name);
    const struct gguf_tensor *there = gguf_find_tensor(m->gguf, name);
    if (there && there->dims[0] == 1) ws.n_in = 1;
    TRY(find_tensor(m, &ws, &t, e));
    if (!t.data) return ST_OK;
    float *each = arena_alloc(&m->arena, w->n_mats, sizeof *each);
    if (!each) return fail(e, ST_NOMEM, "out of memory for %u factors", w->n_mats);
    for (uint32_t i = 0; i < w->n_mats; i++)
        memcpy(&each[i], t.data + (ws.n_in == 1 ? 0 : i) * sizeof *each, sizeof *each);
    t.data = (const uint8_t *)each;
    t.bytes = w->n_mats * sizeof *each;
    t.n_in = 1;
    t.n_out = w->n_mats;
    t.use = TENSOR_MATRIX;
    return push(m, &t, out, e);
}

enum status model_load_stack(struct engine_model *m, const struct tensor_want *w, struct stack *out,
                             struct err *e)
{
    struct model_tensor t, bias;
    char first[ROLE_CAP];
    const size_t len = strlen(w->role), cut = strlen("_exps");
    *out = (struct stack){.n_mats = w->n_mats, .n_in = w->n_in, .n_out = w->n_out};
    snprintf(first, sizeof first, "%.*s.0", (int)(len > cut ? len - cut : 0), w->role);
    bool apart = !model_has_tensor(m, w->layer, w->role) && model_has_tensor(m, w->layer, first);
    TRY(apart ? find_parts(m, w, &t, e) : find_tensor(m, w, &t, e));
    TRY(push(m, &t, &out->w, e));
    TRY(find_bias(m, w, &bias, e));
    if (bias.data) TRY(push(m, &bias, &out->bias, e));
    return load_factors(m, w, &out->factors, e);
}
