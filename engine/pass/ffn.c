/* Feed-forward networks: gated or plain, and mixtures of experts. */
#include "engine/pass/pass.h"

/* gate = act(gate) * up, n values */
static enum status activate(struct pass *p, enum activation act, struct view gate, struct view up,
                            size_t n, struct err *e)
{
    struct op_binary a = {gate, up, gate, (uint32_t)n};
    switch (act) {
    case ACT_SILU:
        return RUN(p, silu_mul, &a, e);
    case ACT_GELU:
        return RUN(p, gelu_mul, &a, e);
    case ACT_SWIGLU_OAI:
        return RUN(p, swiglu_oai, &a, e);
    }
    return fail(e, ST_UNSUPPORTED, "activation %d", (int)act);
}

/* x = act(x), n values: without a gate */
static enum status activate_plain(struct pass *p, enum activation act, struct view x, size_t n,
                                  struct err *e)
{
    struct op_unary a = {x, x, (uint32_t)n};
    return act == ACT_GELU ? RUN(p, gelu, &a, e) : RUN(p, silu, &a, e);
}

/* quiet: nothing is shown, of an expert. */
static enum status show(struct pass *p, bool quiet, enum site site, uint32_t layer, struct view at,
                        size_t cols, struct err *e)
{
    return quiet ? ST_OK : pass_probe(p, site, layer, at, cols, e);
}

static enum status dense(struct pass *p, const struct ffn *f, uint32_t layer, bool quiet,
                         struct view x, struct view out, struct err *e)
{
    const struct scratch *at = &p->at;
    const size_t n = (size_t)p->n_tokens * f->n_ff;
    struct view inner = at->up;
    if (f->gate.w) {
        TRY(pass_linear(p, &f->gate, x, at->gate, p->n_tokens, e));
        TRY(show(p, quiet, SITE_GATE, layer, at->gate, f->n_ff, e));
    }
    TRY(pass_linear(p, &f->up, x, at->up, p->n_tokens, e));
    TRY(show(p, quiet, SITE_UP, layer, at->up, f->n_ff, e));
    if (f->gate.w) {
        TRY(activate(p, f->act, at->gate, at->up, n, e));
        inner = at->gate;
    } else {
        TRY(activate_plain(p, f->act, at->up, n, e));
    }
    TRY(show(p, quiet, SITE_ACT, layer, inner, f->n_ff, e));
    return pass_linear(p, &f->down, inner, out, p->n_tokens, e);
}

/* ---- experts
 * ----------------------------------------------------------------------------------- */

/* at.moe.ids, at.moe.weights: who is chosen for each token. */
static enum status choose(struct pass *p, const struct moe *x, uint32_t layer, struct view in,
                          struct err *e)
{
    const struct router *r = &p->model->h.router;
    struct op_route route = {.logits = p->at.moe.router,
                             .bias = pass_weight(p, x->select_bias),
                             .ids = p->at.moe.ids,
                             .weights = p->at.moe.weights,
                             .n_tokens = p->n_tokens,
                             .n_experts = r->n_experts,
                             .n_used = r->n_used,
                             .n_groups = r->n_groups,
                             .n_groups_used = r->n_groups_used,
                             .gating = r->gating,
                             .normalise = r->normalise,
                             .scale = r->scale};
    TRY(pass_linear(p, &x->router, in, p->at.moe.router, p->n_tokens, e));
    TRY(pass_probe(p, SITE_ROUTER, layer, p->at.moe.router, r->n_experts, e));
    return RUN(p, route, &route, e);
}

/* at.moe.gate, at.moe.up: apart, or halves of one product. */
static enum status expand(struct pass *p, const struct moe *x, struct view in, struct err *e)
{
    const uint32_t n_used = p->model->h.router.n_used, n = p->model->h.n_ff_expert;
    const struct view ids = p->at.moe.ids;
    if (!x->gate_up.w) {
        TRY(pass_stack(p, &x->gate, in, false, ids, n_used, p->at.moe.gate, e));
        return pass_stack(p, &x->up, in, false, ids, n_used, p->at.moe.up, e);
    }
    struct op_copy half = {.x = p->at.moe.gate_up,
                           .out = p->at.moe.gate,
                           .rows = p->n_tokens * n_used,
                           .groups = 1,
                           .n = n,
                           .x_row = 2 * n,
                           .out_row = n};
    TRY(pass_stack(p, &x->gate_up, in, false, ids, n_used, p->at.moe.gate_up, e));
    TRY(RUN(p, copy, &half, e));
    half.x.off += n * sizeof(float);
    half.out = p->at.moe.up;
    return RUN(p, copy, &half, e);
}

/* out += the expert that is always in use, through its gate if it has one. */
static enum status add_shared(struct pass *p, const struct moe *x, uint32_t layer, struct view in,
                              struct view out, struct err *e)
{
    const struct view shared = p->at.moe.shared, gate = p->at.moe.shared_gate;
    struct op_scale_rows scale = {shared, gate, shared, p->n_tokens, p->model->h.n_embd};
    if (!x->shared.up.w) return ST_OK;
    TRY(dense(p, &x->shared, layer, true, in, shared, e));
    if (x->shared_gate.w) {
        TRY(pass_linear(p, &x->shared_gate, in, gate, p->n_tokens, e));
        TRY(RUN(p, sigmoid, (&(struct op_unary){gate, gate, p->n_tokens}), e));
        TRY(RUN(p, scale_rows, &scale, e));
    }
    return pass_add(p, out, shared, e);
}

static enum status experts(struct pass *p, const struct moe *x, uint32_t layer, struct view in,
                           struct view out, struct err *e)
{
    const struct hyper *h = &p->model->h;
    const uint32_t n_used = h->router.n_used;
    struct op_moe_sum sum = {.x = p->at.moe.out,
                             .weights = p->at.moe.weights,
                             .out = out,
                             .n_tokens = p->n_tokens,
                             .n_used = n_used,
                             .n = h->n_embd};
    TRY(choose(p, x, layer, in, e));
    TRY(expand(p, x, in, e));
    TRY(activate(p, x->act, p->at.moe.gate, p->at.moe.up,
                 (size_t)p->n_tokens * n_used * h->n_ff_expert, e));
    TRY(pass_stack(p, &x->down, p->at.moe.gate, true, p->at.moe.ids, n_used, p->at.moe.out, e));
    TRY(RUN(p, moe_sum, &sum, e));
    return add_shared(p, x, layer, in, out, e);
}

enum status pass_ffn(struct pass *p, uint32_t layer, struct view x, struct view out, struct err *e)
{
    const struct layer_weights *l = &p->model->layers[layer];
    return l->moe.router.w ? experts(p, &l->moe, layer, x, out, e)
                           : dense(p, &l->ffn, layer, false, x, out, e);
}
