/* Architecture deepseek2: attention with latent keys and values (MLA), dense layers first, then
 * experts with shared ones; RMSNorm, RoPE on neighbouring pairs of a slice of each head,
 * pre-norm layers. The formulas are in reference/spec/operations.md, "deepseek2".
 *
 * A query head is [nope | pe], pe rotated. Every token has one latent c and one rotated pe, shared
 * by all heads. Files with attn_kv_b make full heads K = [kv_b c | pe], V = kv_b c of it. Files
 * with attn_k_b and attn_v_b (absorbed) compare q' = [k_b nope | pe] with [c | pe], which is what
 * they cache, and send the mixture of c through v_b. */
#include "reference/model_load.h"

#include <math.h>

/* ---- loading --------------------------------------------------------------------------------- */

/* Sizes of heads before absorption: key = nope + rope, value. */
struct sizes {
    size_t rank, rope, key, nope, value;
    bool absorbed;
};

static struct sizes sizes_of(const struct ref_model *m)
{
    const struct ref_mla *a = &m->layers[0].mla;
    struct sizes z = {.rank = a->kv_a_norm.n, .rope = m->rope.n_dims, .absorbed = a->k_b != NULL};
    z.key = a->q_b.n_out / m->shape.n_heads;
    z.nope = z.key - z.rope;
    z.value = m->layers[0].o.n_in / m->shape.n_heads;
    return z;
}

static struct sizes sizes_load(struct ref_loader *l)
{
    struct ref_shape *s = &l->m->shape;
    struct sizes z = {.rank = ref_load_count(l, "attention.kv_lora_rank"),
                      .rope = l->m->rope.n_dims,
                      .key = ref_load_count_or(l, "attention.key_length_mla", s->head_dim),
                      .value = ref_load_count_or(l, "attention.value_length_mla", s->value_dim)};
    double n;
    z.absorbed = ref_load_has(l, "attention.key_length_mla", &n);
    if (z.key <= z.rope && !l->failed)
        ref_load_fail(l, "heads of %zu leave nothing beside the %zu rotated", z.key, z.rope);
    if (z.absorbed &&
        (s->n_kv_heads != 1 || s->head_dim != z.rank + z.rope || s->value_dim != z.rank))
        ref_load_fail(l, "latents of %zu + %zu, but %u cached heads of %u and %u", z.rank, z.rope,
                      s->n_kv_heads, s->head_dim, s->value_dim);
    if (!z.absorbed && s->n_kv_heads != s->n_heads)
        ref_load_fail(l, "%u heads, but %u of keys and values", s->n_heads, s->n_kv_heads);
    z.nope = z.key - z.rope;
    return z;
}

static void mla_load(struct ref_loader *l, int i, const struct sizes *z)
{
    const struct ref_shape *s = &l->m->shape;
    struct ref_mla *a = &l->m->layers[i].mla;
    const size_t n_q = s->n_heads * z->key;
    struct ref_tensor t;
    if (ref_load_there(l, i, "attn_q", &t)) {
        a->q_b = ref_load_matrix(l, i, "attn_q", s->n_embd, n_q);
    } else {
        const uint32_t rank = ref_load_count(l, "attention.q_lora_rank");
        a->q_a = ref_load_matrix(l, i, "attn_q_a", s->n_embd, rank);
        a->q_a_norm = ref_load_norm(l, i, "attn_q_a_norm", rank, 1);
        a->q_b = ref_load_matrix(l, i, "attn_q_b", rank, n_q);
    }
    a->kv_a = ref_load_matrix(l, i, "attn_kv_a_mqa", s->n_embd, z->rank + z->rope);
    a->kv_a_norm = ref_load_norm(l, i, "attn_kv_a_norm", z->rank, 1);
    if (z->absorbed) {
        a->k_b = ref_load_slices(l, i, "attn_k_b", z->nope, z->rank, s->n_heads);
        a->v_b = ref_load_slices(l, i, "attn_v_b", z->rank, z->value, s->n_heads);
    } else {
        a->kv_b = ref_load_matrix(l, i, "attn_kv_b", z->rank, s->n_heads * (z->nope + z->value));
    }
    l->m->layers[i].o = ref_load_matrix(l, i, "attn_output", s->n_heads * z->value, s->n_embd);
}

/* YaRN with a log multiplier k: RoPE does not scale, the scores take (1 + k ln(factor))^2; without
 * k both take 1 + 0.1 ln(factor). A factor of the file's own is on both. */
static void scale_load(struct ref_loader *l, const struct sizes *z)
{
    struct ref_rope *r = &l->m->rope;
    const double log_factor = r->ext_factor != 0 ? -log(r->freq_scale) : 0;
    const double multiplier = ref_load_number_or(l, "rope.scaling.yarn_log_multiplier", 0);
    double m = 1 + 0.1 * log_factor;
    if (multiplier != 0) {
        r->magnitude = r->attn_factor;
        m = 1 + multiplier * log_factor;
    }
    m *= r->attn_factor;
    l->m->kq_scale = m * m / sqrt((double)z->key);
}

static struct ref_router router_load(struct ref_loader *l)
{
    const double gating = ref_load_number_or(l, "expert_gating_func", 0);
    const bool normalise = ref_load_number_or(l, "expert_weights_norm", 0) != 0;
    struct ref_router r = ref_load_router(l, REF_GATING_SOFTMAX, normalise);
    if (gating == 2 || gating == 3)
        r.gating = gating == 2 ? REF_GATING_SIGMOID : REF_GATING_SOFTMAX_CHOSEN;
    if (gating != 0 && gating != 1 && r.gating == REF_GATING_SOFTMAX)
        ref_load_refuse(l, "key deepseek2.expert_gating_func is %g", gating);
    r.scale = ref_load_number_or(l, "expert_weights_scale", 0);
    return r;
}

static void experts_load(struct ref_loader *l, int i, const struct ref_router *router)
{
    const size_t n_ff = ref_load_count(l, "expert_feed_forward_length");
    const uint32_t n_shared = ref_load_count_or_none(l, "expert_shared_count");
    struct ref_router r = *router;
    r.bias = ref_load_vector_maybe(l, i, "exp_probs_b", "bias", r.n_experts);
    ref_load_experts(l, i, &r, REF_ACT_SILU, n_ff, true);
    ref_load_shared_expert(l, i, n_ff * n_shared);
}

static void deepseek2_load(struct ref_loader *l)
{
    const struct ref_shape *s = &l->m->shape;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    const struct sizes z = sizes_load(l);
    scale_load(l, &z);
    const double n_dense = ref_load_number_or(l, "leading_dense_block_count", 0);
    const struct ref_router router =
        n_dense < s->n_layers ? router_load(l) : (struct ref_router){0};
    for (int i = 0; ref_load_layer(l, i); i++) {
        struct ref_layer *layer = &l->m->layers[i];
        layer->attn_norm = ref_load_norm(l, i, "attn_norm", s->n_embd, 1);
        mla_load(l, i, &z);
        layer->ffn_norm = ref_load_norm(l, i, "ffn_norm", s->n_embd, 1);
        if (i < n_dense)
            ref_load_gated(l, i, REF_ACT_SILU);
        else
            experts_load(l, i, &router);
    }
}

/* ---- attention ------------------------------------------------------------------------------- */

/* part, head: one head's columns; q_pe, k_pe: what is rotated. */
struct places {
    struct ref_vals q_a, q, kv, latent, k_pe, q_pe, heads, k, v, mixed, out, in_head, out_head;
    struct ref_vals queries;
};

static bool places_alloc(struct ref_pass *p, const struct sizes *z, size_t n_q_a, struct places *a)
{
    const size_t n = p->m->shape.n_heads, n_kv = z->absorbed ? 1 : n;
    const size_t key = z->absorbed ? z->rank + z->rope : z->key;
    const size_t value = z->absorbed ? z->rank : z->value;
    return ref_pass_alloc(p, n_q_a, &a->q_a) && ref_pass_alloc(p, n * z->key, &a->q) &&
           ref_pass_alloc(p, z->rank + z->rope, &a->kv) && ref_pass_alloc(p, z->rank, &a->latent) &&
           ref_pass_alloc(p, z->rope, &a->k_pe) && ref_pass_alloc(p, n * z->rope, &a->q_pe) &&
           ref_pass_alloc(p, n * (z->nope + z->value), &a->heads) &&
           ref_pass_alloc(p, n * key, &a->queries) && ref_pass_alloc(p, n_kv * key, &a->k) &&
           ref_pass_alloc(p, n_kv * value, &a->v) && ref_pass_alloc(p, n * value, &a->mixed) &&
           ref_pass_alloc(p, n * z->value, &a->out);
}

/* Each head through a matrix of its own: columns `from` of each group of in, to `to` of out. */
static bool heads_linear(struct ref_pass *p, const struct ref_weight *w, size_t n_heads,
                         const struct ref_vals *in, struct ref_columns from, struct ref_vals *out,
                         struct ref_columns to)
{
    struct ref_vals x, y;
    if (!ref_pass_alloc(p, w->n_in, &x) || !ref_pass_alloc(p, w->n_out, &y)) return false;
    const struct ref_columns all_x = {.n = w->n_in, .n_groups = 1};
    const struct ref_columns all_y = {.n = w->n_out, .n_groups = 1};
    from.n_groups = to.n_groups = 1;
    for (size_t h = 0; h < n_heads; h++) {
        ref_pass_copy(p, in, from, &x, all_x);
        ref_pass_linear(p, &w[h], &x, &y);
        ref_pass_copy(p, &y, all_y, out, to);
        from.first += from.stride;
        to.first += to.stride;
    }
    return true;
}

static void queries_and_latents(struct ref_pass *p, uint32_t i, const struct sizes *z,
                                const struct ref_vals *in, struct places *a)
{
    const struct ref_mla *w = &p->m->layers[i].mla;
    const size_t n = p->m->shape.n_heads;
    const struct ref_vals *from = in;
    if (w->q_a.data) {
        ref_pass_linear(p, &w->q_a, in, &a->q_a);
        ref_pass_norm(p, &w->q_a_norm, &a->q_a, &a->q_a);
        from = &a->q_a;
    }
    ref_pass_linear(p, &w->q_b, from, &a->q);
    ref_pass_linear(p, &w->kv_a, in, &a->kv);
    ref_pass_copy(p, &a->kv, (struct ref_columns){0, z->rank, 0, 1}, &a->latent,
                  (struct ref_columns){0, z->rank, 0, 1});
    ref_pass_norm(p, &w->kv_a_norm, &a->latent, &a->latent);
    ref_pass_copy(p, &a->kv, (struct ref_columns){z->rank, z->rope, 0, 1}, &a->k_pe,
                  (struct ref_columns){0, z->rope, 0, 1});
    ref_pass_copy(p, &a->q, (struct ref_columns){z->nope, z->rope, z->key, n}, &a->q_pe,
                  (struct ref_columns){0, z->rope, z->rope, n});
    ref_pass_rope(p, &p->rope, 1, &a->k_pe);
    ref_pass_rope(p, &p->rope, n, &a->q_pe);
}

/* [nope | pe] per head for the queries as they are, keys and values made of the latents. */
static void full_heads(struct ref_pass *p, uint32_t i, const struct sizes *z, struct places *a)
{
    const size_t n = p->m->shape.n_heads, both = z->nope + z->value;
    const struct ref_columns nope = {0, z->nope, z->key, n};
    const struct ref_columns pe = {z->nope, z->rope, z->key, n};
    ref_pass_linear(p, &p->m->layers[i].mla.kv_b, &a->latent, &a->heads);
    ref_pass_copy(p, &a->q, nope, &a->queries, nope);
    ref_pass_copy(p, &a->q_pe, (struct ref_columns){0, z->rope, z->rope, n}, &a->queries, pe);
    ref_pass_copy(p, &a->heads, (struct ref_columns){0, z->nope, both, n}, &a->k, nope);
    ref_pass_copy(p, &a->k_pe, (struct ref_columns){0, z->rope, 0, 1}, &a->k, pe);
    ref_pass_copy(p, &a->heads, (struct ref_columns){z->nope, z->value, both, n}, &a->v,
                  (struct ref_columns){0, z->value, z->value, n});
}

/* [k_b nope | pe] per head for the queries, one key [latent | pe] and one value, the latent. */
static bool absorbed_heads(struct ref_pass *p, uint32_t i, const struct sizes *z, struct places *a)
{
    const size_t n = p->m->shape.n_heads, key = z->rank + z->rope;
    const struct ref_columns latent = {0, z->rank, 0, 1};
    const struct ref_columns rope = {0, z->rope, 0, 1};
    ref_pass_copy(p, &a->q_pe, (struct ref_columns){0, z->rope, z->rope, n}, &a->queries,
                  (struct ref_columns){z->rank, z->rope, key, n});
    ref_pass_copy(p, &a->latent, latent, &a->k, latent);
    ref_pass_copy(p, &a->k_pe, rope, &a->k, (struct ref_columns){z->rank, z->rope, 0, 1});
    ref_pass_copy(p, &a->latent, latent, &a->v, latent);
    return heads_linear(p, p->m->layers[i].mla.k_b, n, &a->q,
                        (struct ref_columns){0, z->nope, z->key, n}, &a->queries,
                        (struct ref_columns){0, z->rank, key, n});
}

/* From the normalised input to what attends and what is cached. */
static bool heads_make(struct ref_pass *p, uint32_t i, const struct sizes *z,
                       const struct ref_vals *in, struct places *a)
{
    const struct ref_mla *w = &p->m->layers[i].mla;
    if (!places_alloc(p, z, w->q_a.data ? w->q_a.n_out : 1, a)) return false;
    queries_and_latents(p, i, z, in, a);
    if (z->absorbed) return absorbed_heads(p, i, z, a);
    full_heads(p, i, z, a);
    return true;
}

/* Between the sites lie several operations: their error alone is that of a run from exact inputs,
 * whose variances are the squares. */
static bool heads_show(struct ref_pass *p, uint32_t i, const struct sizes *z,
                       const struct ref_vals *in, const struct places *a)
{
    struct places exact;
    struct ref_vals from;
    if (!ref_pass_wants(p, SITE_Q_ROPE, i) && !ref_pass_wants(p, SITE_K_ROPE, i) &&
        !ref_pass_wants(p, SITE_V, i))
        return true;
    if (!ref_pass_exact(p, in, &from) || !heads_make(p, i, z, &from, &exact)) return false;
    ref_pass_site_local(p, SITE_V, i, &a->v, &exact.v);
    ref_pass_site_local(p, SITE_Q_ROPE, i, &a->queries, &exact.queries);
    ref_pass_site_local(p, SITE_K_ROPE, i, &a->k, &exact.k);
    return true;
}

/* out_h = v_b[h] mixed_h, after attention, whose own error p->local holds. */
static bool values_expand(struct ref_pass *p, uint32_t i, const struct sizes *z, struct places *a)
{
    const size_t n = p->m->shape.n_heads;
    const struct ref_weight *v_b = p->m->layers[i].mla.v_b;
    const struct ref_columns from = {0, z->rank, z->rank, n}, to = {0, z->value, z->value, n};
    struct ref_vals mixed, out;
    if (!ref_pass_wants(p, SITE_ATTN, i))
        return heads_linear(p, v_b, n, &a->mixed, from, &a->out, to);
    if (!ref_pass_exact(p, &a->mixed, &mixed)) return false;
    for (size_t k = 0; k < p->rows * mixed.cols; k++) mixed.var[k] = p->local[k] * p->local[k];
    if (!ref_pass_alloc(p, a->out.cols, &out) || !heads_linear(p, v_b, n, &mixed, from, &out, to) ||
        !heads_linear(p, v_b, n, &a->mixed, from, &a->out, to))
        return false;
    ref_pass_site_local(p, SITE_ATTN, i, &a->out, &out);
    return true;
}

/* An absorbed value is a part of the cached key. */
static bool attend(struct ref_pass *p, uint32_t i, const struct sizes *z, struct places *a)
{
    ref_pass_cache(p, p->f->k_type, &a->k);
    ref_pass_cache(p, z->absorbed ? p->f->k_type : p->f->v_type, &a->v);
    if (z->absorbed)
        return ref_pass_attend(p, i, &a->queries, &a->k, &a->v, &a->mixed) &&
               values_expand(p, i, z, a);
    if (!ref_pass_attend(p, i, &a->queries, &a->k, &a->v, &a->out)) return false;
    ref_pass_site(p, SITE_ATTN, i, &a->out);
    return true;
}

static bool latent_attention(struct ref_pass *p, uint32_t i, struct ref_places *s)
{
    const struct sizes z = sizes_of(p->m);
    const struct ref_blocks outer = ref_pass_begin(p);
    struct places a;
    const bool ok =
        heads_make(p, i, &z, &s->h, &a) && heads_show(p, i, &z, &s->h, &a) && attend(p, i, &z, &a);
    if (ok) ref_pass_linear(p, &p->m->layers[i].o, &a.out, &s->h);
    ref_pass_end(p, outer);
    return ok;
}

const struct ref_arch ref_arch_deepseek2 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NORM,
    .load = deepseek2_load,
    .attention = latent_attention,
};
