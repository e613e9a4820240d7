/* Architecture qwen3: RMSNorm, NEOX RoPE after a norm of every head of Q and K, SwiGLU, pre-norm
 * layers. */
#include "reference/model_load.h"

static void qwen3_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_qk_norms(l, i);
        ref_load_gated(l, i, REF_ACT_SILU);
    }
}

const struct ref_arch ref_arch_qwen3 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = qwen3_load,
    .attention = ref_self_attention,
};
