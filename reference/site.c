/* What makes a site of a model, from what, with which weights; see site.h. The order of the
 * operations is that of forward_layers.c. */
#include "reference/site.h"
#include "reference/forward_priv.h"

/* As an input: what the layer takes in, RESID_2 of the layer before or EMBD. */
#define STREAM SITE_COUNT

/* Of a plain layer of llama; titles and roles of what other layers have. */
static const struct ref_site plain[SITE_COUNT] = {
#define ROW(site, kind_, title_, op_, role_, n, ...)                                               \
    [SITE_##site] = {.kind = REF_SITE_##kind_,                                                     \
                     .title = title_,                                                              \
                     .op = op_,                                                                    \
                     .tensor = role_,                                                              \
                     .n_in = n,                                                                    \
                     .in = {__VA_ARGS__}}
    ROW(EMBD, EMBED, "token embedding", "get_rows", "token_embd", 0, 0),
    ROW(ATTN_NORM, NORM, "attention norm", "rms_norm", "attn_norm", 1, STREAM),
    ROW(Q, LINEAR, "Q projection", "matvec", "attn_q", 1, SITE_ATTN_NORM),
    ROW(K, LINEAR, "K projection", "matvec", "attn_k", 1, SITE_ATTN_NORM),
    ROW(V, LINEAR, "V projection", "matvec", "attn_v", 1, SITE_ATTN_NORM),
    ROW(Q_NORM, NORM, "norm of Q", "rms_norm", "attn_q_norm", 1, SITE_Q),
    ROW(K_NORM, NORM, "norm of K", "rms_norm", "attn_k_norm", 1, SITE_K),
    ROW(Q_ROPE, ROPE, "RoPE of Q", "rope", NULL, 1, SITE_Q),
    ROW(K_ROPE, ROPE, "RoPE of K", "rope", NULL, 1, SITE_K),
    ROW(SCORES, SCORES, "attention scores", "attn_scores", NULL, 2, SITE_Q_ROPE, SITE_K_ROPE),
    ROW(WEIGHTS, SOFTMAX, "attention weights", "softmax", NULL, 1, SITE_SCORES),
    ROW(ATTN, ATTENTION, "attention", "attention", NULL, 3, SITE_Q_ROPE, SITE_K_ROPE, SITE_V),
    ROW(ATTN_OUT, LINEAR, "attention's output projection", "matvec", "attn_output", 1, SITE_ATTN),
    ROW(ATTN_POST, NORM, "norm of attention's result", "rms_norm", "post_attention_norm", 1,
        SITE_ATTN_OUT),
    ROW(RESID_1, ADD, "residual after attention", "add", NULL, 2, SITE_ATTN_OUT, STREAM),
    ROW(FFN_NORM, NORM, "feed-forward norm", "rms_norm", "ffn_norm", 1, SITE_RESID_1),
    ROW(ROUTER, LINEAR, "router", "matvec", "ffn_gate_inp", 1, SITE_FFN_NORM),
    ROW(GATE, LINEAR, "gate projection", "matvec", "ffn_gate", 1, SITE_FFN_NORM),
    ROW(UP, LINEAR, "up projection", "matvec", "ffn_up", 1, SITE_FFN_NORM),
    ROW(ACT, ACT, "activation", "silu_mul", NULL, 2, SITE_GATE, SITE_UP),
    ROW(FFN_OUT, LINEAR, "down projection", "matvec", "ffn_down", 1, SITE_ACT),
    ROW(FFN_POST, NORM, "norm of feed-forward's result", "rms_norm", "post_ffw_norm", 1,
        SITE_FFN_OUT),
    ROW(RESID_2, ADD, "residual after feed-forward", "add", NULL, 2, SITE_FFN_OUT, SITE_RESID_1),
    ROW(NORM, NORM, "final norm", "rms_norm", "output_norm", 1, STREAM),
    ROW(LOGITS, LINEAR, "output projection", "matvec", "output", 1, SITE_NORM),
#undef ROW
};

/* ---- weights --------------------------------------------------------------------------------- */

static const struct ref_norm *norm_of(const struct ref_model *m, enum site site, uint32_t layer)
{
    const struct ref_layer *l = &m->layers[layer];
    switch (site) {
    case SITE_ATTN_NORM:
        return &l->attn_norm;
    case SITE_Q_NORM:
        return &l->q_norm;
    case SITE_K_NORM:
        return &l->k_norm;
    case SITE_ATTN_POST:
        return &l->attn_post_norm;
    case SITE_FFN_NORM:
        return &l->ffn_norm;
    case SITE_FFN_POST:
        return &l->ffn_post_norm;
    case SITE_NORM:
        return &m->output_norm;
    default:
        return NULL;
    }
}

static const struct ref_weight *weight_of(const struct ref_model *m, enum site site, uint32_t layer)
{
    const struct ref_layer *l = &m->layers[layer];
    switch (site) {
    case SITE_EMBD:
        return &m->embd;
    case SITE_Q:
        return &l->q;
    case SITE_K:
        return &l->k;
    case SITE_V:
        return &l->v;
    case SITE_ATTN_OUT:
        return &l->o;
    case SITE_ROUTER:
        return &l->moe.gate_inp;
    case SITE_GATE:
        return &l->ffn.gate;
    case SITE_UP:
        return &l->ffn.up;
    case SITE_FFN_OUT:
        return &l->ffn.down;
    case SITE_LOGITS:
        return &m->output;
    default:
        return NULL;
    }
}

/* ---- the graph ------------------------------------------------------------------------------- */

static bool latent(const struct ref_model *m, uint32_t layer)
{
    return m->layers[layer].mla.kv_a.data != NULL;
}

bool ref_site_there(const struct ref_model *m, enum site site, uint32_t layer)
{
    if (layer >= m->shape.n_layers) return false;
    const struct ref_layer *l = &m->layers[layer];
    const struct ref_norm *norm = norm_of(m, site, layer);
    const bool experts = l->moe.gate_inp.data != NULL;
    if (norm) return norm->w != NULL;
    switch (site) {
    case SITE_Q:
    case SITE_K:
        return !latent(m, layer);
    case SITE_Q_ROPE:
    case SITE_K_ROPE:
        return m->has_rope;
    case SITE_ROUTER:
        return experts;
    case SITE_UP:
    case SITE_ACT:
        return !experts;
    case SITE_GATE:
        return !experts && l->ffn.gate.data != NULL;
    default:
        return true;
    }
}

/* The first of the sites that the layer has; c without asking. */
static enum site first_of(const struct ref_model *m, uint32_t layer, enum site a, enum site b,
                          enum site c)
{
    return ref_site_there(m, a, layer) ? a : ref_site_there(m, b, layer) ? b : c;
}

static enum site attention_input(const struct ref_model *m, uint32_t layer)
{
    return first_of(m, layer, SITE_ATTN_NORM, SITE_ATTN_NORM, (enum site)STREAM);
}

static enum site ffn_input(const struct ref_model *m, uint32_t layer)
{
    if (ref_site_there(m, SITE_FFN_NORM, layer)) return SITE_FFN_NORM;
    return m->parallel ? attention_input(m, layer) : SITE_RESID_1;
}

static void find_inputs(const struct ref_model *m, enum site site, uint32_t layer,
                        struct ref_site *s)
{
    switch (site) {
    case SITE_Q:
    case SITE_K:
    case SITE_V:
        s->in[0] = attention_input(m, layer);
        break;
    case SITE_Q_ROPE:
        s->in[0] = first_of(m, layer, SITE_Q_NORM, SITE_Q_NORM, SITE_Q);
        break;
    case SITE_K_ROPE:
        s->in[0] = first_of(m, layer, SITE_K_NORM, SITE_K_NORM, SITE_K);
        break;
    case SITE_SCORES:
    case SITE_ATTN:
        s->in[0] = first_of(m, layer, SITE_Q_ROPE, SITE_Q_NORM, SITE_Q);
        s->in[1] = first_of(m, layer, SITE_K_ROPE, SITE_K_NORM, SITE_K);
        break;
    case SITE_RESID_1:
        s->in[0] = first_of(m, layer, SITE_ATTN_POST, SITE_ATTN_POST, SITE_ATTN_OUT);
        break;
    case SITE_FFN_NORM:
        if (m->parallel) s->in[0] = (enum site)STREAM;
        break;
    case SITE_ROUTER:
    case SITE_GATE:
    case SITE_UP:
        s->in[0] = ffn_input(m, layer);
        break;
    case SITE_RESID_2:
        s->in[0] = first_of(m, layer, SITE_FFN_POST, SITE_FFN_POST, SITE_FFN_OUT);
        break;
    default:
        break;
    }
}

/* From sites of the layer, and its stream, to sites and their layers. */
static void find_layers(const struct ref_model *m, enum site site, uint32_t layer,
                        struct ref_site *s)
{
    for (size_t i = 0; i < s->n_in; i++) {
        const int in = (int)s->in[i];
        uint32_t *from = &s->in_layer[i];
        *from = site == SITE_NORM ? m->shape.n_layers : layer;
        if (in == STREAM) {
            s->in[i] = *from == 0 ? SITE_EMBD : SITE_RESID_2;
            if (*from > 0) --*from;
        } else if (site_table[in].scope == SITE_MODEL) {
            *from = 0;
        }
    }
}

static void find_activation(const struct ref_ffn *w, struct ref_site *s)
{
    const bool gelu = w->act == REF_ACT_GELU;
    s->act = w->act;
    if (w->gate.data) {
        s->op = gelu ? "gelu_mul" : "silu_mul";
        return;
    }
    s->op = gelu ? "gelu" : "silu";
    s->in[0] = SITE_UP;
    s->n_in = 1;
}

/* Sites that stand for several operations: the mixture of experts, and what latent attention
 * shows. */
static void find_several(const struct ref_model *m, enum site site, uint32_t layer,
                         struct ref_site *s)
{
    const bool inner =
        site == SITE_V || site == SITE_Q_ROPE || site == SITE_K_ROPE || site == SITE_ATTN;
    if (site == SITE_FFN_OUT && m->layers[layer].moe.gate_inp.data)
        *s = (struct ref_site){.kind = REF_SITE_SEVERAL,
                               .title = "experts",
                               .op = "moe_sum",
                               .tensor = "ffn_down_exps",
                               .in = {ffn_input(m, layer)},
                               .n_in = 1};
    if (!latent(m, layer) || !inner) return;
    s->kind = REF_SITE_SEVERAL;
    s->tensor = site == SITE_Q_ROPE ? "attn_q" : "attn_kv_a_mqa";
    s->op = site == SITE_ATTN ? "attention" : "latent attention";
    s->n_in = 0;
}

struct ref_site ref_site_of(const struct ref_model *m, enum site site, uint32_t layer)
{
    struct ref_site s = plain[site];
    if (!m || layer >= m->shape.n_layers) return s;
    find_inputs(m, site, layer, &s);
    find_several(m, site, layer, &s);
    if (s.kind == REF_SITE_NORM) {
        s.norm = *norm_of(m, site, layer);
        s.tensor = s.norm.w ? s.norm.role : NULL;
        if (m->arch->norm == REF_NORM_LAYER) s.op = "layer_norm";
    }
    if (s.kind == REF_SITE_LINEAR || s.kind == REF_SITE_EMBED)
        s.weight = *weight_of(m, site, layer);
    if (s.kind == REF_SITE_ACT) find_activation(&m->layers[layer].ffn, &s);
    if (site == SITE_SCORES || site == SITE_WEIGHTS || site == SITE_ATTN)
        s.sinks = m->layers[layer].sinks;
    find_layers(m, site, layer, &s);
    return s;
}

size_t ref_site_columns(const struct ref_model *m, enum site site, size_t n_tokens)
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
