/* Architecture olmo2: post-norm layers, Q and K normalised as whole rows, NEOX RoPE, SwiGLU. With a
 * window (olmo3): three windowed layers in four, whose RoPE is not scaled. */
#include "reference/model_load.h"

static void olmo2_load(struct ref_loader *l)
{
    const struct ref_shape *s = &l->m->shape;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_plain_windowed_rope(l, l->m->rope.freq_base);
    ref_load_windows(l, ref_load_window_or(l, 0), 4);
    ref_load_embedding(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        struct ref_layer *layer = &l->m->layers[i];
        ref_load_attention(l, i, REF_BIAS_MAYBE);
        layer->q_norm = ref_load_norm(l, i, "attn_q_norm", (size_t)s->n_heads * s->head_dim, 1);
        layer->k_norm = ref_load_norm(l, i, "attn_k_norm", (size_t)s->n_kv_heads * s->head_dim, 1);
        ref_load_post_norms(l, i);
        ref_load_gated(l, i, REF_ACT_SILU);
    }
}

const struct ref_arch ref_arch_olmo2 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = olmo2_load,
    .attention = ref_self_attention,
};
