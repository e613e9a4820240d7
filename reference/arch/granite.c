/* Architecture granite: llama with factors on the embedding, the scores, the residuals (pre-norm
 * layers with scaled residual) and the logits, maybe without RoPE. */
#include "reference/model_load.h"

static void granite_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_LLAMA);
    ref_load_granite_scales(l);
    ref_load_embedding(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_gated(l, i, REF_ACT_SILU);
    }
}

const struct ref_arch ref_arch_granite = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NORM,
    .load = granite_load,
    .attention = ref_self_attention,
};
