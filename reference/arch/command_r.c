/* Architecture command-r: LayerNorm without bias, RoPE on neighbouring pairs, norms of the heads
 * of Q and K in the larger model, SwiGLU, parallel layers with one norm, logits times a factor. */
#include "reference/model_load.h"

static void command_r_load(struct ref_loader *l)
{
    struct ref_model *m = l->m;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    m->parallel = true;
    m->logit_scale = ref_load_number(l, "logit_scale");
    for (int i = 0; ref_load_layer(l, i); i++) {
        m->layers[i].attn_norm = ref_load_norm(l, i, "attn_norm", m->shape.n_embd, 1);
        ref_load_attention(l, i, REF_BIAS_MAYBE);
        ref_load_head_norms(l, i);
        if (m->shape.n_layers == 64 && !m->layers[i].q_norm.w) /* R+ */
            ref_load_missing(l, i, "attn_q_norm", "weight");
        ref_load_gated(l, i, REF_ACT_SILU);
    }
}

const struct ref_arch ref_arch_command_r = {
    .norm = REF_NORM_LAYER,
    .pairing = REF_ROPE_NORM,
    .load = command_r_load,
    .attention = ref_self_attention,
};
