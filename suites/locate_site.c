/* Sites one by one; see locate_site.h. */
#include "locate_site.h"
#include "locate_record.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct site_fact site_facts[SITE_COUNT] = {
    [SITE_EMBD] = {KIND_EMBED, "token embedding", "get_rows", "token_embd", {0}, 0},
    [SITE_ATTN_NORM] = {KIND_NORM, "attention norm", "rms_norm", "attn_norm", {SITE_INPUT}, 1},
    [SITE_Q] = {KIND_LINEAR, "Q projection", "matvec", "attn_q", {SITE_ATTN_NORM}, 1},
    [SITE_K] = {KIND_LINEAR, "K projection", "matvec", "attn_k", {SITE_ATTN_NORM}, 1},
    [SITE_V] = {KIND_LINEAR, "V projection", "matvec", "attn_v", {SITE_ATTN_NORM}, 1},
    [SITE_Q_ROPE] = {KIND_ROPE, "RoPE of Q", "rope", NULL, {SITE_Q}, 1},
    [SITE_K_ROPE] = {KIND_ROPE, "RoPE of K", "rope", NULL, {SITE_K}, 1},
    [SITE_SCORES] =
        {KIND_SCORES, "attention scores", "attn_scores", NULL, {SITE_Q_ROPE, SITE_K_ROPE}, 2},
    [SITE_WEIGHTS] = {KIND_SOFTMAX, "attention weights", "softmax", NULL, {SITE_SCORES}, 1},
    [SITE_ATTN] =
        {KIND_ATTENTION, "attention", "attention", NULL, {SITE_Q_ROPE, SITE_K_ROPE, SITE_V}, 3},
    [SITE_ATTN_OUT] =
        {KIND_LINEAR, "attention's output projection", "matvec", "attn_output", {SITE_ATTN}, 1},
    [SITE_RESID_1] =
        {KIND_ADD, "residual after attention", "add", NULL, {SITE_ATTN_OUT, SITE_INPUT}, 2},
    [SITE_FFN_NORM] = {KIND_NORM, "feed-forward norm", "rms_norm", "ffn_norm", {SITE_RESID_1}, 1},
    [SITE_GATE] = {KIND_LINEAR, "gate projection", "matvec", "ffn_gate", {SITE_FFN_NORM}, 1},
    [SITE_UP] = {KIND_LINEAR, "up projection", "matvec", "ffn_up", {SITE_FFN_NORM}, 1},
    [SITE_ACT] = {KIND_ACT, "activation", "silu_mul", NULL, {SITE_GATE, SITE_UP}, 2},
    [SITE_FFN_OUT] = {KIND_LINEAR, "down projection", "matvec", "ffn_down", {SITE_ACT}, 1},
    [SITE_RESID_2] =
        {KIND_ADD, "residual after feed-forward", "add", NULL, {SITE_FFN_OUT, SITE_RESID_1}, 2},
    [SITE_NORM] = {KIND_NORM, "final norm", "rms_norm", "output_norm", {SITE_INPUT}, 1},
    [SITE_LOGITS] = {KIND_LINEAR, "output projection", "matvec", "output", {SITE_NORM}, 1},
};

const char *site_title(enum site site)
{
    return site_facts[site].title ? site_facts[site].title : site_table[site].name;
}

const struct precision precision_exact = {TYPE_F64, SUM_F64, TYPE_F32};

void site_input(enum site site, uint32_t layer, uint32_t n_layers, size_t i, enum site *from,
                uint32_t *from_layer)
{
    const int in = (int)site_facts[site].in[i];
    *from_layer = site == SITE_NORM ? n_layers : layer;
    *from = (enum site)in;
    if (in == SITE_INPUT) {
        *from = *from_layer == 0 ? SITE_EMBD : SITE_RESID_2;
        if (*from_layer > 0) --*from_layer;
    } else if (site_table[in].scope == SITE_MODEL) {
        *from_layer = 0;
    }
}

/* ---- the model ----------------------------------------------------------------------------- */

struct site_model site_model_of(const struct gguf *g, const struct ref_model *ref)
{
    struct site_model m = {
        .g = g, .ref = ref, .shape = ref_model_shape(ref), .hyper = ref_model_hyper(ref)};
    const struct gguf_kv *arch = gguf_find(g, "general.architecture");
    struct gguf_kv kv = {0};
    struct gguf_str s = {0};
    if (arch && arch->type == GGUF_STRING) {
        kv = *arch;
        if (gguf_value_strings(&kv, &s)) m.form_a = s.len == 5 && memcmp(s.data, "llama", 5) == 0;
    }
    uint32_t n_experts = 0;
    if (gguf_find(g, "llama.expert_count") &&
        (gguf_get_u32(g, "llama.expert_count", &n_experts, NULL) != ST_OK || n_experts > 0))
        m.form_a = false;
    return m;
}

static const struct gguf_tensor *tensor(const struct site_model *m, const char *role,
                                        uint32_t layer, bool of_layer, const char *suffix,
                                        char *name, size_t cap)
{
    if (of_layer)
        snprintf(name, cap, "blk.%u.%s.%s", layer, role, suffix);
    else
        snprintf(name, cap, "%s.%s", role, suffix);
    const struct gguf_tensor *t = gguf_find_tensor(m->g, name);
    return t && t->data ? t : NULL;
}

const float *site_vector(const struct site_model *m, const char *role, uint32_t layer,
                         bool of_layer)
{
    char name[64];
    const struct gguf_tensor *t = tensor(m, role, layer, of_layer, "weight", name, sizeof name);
    return t && t->type->id == TYPE_F32 ? (const float *)(const void *)t->data : NULL;
}

static void add_extras(const struct site_model *m, const char *role, uint32_t layer, bool of_layer,
                       struct site_weight *w)
{
    char name[64];
    const struct gguf_tensor *t = tensor(m, role, layer, of_layer, "bias", name, sizeof name);
    if (t && t->type->id == TYPE_F32) w->bias = (const float *)(const void *)t->data;
    t = tensor(m, role, layer, of_layer, "scale", name, sizeof name);
    if (t && t->type->id == TYPE_F32) w->scale = (double)*(const float *)(const void *)t->data;
}

/* Q, K and V may be rows of one matrix. */
static size_t fused_offset(const struct site_model *m, enum site site, size_t *n_out)
{
    const size_t n_q = (size_t)m->shape.n_heads * m->shape.head_dim;
    const size_t n_kv = (size_t)m->shape.n_kv_heads * m->shape.head_dim;
    *n_out = site == SITE_Q ? n_q : n_kv;
    return site == SITE_Q ? 0 : site == SITE_K ? n_q : n_q + n_kv;
}

bool site_weight(const struct site_model *m, enum site site, uint32_t layer, struct site_weight *w)
{
    const char *role = site_facts[site].tensor;
    const bool of_layer = site_table[site].scope == SITE_LAYER;
    size_t from = 0, n_out = 0;
    *w = (struct site_weight){.scale = 1};
    if (!role) return false;
    const struct gguf_tensor *t =
        tensor(m, role, layer, of_layer, "weight", w->name, sizeof w->name);
    if (!t && (site == SITE_Q || site == SITE_K || site == SITE_V)) {
        role = "attn_qkv";
        from = fused_offset(m, site, &n_out);
        t = tensor(m, role, layer, of_layer, "weight", w->name, sizeof w->name);
    }
    if (!t && site == SITE_LOGITS) {
        role = "token_embd";
        t = tensor(m, role, 0, false, "weight", w->name, sizeof w->name);
    }
    if (!t || !type_decodes(t->type)) return false;
    w->type = t->type->id;
    w->n_in = (size_t)t->dims[0];
    w->n_out = n_out ? n_out : (size_t)t->dims[1];
    w->data = t->data + from * type_bytes(t->type, w->n_in);
    add_extras(m, role, layer, of_layer, w);
    if (w->bias) w->bias += from;
    return true;
}

size_t site_columns(const struct site_model *m, enum site site, size_t n_tokens)
{
    const struct ref_shape *s = &m->shape;
    switch (site_table[site].width) {
    case WIDTH_EMBD:
        return s->n_embd;
    case WIDTH_Q:
        return (size_t)s->n_heads * s->head_dim;
    case WIDTH_KV:
        return (size_t)s->n_kv_heads * s->head_dim;
    case WIDTH_FF:
        return s->n_ff;
    case WIDTH_VOCAB:
        return s->n_vocab;
    case WIDTH_SCORES:
        return s->n_heads * n_tokens;
    default:
        break;
    }
    return 0;
}

/* ---- precision ----------------------------------------------------------------------------- */

/* 8-bit blocks as llama.cpp's CPU backend makes them of activations (tensor-types, Q8_0, Q8_K). */
static void round_q8_0(double *x, size_t n)
{
    float top = 0;
    for (size_t i = 0; i < n; i++) top = fmaxf(top, fabsf((float)x[i]));
    const float d = top / 127.0f, inverse = d != 0 ? 1.0f / d : 0;
    const float stored = ref_f16_to_f32(ref_f32_to_f16(d));
    for (size_t i = 0; i < n; i++) x[i] = (double)(roundf((float)x[i] * inverse) * stored);
}

static void round_q8_k(double *x, size_t n)
{
    float top = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf((float)x[i]) > fabsf(top)) top = (float)x[i];
    if (top == 0) return;
    const float scale = -127.0f / top, d = 1.0f / scale;
    for (size_t i = 0; i < n; i++) x[i] = (double)(fminf(127.0f, rintf(scale * (float)x[i])) * d);
}

static void round_plain(enum tensor_type t, double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float v = (float)x[i];
        if (t == TYPE_F16)
            x[i] = (double)ref_f16_to_f32(ref_f32_to_f16(v));
        else if (t == TYPE_BF16)
            x[i] = (double)ref_bf16_to_f32(ref_f32_to_bf16(v));
        else
            x[i] = (double)v;
    }
}

void precision_round(const struct precision *p, enum tensor_type w, double *x, size_t rows,
                     size_t n)
{
    enum tensor_type act = p->activations == TYPE_ID_END ? type_by_id(w)->act : p->activations;
    if (act == TYPE_F64) return;
    const struct type_spec *t = type_by_id(act);
    if (t->block_elems == 1 || n % t->block_elems != 0) {
        round_plain(act, x, rows * n);
        return;
    }
    for (size_t i = 0; i < rows * n; i += t->block_elems)
        (act == TYPE_Q8_K ? round_q8_k : round_q8_0)(x + i, t->block_elems);
}

static float half(float x)
{
    return ref_f16_to_f32(ref_f32_to_f16(x));
}

static double dot(enum site_accumulate sum, const float *w, const double *x, size_t n)
{
    double exact = 0;
    float low = 0;
    if (sum == SUM_F64)
        for (size_t i = 0; i < n; i++) exact += (double)w[i] * x[i];
    else if (sum == SUM_F32)
        for (size_t i = 0; i < n; i++) low += w[i] * (float)x[i];
    else
        for (size_t i = 0; i < n; i++) low = half(low + half(w[i] * (float)x[i]));
    return sum == SUM_F64 ? exact : (double)low;
}

/* ---- operations ---------------------------------------------------------------------------- */

struct linear_work {
    const struct site_weight *w;
    const double *x;
    size_t rows;
    enum site_accumulate sum;
    double *y, *mag;
};

static void linear_row(void *ctx, size_t i)
{
    const struct linear_work *k = ctx;
    const struct site_weight *w = k->w;
    const struct type_spec *t = type_by_id(w->type);
    float *row = malloc(w->n_in * sizeof *row);
    for (size_t r = 0; r < k->rows; r++) k->y[r * w->n_out + i] = NAN;
    if (!row) return;
    ref_decode(w->type, w->data + i * type_bytes(t, w->n_in), w->n_in, row);
    const double bias = w->bias ? (double)w->bias[i] : 0;
    for (size_t r = 0; r < k->rows; r++) {
        const double *x = k->x + r * w->n_in;
        double mag = fabs(bias);
        k->y[r * w->n_out + i] = w->scale * dot(k->sum, row, x, w->n_in) + bias;
        for (size_t c = 0; k->mag && c < w->n_in; c++)
            mag += fabs(w->scale * (double)row[c] * x[c]);
        if (k->mag) k->mag[r * w->n_out + i] = mag;
    }
    free(row);
}

static bool compute_linear(const struct site_job *j, double *out, double *mag)
{
    struct site_weight w;
    if (!site_weight(j->m, j->site, j->layer, &w)) return false;
    double *x = alloc_array(j->rows * w.n_in, sizeof *x);
    if (!x) return false;
    memcpy(x, j->in[0], j->rows * w.n_in * sizeof *x);
    precision_round(&j->precision, w.type, x, j->rows, w.n_in);
    enum site_accumulate sum = j->precision.sum;
    if (sum == SUM_OWN) sum = w.type == TYPE_F16 ? SUM_F16 : SUM_F64;
    struct linear_work k = {&w, x, j->rows, sum, out, mag};
    ref_parallel(w.n_out, linear_row, &k);
    free(x);
    return true;
}

static bool compute_embed(const struct site_job *j, double *out)
{
    struct site_weight w;
    if (!site_weight(j->m, j->site, 0, &w)) return false;
    const struct type_spec *t = type_by_id(w.type);
    float *row = alloc_array(w.n_in, sizeof *row);
    for (size_t r = 0; row && r < j->rows; r++) {
        const size_t id = (size_t)j->tokens[j->n_tokens - j->rows + r];
        ref_decode(w.type, w.data + id * type_bytes(t, w.n_in), w.n_in, row);
        for (size_t i = 0; i < w.n_in; i++) out[r * w.n_in + i] = w.scale * (double)row[i];
    }
    free(row);
    return row != NULL;
}

static bool compute_norm(const struct site_job *j, double *out)
{
    const float *w = site_vector(j->m, site_facts[j->site].tensor, j->layer,
                                 site_table[j->site].scope == SITE_LAYER);
    if (!w) return false;
    ref_rms_norm(j->in[0], w, j->rows, j->m->shape.n_embd, j->m->hyper.norm_eps, out, NULL);
    return true;
}

static int32_t *positions(size_t n)
{
    int32_t *pos = alloc_array(n, sizeof *pos);
    for (size_t i = 0; pos && i < n; i++) pos[i] = (int32_t)i;
    return pos;
}

static bool compute_rope(const struct site_job *j, double *out)
{
    const size_t n_heads = j->site == SITE_Q_ROPE ? j->m->shape.n_heads : j->m->shape.n_kv_heads;
    int32_t *pos = positions(j->n_tokens);
    if (!pos) return false;
    memcpy(out, j->in[0], j->rows * n_heads * j->m->shape.head_dim * sizeof *out);
    ref_rope(&j->m->hyper.rope, out, pos + j->n_tokens - j->rows, j->rows, n_heads,
             j->m->shape.head_dim, NULL);
    free(pos);
    return true;
}

static double *cached(const struct site_job *j, const double *x)
{
    const size_t n = j->n_tokens * j->m->shape.n_kv_heads * j->m->shape.head_dim;
    double *copy = alloc_array(n, sizeof *copy);
    if (!copy) return NULL;
    memcpy(copy, x, n * sizeof *copy);
    if (j->precision.kv == TYPE_F16) round_plain(TYPE_F16, copy, n);
    return copy;
}

/* Scores, or the whole of attention. */
static bool compute_attention(const struct site_job *j, double *out)
{
    const struct ref_shape *s = &j->m->shape;
    const bool scores = j->site == SITE_SCORES;
    const size_t n_scores = j->rows * s->n_heads * j->n_tokens;
    int32_t *pos = positions(j->n_tokens), *all = alloc_array(j->n_tokens, sizeof *all);
    double *k = cached(j, j->in[1]), *v = scores ? NULL : cached(j, j->in[2]);
    double *weights = alloc_array(n_scores, sizeof *weights);
    double *mixed = alloc_array(j->rows * s->n_heads * s->head_dim, sizeof *mixed);
    const bool ok = pos && all && k && (scores || v) && weights && mixed;
    for (size_t i = 0; all && i < j->n_tokens; i++) all[i] = (int32_t)j->n_tokens;
    if (ok)
        ref_attention(
            &(struct ref_attention){.q = j->in[0],
                                    .k = k,
                                    .v = scores ? k : v,
                                    .pos = j->show_hidden ? all : pos + j->n_tokens - j->rows,
                                    .cell_pos = pos,
                                    .n_tokens = j->rows,
                                    .n_heads = s->n_heads,
                                    .n_kv_heads = s->n_kv_heads,
                                    .head_dim = s->head_dim,
                                    .n_cells = j->n_tokens,
                                    .scale = j->m->hyper.kq_scale,
                                    .scores = scores ? out : NULL,
                                    .weights = weights,
                                    .out = scores ? mixed : out});
    free(pos);
    free(all);
    free(k);
    free(v);
    free(weights);
    free(mixed);
    return ok;
}

static bool compute_softmax(const struct site_job *j, double *out)
{
    const size_t n = j->n_tokens, n_heads = j->m->shape.n_heads, n_all = j->rows * n_heads * n;
    double *masked = alloc_array(n_all, sizeof *masked);
    if (!masked) return false;
    memcpy(masked, j->in[0], n_all * sizeof *masked);
    for (size_t r = 0; r < j->rows; r++)
        for (size_t h = 0; h < n_heads; h++)
            for (size_t c = n - j->rows + r + 1; c < n; c++)
                masked[(r * n_heads + h) * n + c] = -INFINITY;
    ref_softmax(masked, j->rows * n_heads, n, out);
    free(masked);
    return true;
}

static bool compute(const struct site_job *j, size_t n, double *out, double *mag)
{
    switch (site_facts[j->site].kind) {
    case KIND_NONE:
        return false;
    case KIND_EMBED:
        return compute_embed(j, out);
    case KIND_NORM:
        return compute_norm(j, out);
    case KIND_LINEAR:
        return compute_linear(j, out, mag);
    case KIND_ROPE:
        return compute_rope(j, out);
    case KIND_SCORES:
    case KIND_ATTENTION:
        return compute_attention(j, out);
    case KIND_SOFTMAX:
        return compute_softmax(j, out);
    case KIND_ADD:
        for (size_t i = 0; i < n; i++) out[i] = j->in[0][i] + j->in[1][i];
        for (size_t i = 0; mag && i < n; i++) mag[i] = fabs(j->in[0][i]) + fabs(j->in[1][i]);
        return true;
    case KIND_ACT:
        for (size_t i = 0; i < n; i++) out[i] = ref_silu(j->in[0][i]) * j->in[1][i];
        return true;
    }
    return false;
}

bool site_compute(const struct site_job *j, double *out, double *mag)
{
    const size_t n = j->rows * site_columns(j->m, j->site, j->n_tokens);
    const enum site_kind kind = site_facts[j->site].kind;
    if (!j->m->form_a) return false;
    for (size_t i = 0; mag && i < n; i++) mag[i] = 0;
    if (!compute(j, n, out, mag)) return false;
    if (mag && (kind == KIND_NORM || kind == KIND_SOFTMAX || kind == KIND_ACT))
        for (size_t i = 0; i < n; i++) mag[i] = fabs(out[i]);
    return true;
}
