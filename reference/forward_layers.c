/* From token ids to logits: the residual stream, and the forms of layers
 * (reference/spec/operations.md, "Layer forms"). What an architecture is made of is in the model;
 * its own file says so. */
#include "reference/forward_priv.h"

#include <math.h>

/* ---- attention ------------------------------------------------------------------------------- */

struct heads {
    struct ref_vals q, k, v, out;
};

static bool heads_alloc(struct ref_pass *p, struct heads *a)
{
    const struct ref_shape *s = &p->m->shape;
    const size_t n_q = (size_t)s->n_heads * s->head_dim, n_kv = (size_t)s->n_kv_heads * s->head_dim;
    return ref_pass_alloc(p, n_q, &a->q) && ref_pass_alloc(p, n_kv, &a->k) &&
           ref_pass_alloc(p, n_kv, &a->v) && ref_pass_alloc(p, n_q, &a->out);
}

/* mistral3: queries far from the start of the context count for more. */
static void temper(struct ref_pass *p, struct ref_vals *q)
{
    for (size_t row = 0; row < p->rows; row++) {
        const double times = floor((double)p->pos[row] / p->m->rope.n_ctx_orig);
        ref_pass_scale_row(p, row, log(times + 1) * p->m->temperature + 1, q);
    }
}

static void project(struct ref_pass *p, uint32_t i, const struct ref_vals *in, struct heads *a)
{
    const struct ref_layer *w = &p->m->layers[i];
    ref_pass_linear(p, &w->q, in, &a->q);
    ref_pass_site(p, SITE_Q, i, &a->q);
    ref_pass_linear(p, &w->k, in, &a->k);
    ref_pass_site(p, SITE_K, i, &a->k);
    ref_pass_linear(p, &w->v, in, &a->v);
    ref_pass_site(p, SITE_V, i, &a->v);
    if (w->q_norm.w) {
        ref_pass_norm(p, &w->q_norm, &a->q, &a->q);
        ref_pass_site(p, SITE_Q_NORM, i, &a->q);
    }
    if (w->k_norm.w) {
        ref_pass_norm(p, &w->k_norm, &a->k, &a->k);
        ref_pass_site(p, SITE_K_NORM, i, &a->k);
    }
}

void ref_pass_turn(struct ref_pass *p, enum site site, uint32_t i, struct ref_vals *v)
{
    const bool of_q = site == SITE_Q_ROPE;
    const struct ref_rope *r = p->m->layers[i].windowed ? &p->rope_windowed : &p->rope;
    ref_pass_rope(p, r, of_q ? p->m->shape.n_heads : p->m->shape.n_kv_heads, v);
    if (of_q && p->m->temperature != 0) temper(p, v);
}

static void rotate(struct ref_pass *p, uint32_t i, struct heads *a)
{
    if (!p->m->has_rope) return;
    ref_pass_turn(p, SITE_Q_ROPE, i, &a->q);
    ref_pass_site(p, SITE_Q_ROPE, i, &a->q);
    ref_pass_turn(p, SITE_K_ROPE, i, &a->k);
    ref_pass_site(p, SITE_K_ROPE, i, &a->k);
}

bool ref_self_attention(struct ref_pass *p, uint32_t i, struct ref_places *a)
{
    const struct ref_blocks outer = ref_pass_begin(p);
    struct heads own;
    bool ok = heads_alloc(p, &own);
    if (ok) {
        project(p, i, &a->h, &own);
        rotate(p, i, &own);
        ref_pass_cache(p, p->f->k_type, &own.k);
        ref_pass_cache(p, p->f->v_type, &own.v);
        ok = ref_pass_attend(p, i, &own.q, &own.k, &own.v, &own.out);
    }
    if (ok) {
        ref_pass_site(p, SITE_ATTN, i, &own.out);
        ref_pass_linear(p, &p->m->layers[i].o, &own.out, &a->h);
    }
    ref_pass_end(p, outer);
    return ok;
}

/* ---- feed-forward ---------------------------------------------------------------------------- */

static bool feed_forward(struct ref_pass *p, uint32_t i, struct ref_vals *v)
{
    const struct ref_layer *w = &p->m->layers[i];
    const bool ok =
        w->moe.gate_inp.data ? ref_pass_experts(p, i, v, v) : ref_pass_ffn(p, i, &w->ffn, v, v);
    if (ok) ref_pass_site(p, SITE_FFN_OUT, i, v);
    return ok;
}

/* ---- forms of layers ------------------------------------------------------------------------- */

/* The input of a part of a layer; without a norm what goes in comes out. */
static void normalise(struct ref_pass *p, const struct ref_norm *norm, enum site site, uint32_t i,
                      const struct ref_vals *in, struct ref_vals *out)
{
    const struct ref_columns all = {.n = in->cols, .n_groups = 1};
    if (!norm->w) {
        if (in != out) ref_pass_copy(p, in, all, out, all);
        return;
    }
    ref_pass_norm(p, norm, in, out);
    ref_pass_site(p, site, i, out);
}

static bool attention(struct ref_pass *p, uint32_t i, struct ref_places *a)
{
    if (!p->m->arch->attention(p, i, a)) return false;
    ref_pass_site(p, SITE_ATTN_OUT, i, &a->h);
    return true;
}

/* Pre-norm, sandwich and post-norm layers: x += post(Attn(norm x)); x += post(FFN(norm x)), where a
 * norm that the model lacks changes nothing. */
static bool layer_serial(struct ref_pass *p, uint32_t i, struct ref_places *a)
{
    const struct ref_layer *w = &p->m->layers[i];
    normalise(p, &w->attn_norm, SITE_ATTN_NORM, i, &a->x, &a->h);
    if (!attention(p, i, a)) return false;
    normalise(p, &w->attn_post_norm, SITE_ATTN_POST, i, &a->h, &a->h);
    ref_pass_add(p, &a->h, p->m->residual_scale, &a->x);
    ref_pass_site(p, SITE_RESID_1, i, &a->x);
    normalise(p, &w->ffn_norm, SITE_FFN_NORM, i, &a->x, &a->h);
    if (!feed_forward(p, i, &a->h)) return false;
    normalise(p, &w->ffn_post_norm, SITE_FFN_POST, i, &a->h, &a->h);
    ref_pass_add(p, &a->h, p->m->residual_scale, &a->x);
    ref_pass_site(p, SITE_RESID_2, i, &a->x);
    return true;
}

/* Parallel layers, with two norms or with one: x += Attn(norm x) + FFN(norm x). */
static bool layer_parallel(struct ref_pass *p, uint32_t i, struct ref_places *a)
{
    const struct ref_layer *w = &p->m->layers[i];
    normalise(p, &w->attn_norm, SITE_ATTN_NORM, i, &a->x, &a->h);
    normalise(p, &w->ffn_norm, SITE_FFN_NORM, i, w->ffn_norm.w ? &a->x : &a->h, &a->h2);
    if (!attention(p, i, a)) return false;
    ref_pass_add(p, &a->h, 1, &a->x);
    ref_pass_site(p, SITE_RESID_1, i, &a->x);
    if (!feed_forward(p, i, &a->h2)) return false;
    ref_pass_add(p, &a->h2, 1, &a->x);
    ref_pass_site(p, SITE_RESID_2, i, &a->x);
    return true;
}

/* ---- the whole ------------------------------------------------------------------------------- */

void ref_pass_tokens(struct ref_pass *p, const int32_t *tokens, struct ref_vals *x,
                     struct ref_vals *room)
{
    const struct ref_model *m = p->m;
    ref_pass_embed(p, &m->embd, tokens, x);
    if (m->embd_scale != 1) ref_pass_scale(p, m->embd_scale, x);
    if (!m->pos_embd.data) return;
    ref_pass_embed(p, &m->pos_embd, p->pos, room);
    ref_pass_add(p, room, 1, x);
}

void ref_pass_finish(struct ref_pass *p, struct ref_vals *logits)
{
    if (p->m->logit_scale != 1) ref_pass_scale(p, p->m->logit_scale, logits);
    if (p->m->logit_cap != 0) ref_pass_cap(p, p->m->logit_cap, logits);
}

bool ref_pass_model(struct ref_pass *p, struct ref_vals *logits)
{
    const struct ref_model *m = p->m;
    const uint32_t n_embd = m->shape.n_embd;
    struct ref_places a;
    if (!ref_pass_alloc(p, n_embd, &a.x) || !ref_pass_alloc(p, n_embd, &a.h) ||
        !ref_pass_alloc(p, n_embd, &a.h2))
        return false;
    ref_pass_tokens(p, p->f->tokens, &a.x, &a.h);
    ref_pass_site(p, SITE_EMBD, 0, &a.x);
    for (uint32_t i = 0; i < m->shape.n_layers; i++) {
        if (ref_pass_cancelled(p, i)) return false;
        if (!(m->parallel ? layer_parallel(p, i, &a) : layer_serial(p, i, &a))) return false;
    }
    ref_pass_norm(p, &m->output_norm, &a.x, &a.h);
    ref_pass_site(p, SITE_NORM, 0, &a.h);
    ref_pass_linear(p, &m->output, &a.h, logits);
    ref_pass_finish(p, logits);
    ref_pass_site(p, SITE_LOGITS, 0, logits);
    return true;
}
