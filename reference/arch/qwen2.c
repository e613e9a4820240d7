/* Architecture qwen2: RMSNorm, NEOX RoPE, biases on Q, K and V, SwiGLU, pre-norm layers. */
#include "reference/model_load.h"

static void qwen2_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_QKV);
        if (l->m->layers[i].o.bias)
            ref_load_refuse(l, "tensor blk.%d.attn_output.bias: qwen2 has none", i);
        ref_load_gated(l, i, REF_ACT_SILU);
    }
}

const struct ref_arch ref_arch_qwen2 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = qwen2_load,
    .attention = ref_self_attention,
};
