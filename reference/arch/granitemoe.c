/* Architecture granitemoe: granite with experts (softmax over all, weights normalised), maybe with
 * a shared one. */
#include "reference/model_load.h"

static void granitemoe_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_LLAMA);
    ref_load_granite_scales(l);
    ref_load_embedding(l);
    const struct ref_router router = ref_load_router(l, REF_GATING_SOFTMAX, true);
    const size_t n_ff = ref_load_count(l, "feed_forward_length");
    const size_t n_shared = ref_load_count_or_none(l, "expert_shared_feed_forward_length");
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_experts(l, i, &router, REF_ACT_SILU, n_ff, false);
        ref_load_shared_expert(l, i, n_shared);
    }
}

const struct ref_arch ref_arch_granitemoe = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NORM,
    .load = granitemoe_load,
    .attention = ref_self_attention,
};
