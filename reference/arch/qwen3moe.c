/* Architecture qwen3moe: qwen3 with experts: softmax over all, weights normalised. */
#include "reference/model_load.h"

static void qwen3moe_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    const struct ref_router router = ref_load_router(l, REF_GATING_SOFTMAX, true);
    const size_t n_ff = ref_load_expert_length(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_qk_norms(l, i);
        ref_load_experts(l, i, &router, REF_ACT_SILU, n_ff, false);
    }
}

const struct ref_arch ref_arch_qwen3moe = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = qwen3moe_load,
    .attention = ref_self_attention,
};
