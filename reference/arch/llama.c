/* Architecture llama: RMSNorm, RoPE on neighbouring pairs, grouped-query attention, SwiGLU or
 * (mixtral) experts, pre-norm layers. */
#include "reference/model_load.h"

static void llama_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_LLAMA);
    ref_load_whole_heads(l);
    ref_load_embedding(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_mixtral(l, i);
    }
}

const struct ref_arch ref_arch_llama = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NORM,
    .load = llama_load,
    .attention = ref_self_attention,
};
