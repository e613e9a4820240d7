/* What the architectures' models have in common; see model_load.h. */
#include "reference/model_load.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Far beyond any model: keeps a damaged count from asking for all the memory there is. */
enum { MAX_LAYERS = 1 << 16 };

void ref_load_shape(struct ref_loader *l)
{
    struct ref_shape *s = &l->m->shape;
    s->n_ctx = ref_load_count(l, "context_length");
    s->n_embd = ref_load_count(l, "embedding_length");
    s->n_layers = ref_load_count(l, "block_count");
    s->n_ff = ref_load_count_or_none(l, "feed_forward_length");
    s->n_heads = ref_load_count(l, "attention.head_count");
    s->n_kv_heads = ref_load_count_or(l, "attention.head_count_kv", s->n_heads);
    if (s->n_heads % s->n_kv_heads != 0)
        ref_load_fail(l, "%u heads cannot share %u key-value heads", s->n_heads, s->n_kv_heads);
    const uint32_t even_share = s->n_embd / s->n_heads > 0 ? s->n_embd / s->n_heads : 1;
    s->head_dim = ref_load_count_or(l, "attention.key_length", even_share);
    s->value_dim = ref_load_count_or(l, "attention.value_length", even_share);
    l->m->kq_scale = 1 / sqrt(s->head_dim);
    l->m->norm_eps =
        ref_load_number(l, l->m->arch->norm == REF_NORM_RMS ? "attention.layer_norm_rms_epsilon"
                                                            : "attention.layer_norm_epsilon");
    if (!(l->m->norm_eps >= 0))
        ref_load_fail(l, "%s: the epsilon of the norms is %g", l->m->arch_name, l->m->norm_eps);
    ref_load_has_experts(l); /* of any architecture the two counts must agree */
    s->n_experts = s->n_experts_used = 0;
    if (s->n_layers > MAX_LAYERS)
        ref_load_fail(l, "key %s.block_count is %u, more than %d", l->m->arch_name, s->n_layers,
                      MAX_LAYERS);
    l->m->layers = ref_load_alloc(l, s->n_layers, sizeof *l->m->layers);
}

bool ref_load_layer(struct ref_loader *l, int i)
{
    return !l->failed && i < (int)l->m->shape.n_layers;
}

/* ---- RoPE ------------------------------------------------------------------------------------ */

static const char *const long_short[] = {"rope_factors_long", "rope_factors_short"};

static bool is_there(struct ref_loader *l, const char *name)
{
    struct ref_tensor t;
    return ref_load_there(l, REF_OF_MODEL, name, &t);
}

/* A table that the architecture does not look at would silently be left out. */
static void tables_refuse(struct ref_loader *l, const char *name)
{
    if (is_there(l, name))
        ref_load_refuse(l, "tensor %s.weight: architecture %s takes none of this scaling", name,
                        l->m->arch_name);
}

static void tables_load(struct ref_loader *l, enum ref_rope_tables tables, bool longrope)
{
    struct ref_model *m = l->m;
    const size_t n = m->rope.n_dims / 2;
    if (tables == REF_TABLES_LLAMA)
        m->rope.factors = ref_load_vector_maybe(l, REF_OF_MODEL, "rope_freqs", "weight", n);
    else
        tables_refuse(l, "rope_freqs");
    const bool wanted = tables == REF_TABLES_LLAMA ? longrope
                        : tables == REF_TABLES_PHI3
                            ? longrope || is_there(l, long_short[0]) || is_there(l, long_short[1])
                            : false;
    if (!wanted) {
        for (size_t i = 0; i < 2; i++) tables_refuse(l, long_short[i]);
        return;
    }
    m->factors_long = ref_load_vector(l, REF_OF_MODEL, long_short[0], n);
    m->factors_short = ref_load_vector(l, REF_OF_MODEL, long_short[1], n);
    if (m->rope.factors) m->factors_long = m->factors_short = NULL; /* rope_freqs wins */
}

static void scaling_type(struct ref_loader *l, char *kind, size_t cap)
{
    static const char *const known[] = {"none", "linear", "yarn", "longrope"};
    char key[REF_NAME_CAP];
    ref_load_key(l, "rope.scaling.type", key);
    if (l->failed || !l->src->text(l->src->ctx, key, kind, cap)) snprintf(kind, cap, "linear");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(kind, known[i]) == 0) return;
    ref_load_refuse(l, "key %s is \"%s\": there are none, linear, yarn, longrope", key, kind);
}

/* The kind of scaling decides what counts: "none" drops the factor, "yarn" mixes frequencies and
 * raises the magnitude, "longrope" takes one of two tables by the length of the context. A factor
 * without a type is linear. */
void ref_load_rope(struct ref_loader *l, enum ref_rope_tables tables)
{
    const struct ref_shape *s = &l->m->shape;
    char kind[32];
    scaling_type(l, kind, sizeof kind);
    const bool yarn = strcmp(kind, "yarn") == 0;
    double factor = ref_load_number_or(l, "rope.scale_linear", 0);
    factor = ref_load_number_or(l, "rope.scaling.factor", factor);
    if (factor == 0 || strcmp(kind, "none") == 0) factor = 1;
    const double attn_factor = ref_load_number_or(l, "rope.scaling.attn_factor", 1);
    const struct ref_rope r = {
        .pairing = l->m->arch->pairing,
        .n_dims = ref_load_count_or(l, "rope.dimension_count", s->head_dim),
        .freq_base = ref_load_number_or(l, "rope.freq_base", 10000),
        .freq_scale = 1 / factor,
        .ext_factor = yarn ? 1 : 0,
        .attn_factor = attn_factor,
        .beta_fast = 32,
        .beta_slow = 1,
        .magnitude = yarn ? attn_factor * (1 + 0.1 * log(factor)) : attn_factor,
        .n_ctx_orig = ref_load_count_or(l, "rope.scaling.original_context_length", s->n_ctx),
    };
    if (r.n_dims % 2 != 0 || r.n_dims > s->head_dim)
        ref_load_fail(l, "key %s.rope.dimension_count is %u for heads of %u", l->m->arch_name,
                      r.n_dims, s->head_dim);
    if (!(factor > 0 && r.freq_base > 0) || (yarn && r.freq_base == 1))
        ref_load_fail(l, "RoPE with factor %g and base %g", factor, r.freq_base);
    l->m->rope = r;
    l->m->has_rope = true;
    tables_load(l, tables, strcmp(kind, "longrope") == 0);
    l->m->rope_windowed = l->m->rope;
}

void ref_load_whole_heads(struct ref_loader *l)
{
    if (l->m->rope.n_dims != l->m->shape.head_dim)
        ref_load_fail(l, "key %s.rope.dimension_count is %u, heads have %u", l->m->arch_name,
                      l->m->rope.n_dims, l->m->shape.head_dim);
}

void ref_load_plain_windowed_rope(struct ref_loader *l, double freq_base)
{
    struct ref_rope *r = &l->m->rope_windowed;
    r->freq_base = freq_base;
    r->freq_scale = 1;
    r->ext_factor = 0;
    r->attn_factor = r->magnitude = 1;
}

/* granite: a factor of 0 is none, and the key rope.scaling.finetuned can take RoPE out. */
void ref_load_granite_scales(struct ref_loader *l)
{
    struct ref_model *m = l->m;
    const double scale = ref_load_number_or(l, "attention.scale", 0);
    const double embd = ref_load_number_or(l, "embedding_scale", 0);
    const double residual = ref_load_number_or(l, "residual_scale", 0);
    const double logit = ref_load_number(l, "logit_scale");
    if (logit == 0) ref_load_fail(l, "key %s.logit_scale is 0", m->arch_name);
    if (scale != 0) m->kq_scale = scale;
    if (embd != 0) m->embd_scale = embd;
    if (residual != 0) m->residual_scale = residual;
    m->logit_scale = 1 / logit;
    m->has_rope = ref_load_number_or(l, "rope.scaling.finetuned", 1) != 0;
}

/* ---- embedding and output ------------------------------------------------------------------- */

void ref_load_embedding(struct ref_loader *l)
{
    struct ref_shape *s = &l->m->shape;
    struct ref_tensor t;
    /* The table itself says how many tokens there are; everything else must agree. */
    if (l->failed) return;
    if (!ref_load_there(l, REF_OF_MODEL, "token_embd", &t)) {
        ref_load_missing(l, REF_OF_MODEL, "token_embd", "weight");
        return;
    }
    if (t.dims[1] < 1 || t.dims[1] > INT32_MAX)
        ref_load_fail(l, "tensor token_embd.weight has %llu rows", (unsigned long long)t.dims[1]);
    s->n_vocab = (uint32_t)t.dims[1];
    const uint32_t said = ref_load_count_or(l, "vocab_size", s->n_vocab);
    if (said != s->n_vocab)
        ref_load_fail(l, "tensor token_embd.weight has %u rows, key %s.vocab_size is %u",
                      s->n_vocab, l->m->arch_name, said);
    l->m->embd = ref_load_matrix(l, REF_OF_MODEL, "token_embd", s->n_embd, s->n_vocab);
    l->m->output = ref_load_matrix_maybe(l, REF_OF_MODEL, "output", s->n_embd, s->n_vocab);
    if (!l->m->output.data) {
        l->m->output = l->m->embd;
        l->m->output.bias = ref_load_vector_maybe(l, REF_OF_MODEL, "output", "bias", s->n_vocab);
    }
    l->m->output_norm = ref_load_norm(l, REF_OF_MODEL, "output_norm", s->n_embd, 1);
}

/* ---- attention ------------------------------------------------------------------------------- */

static void qkv_load(struct ref_loader *l, int layer, bool biased)
{
    const struct ref_shape *s = &l->m->shape;
    const size_t n_q = (size_t)s->n_heads * s->head_dim, n_kv = (size_t)s->n_kv_heads * s->head_dim;
    struct ref_layer *to = &l->m->layers[layer];
    const struct ref_weight all =
        ref_load_matrix_maybe(l, layer, "attn_qkv", s->n_embd, n_q + 2 * n_kv);
    if (all.data) {
        to->q = ref_rows_of(&all, 0, n_q);
        to->k = ref_rows_of(&all, n_q, n_kv);
        to->v = ref_rows_of(&all, n_q + n_kv, n_kv);
        if (biased) ref_load_biased(l, layer, "attn_qkv", &all);
        return;
    }
    to->q = ref_load_matrix(l, layer, "attn_q", s->n_embd, n_q);
    to->k = ref_load_matrix(l, layer, "attn_k", s->n_embd, n_kv);
    to->v = ref_load_matrix(l, layer, "attn_v", s->n_embd, n_kv);
    if (!biased) return;
    ref_load_biased(l, layer, "attn_q", &to->q);
    ref_load_biased(l, layer, "attn_k", &to->k);
    ref_load_biased(l, layer, "attn_v", &to->v);
}

void ref_load_attention(struct ref_loader *l, int layer, enum ref_biases biases)
{
    const struct ref_shape *s = &l->m->shape;
    if (s->value_dim != s->head_dim)
        ref_load_refuse(l, "key %s.attention.value_length is %u, not the key length %u",
                        l->m->arch_name, s->value_dim, s->head_dim);
    if (l->failed) return;
    qkv_load(l, layer, biases != REF_BIAS_MAYBE);
    struct ref_weight *o = &l->m->layers[layer].o;
    *o = ref_load_matrix(l, layer, "attn_output", (size_t)s->n_heads * s->head_dim, s->n_embd);
    if (biases == REF_BIAS_ALL) ref_load_biased(l, layer, "attn_output", o);
}

/* The norms of the layer's two inputs, and what is between them. */
void ref_load_pre_norm(struct ref_loader *l, int layer, enum ref_biases biases)
{
    const uint32_t n_embd = l->m->shape.n_embd;
    if (l->failed) return;
    struct ref_layer *to = &l->m->layers[layer];
    to->attn_norm = ref_load_norm(l, layer, "attn_norm", n_embd, 1);
    ref_load_attention(l, layer, biases);
    to->ffn_norm = ref_load_norm(l, layer, "ffn_norm", n_embd, 1);
}

void ref_load_pre_norms_biased(struct ref_loader *l, int layer)
{
    if (l->failed) return;
    ref_load_norm_biased(l, layer, "attn_norm", &l->m->layers[layer].attn_norm);
    ref_load_norm_biased(l, layer, "ffn_norm", &l->m->layers[layer].ffn_norm);
}

void ref_load_post_norms(struct ref_loader *l, int layer)
{
    const uint32_t n_embd = l->m->shape.n_embd;
    if (l->failed) return;
    struct ref_layer *to = &l->m->layers[layer];
    to->attn_post_norm = ref_load_norm(l, layer, "post_attention_norm", n_embd, 1);
    to->ffn_post_norm = ref_load_norm(l, layer, "post_ffw_norm", n_embd, 1);
}

void ref_load_qk_norms(struct ref_loader *l, int layer)
{
    if (l->failed) return;
    struct ref_layer *to = &l->m->layers[layer];
    to->q_norm = ref_load_norm(l, layer, "attn_q_norm", l->m->shape.head_dim, 1);
    to->k_norm = ref_load_norm(l, layer, "attn_k_norm", l->m->shape.head_dim, 1);
}

void ref_load_head_norms(struct ref_loader *l, int layer)
{
    const struct ref_shape *s = &l->m->shape;
    if (l->failed) return;
    struct ref_layer *to = &l->m->layers[layer];
    to->q_norm = ref_load_norm_maybe(l, layer, "attn_q_norm", s->head_dim, s->n_heads);
    to->k_norm = ref_load_norm_maybe(l, layer, "attn_k_norm", s->head_dim, s->n_kv_heads);
    if (!to->q_norm.w != !to->k_norm.w)
        ref_load_missing(l, layer, to->q_norm.w ? "attn_k_norm" : "attn_q_norm", "weight");
}

uint32_t ref_load_window_or(struct ref_loader *l, uint32_t fallback)
{
    double value;
    static const char *const key = "attention.sliding_window";
    return ref_load_has(l, key, &value) ? ref_load_count_or_none(l, key) : fallback;
}

void ref_load_windows(struct ref_loader *l, uint32_t window, uint32_t period)
{
    static const char *const pattern = "attention.sliding_window_pattern";
    struct ref_model *m = l->m;
    char key[REF_NAME_CAP];
    double value, first;
    ref_load_key(l, pattern, key);
    if (ref_load_has(l, pattern, &value)) period = ref_load_count(l, pattern);
    const bool each = !l->failed && l->src->number_at(l->src->ctx, key, 0, &first) &&
                      !l->src->number(l->src->ctx, key, &value);
    m->window = window;
    for (uint32_t i = 0; !l->failed && i < m->shape.n_layers; i++) {
        if (!each)
            m->layers[i].windowed = i % period < period - 1;
        else if (l->src->number_at(l->src->ctx, key, i, &value))
            m->layers[i].windowed = value != 0;
        else
            ref_load_fail(l, "key %s has no entry for layer %u", key, i);
        if (window == 0) m->layers[i].windowed = false;
    }
}

/* ---- feed-forward ---------------------------------------------------------------------------- */

static size_t ff_length(struct ref_loader *l)
{
    return l->m->shape.n_ff = ref_load_count(l, "feed_forward_length");
}

void ref_load_gated(struct ref_loader *l, int layer, enum ref_activation act)
{
    const size_t n_embd = l->m->shape.n_embd, n_ff = ff_length(l);
    if (l->failed) return;
    l->m->layers[layer].ffn =
        (struct ref_ffn){.act = act,
                         .gate = ref_load_matrix(l, layer, "ffn_gate", n_embd, n_ff),
                         .up = ref_load_matrix(l, layer, "ffn_up", n_embd, n_ff),
                         .down = ref_load_matrix(l, layer, "ffn_down", n_ff, n_embd)};
}

void ref_load_fused_gated(struct ref_loader *l, int layer, enum ref_activation act)
{
    const size_t n_embd = l->m->shape.n_embd, n_ff = ff_length(l);
    const struct ref_weight both = ref_load_matrix(l, layer, "ffn_up", n_embd, 2 * n_ff);
    if (l->failed) return;
    l->m->layers[layer].ffn =
        (struct ref_ffn){.act = act,
                         .gate = ref_rows_of(&both, 0, n_ff),
                         .up = ref_rows_of(&both, n_ff, n_ff),
                         .down = ref_load_matrix(l, layer, "ffn_down", n_ff, n_embd)};
}

void ref_load_plain(struct ref_loader *l, int layer, enum ref_biases biases)
{
    const size_t n_embd = l->m->shape.n_embd, n_ff = ff_length(l);
    if (l->failed) return;
    struct ref_ffn *to = &l->m->layers[layer].ffn;
    *to = (struct ref_ffn){.act = REF_ACT_GELU,
                           .up = ref_load_matrix(l, layer, "ffn_up", n_embd, n_ff),
                           .down = ref_load_matrix(l, layer, "ffn_down", n_ff, n_embd)};
    if (biases != REF_BIAS_ALL) return;
    ref_load_biased(l, layer, "ffn_up", &to->up);
    ref_load_biased(l, layer, "ffn_down", &to->down);
}

void ref_load_all_biased(struct ref_loader *l)
{
    ref_load_norm_biased(l, REF_OF_MODEL, "output_norm", &l->m->output_norm);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_ALL);
        ref_load_pre_norms_biased(l, i);
        ref_load_plain(l, i, REF_BIAS_ALL);
    }
}
