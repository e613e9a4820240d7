/* Architecture qwen2moe: qwen2 with experts (softmax over all, weights as they are) and a shared
 * expert behind a gate. */
#include "reference/model_load.h"

static void qwen2moe_load(struct ref_loader *l)
{
    const struct ref_shape *s = &l->m->shape;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    if (l->m->output.data == l->m->embd.data) ref_load_missing(l, REF_OF_MODEL, "output", "weight");
    const struct ref_router router = ref_load_router(l, REF_GATING_SOFTMAX, false);
    const size_t n_ff = ref_load_expert_length(l);
    const size_t n_shared = ref_load_count_or(l, "expert_shared_feed_forward_length", s->n_ff);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_QKV);
        ref_load_experts(l, i, &router, REF_ACT_SILU, n_ff, false);
        ref_load_shared_expert(l, i, n_shared);
        l->m->layers[i].moe.shared_gate = ref_load_matrix(l, i, "ffn_gate_inp_shexp", s->n_embd, 1);
    }
}

const struct ref_arch ref_arch_qwen2moe = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = qwen2moe_load,
    .attention = ref_self_attention,
};
