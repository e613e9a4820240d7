/* Architecture phi2: LayerNorm, biases everywhere, NEOX RoPE on a part of each head, GELU,
 * parallel layers with one norm. */
#include "reference/model_load.h"

static void phi2_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    l->m->parallel = true;
    ref_load_norm_biased(l, REF_OF_MODEL, "output_norm", &l->m->output_norm);
    ref_load_biased(l, REF_OF_MODEL, "output", &l->m->output);
    for (int i = 0; ref_load_layer(l, i); i++) {
        struct ref_layer *layer = &l->m->layers[i];
        layer->attn_norm = ref_load_norm(l, i, "attn_norm", l->m->shape.n_embd, 1);
        ref_load_norm_biased(l, i, "attn_norm", &layer->attn_norm);
        ref_load_attention(l, i, REF_BIAS_ALL);
        ref_load_plain(l, i, REF_BIAS_ALL);
    }
}

const struct ref_arch ref_arch_phi2 = {
    .norm = REF_NORM_LAYER,
    .pairing = REF_ROPE_NEOX,
    .load = phi2_load,
    .attention = ref_self_attention,
};
