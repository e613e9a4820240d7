/* Architecture phi3: RMSNorm, NEOX RoPE with tables for long and short contexts, SwiGLU whose gate
 * and up are one matrix, pre-norm layers. The key sliding_window has no effect. */
#include "reference/model_load.h"

static void phi3_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_PHI3);
    ref_load_embedding(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_fused_gated(l, i, REF_ACT_SILU);
    }
}

const struct ref_arch ref_arch_phi3 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = phi3_load,
    .attention = ref_self_attention,
};
