/* Loading mixtures of experts; see model_load.h. */
#include "reference/model_load.h"

size_t ref_load_expert_length(struct ref_loader *l)
{
    const struct ref_shape *s = &l->m->shape;
    const uint32_t n = ref_load_count_or_none(l, "expert_feed_forward_length");
    const uint32_t share = s->n_experts_used > 0 ? s->n_ff / s->n_experts_used : 0;
    if (n == 0 && share == 0)
        ref_load_fail(l, "key %s.expert_feed_forward_length is missing", l->m->arch_name);
    return n > 0 ? n : share;
}

static void groups_load(struct ref_loader *l, struct ref_router *r)
{
    r->n_groups = ref_load_count_or_none(l, "expert_group_count");
    if (r->n_groups < 2 || l->failed) return;
    r->n_groups_used = ref_load_count(l, "expert_group_used_count");
    if (r->n_experts % r->n_groups != 0 || r->n_groups_used > r->n_groups ||
        r->n_used > r->n_experts / r->n_groups * r->n_groups_used)
        ref_load_fail(l, "%u of %u experts, by %u of %u groups", r->n_used, r->n_experts,
                      r->n_groups_used, r->n_groups);
}

struct ref_router ref_load_router(struct ref_loader *l, enum ref_gating gating, bool normalise)
{
    if (!ref_load_has_experts(l) && !l->failed)
        ref_load_fail(l, "key %s.expert_count is missing", l->m->arch_name);
    struct ref_router r = {.gating = gating,
                           .n_experts = l->m->shape.n_experts,
                           .n_used = l->m->shape.n_experts_used,
                           .normalise = normalise};
    groups_load(l, &r);
    return r;
}

/* Rows of the gate first, then those of up. */
static void fused_load(struct ref_loader *l, int layer, size_t n_ff, struct ref_moe *to)
{
    const struct ref_shape *s = &l->m->shape;
    const struct ref_weight *both =
        ref_load_slices(l, layer, "ffn_gate_up_exps", s->n_embd, 2 * n_ff, s->n_experts);
    struct ref_weight *gate = ref_load_alloc(l, s->n_experts, sizeof *gate);
    struct ref_weight *up = ref_load_alloc(l, s->n_experts, sizeof *up);
    for (size_t i = 0; !l->failed && i < s->n_experts; i++) {
        gate[i] = ref_rows_of(&both[i], 0, n_ff);
        up[i] = ref_rows_of(&both[i], n_ff, n_ff);
    }
    to->gate = gate;
    to->up = up;
}

void ref_load_experts(struct ref_loader *l, int layer, const struct ref_router *router,
                      enum ref_activation act, size_t n_ff, bool fused)
{
    struct ref_shape *s = &l->m->shape;
    struct ref_tensor t;
    if (l->failed) return;
    struct ref_moe *to = &l->m->layers[layer].moe;
    s->n_ff_expert = (uint32_t)n_ff;
    *to = (struct ref_moe){.act = act,
                           .router = *router,
                           .gate_inp =
                               ref_load_matrix(l, layer, "ffn_gate_inp", s->n_embd, s->n_experts)};
    if (fused && ref_load_there(l, layer, "ffn_gate_up_exps", &t)) {
        fused_load(l, layer, n_ff, to);
    } else {
        to->gate = ref_load_slices(l, layer, "ffn_gate_exps", s->n_embd, n_ff, s->n_experts);
        to->up = ref_load_slices(l, layer, "ffn_up_exps", s->n_embd, n_ff, s->n_experts);
    }
    to->down = ref_load_slices(l, layer, "ffn_down_exps", n_ff, s->n_embd, s->n_experts);
}

void ref_load_experts_biased(struct ref_loader *l, int layer)
{
    if (l->failed) return;
    const struct ref_moe *m = &l->m->layers[layer].moe;
    ref_load_biased(l, layer, "ffn_gate_inp", &m->gate_inp);
    ref_load_biased(l, layer, "ffn_gate_exps", m->gate);
    ref_load_biased(l, layer, "ffn_up_exps", m->up);
    ref_load_biased(l, layer, "ffn_down_exps", m->down);
}

/* n_ff 0: the keys say that there is none. */
void ref_load_shared_expert(struct ref_loader *l, int layer, size_t n_ff)
{
    const size_t n_embd = l->m->shape.n_embd;
    struct ref_tensor t;
    if (l->failed) return;
    if (n_ff > 0)
        l->m->layers[layer].moe.shared =
            (struct ref_ffn){.act = REF_ACT_SILU,
                             .gate = ref_load_matrix(l, layer, "ffn_gate_shexp", n_embd, n_ff),
                             .up = ref_load_matrix(l, layer, "ffn_up_shexp", n_embd, n_ff),
                             .down = ref_load_matrix(l, layer, "ffn_down_shexp", n_ff, n_embd)};
    else if (ref_load_there(l, layer, "ffn_up_shexp", &t))
        ref_load_fail(l, "tensor blk.%d.ffn_up_shexp.weight: no key gives the shared expert a size",
                      layer);
}

void ref_load_mixtral(struct ref_loader *l, int layer)
{
    if (!ref_load_has_experts(l)) {
        ref_load_gated(l, layer, REF_ACT_SILU);
        return;
    }
    const struct ref_router router = ref_load_router(l, REF_GATING_SOFTMAX, true);
    ref_load_experts(l, layer, &router, REF_ACT_SILU, ref_load_count(l, "feed_forward_length"),
                     false);
}
