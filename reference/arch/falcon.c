/* Architecture falcon: LayerNorm, NEOX RoPE, GELU, parallel layers: with one norm (7B), or with two
 * (40B), of which attn_norm_2 is that of the attention. */
#include "reference/model_load.h"

static void falcon_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_whole_heads(l);
    ref_load_embedding(l);
    const uint32_t n_embd = l->m->shape.n_embd;
    l->m->parallel = true;
    ref_load_norm_biased(l, REF_OF_MODEL, "output_norm", &l->m->output_norm);
    for (int i = 0; ref_load_layer(l, i); i++) {
        struct ref_layer *layer = &l->m->layers[i];
        layer->attn_norm = ref_load_norm(l, i, "attn_norm", n_embd, 1);
        ref_load_norm_biased(l, i, "attn_norm", &layer->attn_norm);
        const struct ref_norm second = ref_load_norm_maybe(l, i, "attn_norm_2", n_embd, 1);
        ref_load_norm_biased(l, i, "attn_norm_2", &second);
        if (second.w) {
            layer->ffn_norm = layer->attn_norm;
            layer->attn_norm = second;
        }
        ref_load_attention(l, i, REF_BIAS_MAYBE);
        ref_load_plain(l, i, REF_BIAS_MAYBE);
    }
}

const struct ref_arch ref_arch_falcon = {
    .norm = REF_NORM_LAYER,
    .pairing = REF_ROPE_NEOX,
    .load = falcon_load,
    .attention = ref_self_attention,
};
