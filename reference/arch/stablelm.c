/* Architecture stablelm: LayerNorm, NEOX RoPE on a part of each head, maybe norms of the heads of
 * Q and K, SwiGLU; pre-norm layers, or parallel ones with one norm where there is no ffn_norm. */
#include "reference/model_load.h"

static void stablelm_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    const uint32_t n_embd = l->m->shape.n_embd;
    ref_load_norm_biased(l, REF_OF_MODEL, "output_norm", &l->m->output_norm);
    for (int i = 0; ref_load_layer(l, i); i++) {
        struct ref_layer *layer = &l->m->layers[i];
        layer->attn_norm = ref_load_norm(l, i, "attn_norm", n_embd, 1);
        layer->ffn_norm = ref_load_norm_maybe(l, i, "ffn_norm", n_embd, 1);
        ref_load_pre_norms_biased(l, i);
        ref_load_attention(l, i, REF_BIAS_MAYBE);
        ref_load_head_norms(l, i);
        ref_load_gated(l, i, REF_ACT_SILU);
        if (i == 0) l->m->parallel = !layer->ffn_norm.w;
        if (l->m->parallel != !layer->ffn_norm.w)
            ref_load_refuse(l, "ffn_norm is there in some layers only: layer %d differs", i);
    }
}

const struct ref_arch ref_arch_stablelm = {
    .norm = REF_NORM_LAYER,
    .pairing = REF_ROPE_NEOX,
    .load = stablelm_load,
    .attention = ref_self_attention,
};
