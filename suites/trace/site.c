/* Which operation makes a site of a model, from what, with which weights; see locate_site.h. What a
 * layer holds shows in its tensors; the rest in the reference's hyper-parameters. */
#include "trace/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct site_fact site_facts[SITE_COUNT] = {
    [SITE_EMBD] = {KIND_EMBED, "token embedding", "get_rows", "token_embd", {0}, 0},
    [SITE_ATTN_NORM] = {KIND_NORM, "attention norm", "rms_norm", "attn_norm", {SITE_INPUT}, 1},
    [SITE_Q] = {KIND_LINEAR, "Q projection", "matvec", "attn_q", {SITE_ATTN_NORM}, 1},
    [SITE_K] = {KIND_LINEAR, "K projection", "matvec", "attn_k", {SITE_ATTN_NORM}, 1},
    [SITE_V] = {KIND_LINEAR, "V projection", "matvec", "attn_v", {SITE_ATTN_NORM}, 1},
    [SITE_Q_NORM] = {KIND_NORM, "norm of Q", "rms_norm", "attn_q_norm", {SITE_Q}, 1},
    [SITE_K_NORM] = {KIND_NORM, "norm of K", "rms_norm", "attn_k_norm", {SITE_K}, 1},
    [SITE_Q_ROPE] = {KIND_ROPE, "RoPE of Q", "rope", NULL, {SITE_Q}, 1},
    [SITE_K_ROPE] = {KIND_ROPE, "RoPE of K", "rope", NULL, {SITE_K}, 1},
    [SITE_SCORES] =
        {KIND_SCORES, "attention scores", "attn_scores", NULL, {SITE_Q_ROPE, SITE_K_ROPE}, 2},
    [SITE_WEIGHTS] = {KIND_SOFTMAX, "attention weights", "softmax", NULL, {SITE_SCORES}, 1},
    [SITE_ATTN] =
        {KIND_ATTENTION, "attention", "attention", NULL, {SITE_Q_ROPE, SITE_K_ROPE, SITE_V}, 3},
    [SITE_ATTN_OUT] =
        {KIND_LINEAR, "attention's output projection", "matvec", "attn_output", {SITE_ATTN}, 1},
    [SITE_ATTN_POST] = {KIND_NORM,
                        "norm of attention's result",
                        "rms_norm",
                        "post_attention_norm",
                        {SITE_ATTN_OUT},
                        1},
    [SITE_RESID_1] =
        {KIND_ADD, "residual after attention", "add", NULL, {SITE_ATTN_OUT, SITE_INPUT}, 2},
    [SITE_FFN_NORM] = {KIND_NORM, "feed-forward norm", "rms_norm", "ffn_norm", {SITE_RESID_1}, 1},
    [SITE_ROUTER] = {KIND_LINEAR, "router", "matvec", "ffn_gate_inp", {SITE_FFN_NORM}, 1},
    [SITE_GATE] = {KIND_LINEAR, "gate projection", "matvec", "ffn_gate", {SITE_FFN_NORM}, 1},
    [SITE_UP] = {KIND_LINEAR, "up projection", "matvec", "ffn_up", {SITE_FFN_NORM}, 1},
    [SITE_ACT] = {KIND_ACT, "activation", "silu_mul", NULL, {SITE_GATE, SITE_UP}, 2},
    [SITE_FFN_OUT] = {KIND_LINEAR, "down projection", "matvec", "ffn_down", {SITE_ACT}, 1},
    [SITE_FFN_POST] = {KIND_NORM,
                       "norm of feed-forward's result",
                       "rms_norm",
                       "post_ffw_norm",
                       {SITE_FFN_OUT},
                       1},
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

/* ---- the model ----------------------------------------------------------------------------- */

static bool is_arch(const struct site_model *m, const char *name)
{
    return strcmp(m->arch, name) == 0;
}

struct site_model site_model_of(const struct gguf *g, const struct ref_model *ref)
{
    struct site_model m = {
        .g = g, .ref = ref, .shape = ref_model_shape(ref), .hyper = ref_model_hyper(ref, 0)};
    static const char *const gelu[] = {"gemma", "gemma2",  "gemma3", "phi2",
                                       "gpt2",  "gptneox", "falcon", "starcoder2"};
    const struct gguf_kv *arch = gguf_find(g, "general.architecture");
    struct gguf_str s = {0};
    if (arch && arch->type == GGUF_STRING) {
        struct gguf_kv kv = *arch;
        if (gguf_value_strings(&kv, &s))
            snprintf(m.arch, sizeof m.arch, "%.*s", (int)(s.len < 31 ? s.len : 31), s.data);
    }
    for (size_t i = 0; i < sizeof gelu / sizeof *gelu; i++) m.gelu = m.gelu || is_arch(&m, gelu[i]);
    m.whole = m.shape.n_experts == 0 && !m.hyper.latent;
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

static bool has(const struct site_model *m, const char *role, uint32_t layer, bool of_layer)
{
    char name[64];
    return tensor(m, role, layer, of_layer, "weight", name, sizeof name) != NULL;
}

static const float *vector(const struct site_model *m, const char *role, uint32_t layer,
                           bool of_layer, const char *suffix, struct site_norm *n)
{
    char name[64];
    const struct gguf_tensor *t = tensor(m, role, layer, of_layer, suffix, name, sizeof name);
    if (!t || t->type->id != TYPE_F32) return NULL;
    n->n = (size_t)t->dims[0];
    n->n_rows = t->n_dims > 1 ? (size_t)t->dims[1] : 1;
    return (const float *)(const void *)t->data;
}

bool site_norm(const struct site_model *m, enum site site, uint32_t layer, struct site_norm *out)
{
    const struct site_fact f = site_fact_of(m, site, layer);
    const bool of_layer = site_table[site].scope == SITE_LAYER;
    struct site_norm same;
    *out = (struct site_norm){.w = NULL};
    if (f.kind != KIND_NORM) return false;
    out->w = vector(m, f.tensor, layer, of_layer, "weight", out);
    out->b = vector(m, f.tensor, layer, of_layer, "bias", &same);
    out->layer_norm = m->hyper.layer_norm;
    return out->w != NULL;
}

const float *site_sinks(const struct site_model *m, uint32_t layer)
{
    struct site_norm n;
    return vector(m, "attn_sinks", layer, true, "weight", &n);
}

/* ---- the graph ----------------------------------------------------------------------------- */

/* Names that differ between architectures. NULL: the layer has no such tensor. */
static const char *role_of(const struct site_model *m, enum site site, uint32_t layer)
{
    const char *role = site_facts[site].tensor;
    const bool second = has(m, "attn_norm_2", layer, true);
    if (site == SITE_ATTN_NORM && second) return "attn_norm_2";
    if (site == SITE_FFN_NORM && second) return "attn_norm";
    if (site == SITE_FFN_NORM && is_arch(m, "gpt-oss")) return "post_attention_norm";
    if (site == SITE_ATTN_POST && is_arch(m, "gpt-oss")) return NULL;
    return role && has(m, role, layer, site_table[site].scope == SITE_LAYER) ? role : NULL;
}

static bool has_experts(const struct site_model *m, uint32_t layer)
{
    return has(m, "ffn_gate_inp", layer, true);
}

/* phi3: gate and up are the two halves of one matrix. */
static bool fused_gate(const struct site_model *m, uint32_t layer)
{
    char name[64];
    const struct gguf_tensor *t = tensor(m, "ffn_up", layer, true, "weight", name, sizeof name);
    return t && !has(m, "ffn_gate", layer, true) && t->dims[1] == 2 * (uint64_t)m->shape.n_ff;
}

static bool gated(const struct site_model *m, uint32_t layer)
{
    return has(m, "ffn_gate", layer, true) || fused_gate(m, layer);
}

bool site_there(const struct site_model *m, enum site site, uint32_t layer)
{
    switch (site) {
    case SITE_ATTN_NORM:
    case SITE_Q_NORM:
    case SITE_K_NORM:
    case SITE_ATTN_POST:
    case SITE_FFN_NORM:
    case SITE_FFN_POST:
        return role_of(m, site, layer) != NULL;
    case SITE_Q:
    case SITE_K:
        return !m->hyper.latent;
    case SITE_Q_ROPE:
    case SITE_K_ROPE:
        return m->hyper.rope.n_dims > 0;
    case SITE_ROUTER:
        return has_experts(m, layer);
    case SITE_UP:
    case SITE_ACT:
        return !has_experts(m, layer);
    case SITE_GATE:
        return !has_experts(m, layer) && gated(m, layer);
    default:
        return true;
    }
}

/* The last of the sites that the layer has. */
static enum site latest(const struct site_model *m, uint32_t layer, enum site a, enum site b,
                        enum site c)
{
    return site_there(m, a, layer) ? a : site_there(m, b, layer) ? b : c;
}

static enum site attention_input(const struct site_model *m, uint32_t layer)
{
    return site_there(m, SITE_ATTN_NORM, layer) ? SITE_ATTN_NORM : (enum site)SITE_INPUT;
}

static enum site ffn_input(const struct site_model *m, uint32_t layer)
{
    if (site_there(m, SITE_FFN_NORM, layer)) return SITE_FFN_NORM;
    return m->hyper.parallel ? attention_input(m, layer) : SITE_RESID_1;
}

static void find_inputs(const struct site_model *m, enum site site, uint32_t layer,
                        struct site_fact *f)
{
    switch (site) {
    case SITE_Q:
    case SITE_K:
    case SITE_V:
        f->in[0] = attention_input(m, layer);
        break;
    case SITE_Q_ROPE:
        f->in[0] = site_there(m, SITE_Q_NORM, layer) ? SITE_Q_NORM : SITE_Q;
        break;
    case SITE_K_ROPE:
        f->in[0] = site_there(m, SITE_K_NORM, layer) ? SITE_K_NORM : SITE_K;
        break;
    case SITE_SCORES:
    case SITE_ATTN:
        f->in[0] = latest(m, layer, SITE_Q_ROPE, SITE_Q_NORM, SITE_Q);
        f->in[1] = latest(m, layer, SITE_K_ROPE, SITE_K_NORM, SITE_K);
        break;
    case SITE_RESID_1:
        f->in[0] = site_there(m, SITE_ATTN_POST, layer) ? SITE_ATTN_POST : SITE_ATTN_OUT;
        break;
    case SITE_FFN_NORM:
        if (m->hyper.parallel) f->in[0] = (enum site)SITE_INPUT;
        break;
    case SITE_ROUTER:
    case SITE_GATE:
    case SITE_UP:
        f->in[0] = ffn_input(m, layer);
        break;
    case SITE_RESID_2:
        f->in[0] = site_there(m, SITE_FFN_POST, layer) ? SITE_FFN_POST : SITE_FFN_OUT;
        break;
    default:
        break;
    }
}

static void find_activation(const struct site_model *m, uint32_t layer, struct site_fact *f)
{
    if (gated(m, layer)) {
        f->op = m->gelu ? "gelu_mul" : "silu_mul";
        return;
    }
    f->op = m->gelu ? "gelu" : "silu";
    f->in[0] = SITE_UP;
    f->n_in = 1;
}

struct site_fact site_fact_of(const struct site_model *m, enum site site, uint32_t layer)
{
    struct site_fact f = site_facts[site];
    find_inputs(m, site, layer, &f);
    if (f.kind == KIND_NORM) {
        f.tensor = role_of(m, site, layer);
        if (m->hyper.layer_norm) f.op = "layer_norm";
    }
    if (site == SITE_ACT) find_activation(m, layer, &f);
    if (site == SITE_FFN_OUT && has_experts(m, layer)) {
        f = (struct site_fact){
            KIND_NONE, "experts", "moe_sum", "ffn_down_exps", {ffn_input(m, layer)}, 1};
    }
    /* Of latent attention the parts between its sites are not shown. */
    const bool inner =
        site == SITE_V || site == SITE_Q_ROPE || site == SITE_K_ROPE || site == SITE_ATTN;
    if (m->hyper.latent && inner) {
        f.kind = KIND_NONE;
        f.tensor = site == SITE_Q_ROPE ? "attn_q" : "attn_kv_a_mqa";
        f.op = site == SITE_ATTN ? "attention" : "latent attention";
        f.n_in = 0;
    }
    return f;
}

void site_input(const struct site_model *m, enum site site, uint32_t layer, size_t i,
                enum site *from, uint32_t *from_layer)
{
    const struct site_fact f = site_fact_of(m, site, layer);
    const int in = (int)f.in[i];
    *from_layer = site == SITE_NORM ? m->shape.n_layers : layer;
    *from = (enum site)in;
    if (in == SITE_INPUT) {
        *from = *from_layer == 0 ? SITE_EMBD : SITE_RESID_2;
        if (*from_layer > 0) --*from_layer;
    } else if (site_table[in].scope == SITE_MODEL) {
        *from_layer = 0;
    }
}

/* ---- weights ------------------------------------------------------------------------------- */

static void add_extras(const struct site_model *m, const char *role, uint32_t layer, bool of_layer,
                       struct site_weight *w)
{
    char name[64];
    const struct gguf_tensor *t = tensor(m, role, layer, of_layer, "bias", name, sizeof name);
    if (t && t->type->id == TYPE_F32) w->bias = (const float *)(const void *)t->data;
    t = tensor(m, role, layer, of_layer, "scale", name, sizeof name);
    if (t && t->type->id == TYPE_F32) w->scale = (double)*(const float *)(const void *)t->data;
}

/* Q, K and V may be rows of one matrix, and so may gate and up. */
static const char *fused_role(const struct site_model *m, enum site site, uint32_t layer,
                              size_t *from, size_t *n_out)
{
    const size_t n_q = (size_t)m->shape.n_heads * m->shape.head_dim;
    const size_t n_kv = (size_t)m->shape.n_kv_heads * m->shape.head_dim;
    if (site == SITE_Q || site == SITE_K || site == SITE_V) {
        *n_out = site == SITE_Q ? n_q : n_kv;
        *from = site == SITE_Q ? 0 : site == SITE_K ? n_q : n_q + n_kv;
        return "attn_qkv";
    }
    if ((site != SITE_GATE && site != SITE_UP) || !fused_gate(m, layer)) return NULL;
    *n_out = m->shape.n_ff;
    *from = site == SITE_GATE ? 0 : m->shape.n_ff;
    return "ffn_up";
}

bool site_weight(const struct site_model *m, enum site site, uint32_t layer, struct site_weight *w)
{
    const struct site_fact f = site_fact_of(m, site, layer);
    const char *role = f.tensor;
    const bool of_layer = site_table[site].scope == SITE_LAYER;
    size_t from = 0, n_out = 0;
    *w = (struct site_weight){.scale = 1};
    if (!role || (f.kind != KIND_LINEAR && f.kind != KIND_EMBED)) return false;
    const struct gguf_tensor *t = NULL;
    if (site != SITE_UP || !fused_gate(m, layer))
        t = tensor(m, role, layer, of_layer, "weight", w->name, sizeof w->name);
    if (!t) {
        const char *fused = fused_role(m, site, layer, &from, &n_out);
        if (fused) t = tensor(m, role = fused, layer, true, "weight", w->name, sizeof w->name);
    }
    if (!t && site == SITE_LOGITS)
        t = tensor(m, role = "token_embd", 0, false, "weight", w->name, sizeof w->name);
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
    case WIDTH_EXPERTS:
        return s->n_experts;
    }
    return 0;
}
