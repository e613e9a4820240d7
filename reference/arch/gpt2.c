/* Architecture gpt2: LayerNorm, biases everywhere, a table of positions in place of RoPE, GELU,
 * pre-norm layers. */
#include "reference/model_load.h"

static void gpt2_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_embedding(l);
    l->m->pos_embd =
        ref_load_matrix(l, REF_OF_MODEL, "position_embd", l->m->shape.n_embd, l->m->shape.n_ctx);
    ref_load_all_biased(l);
}

const struct ref_arch ref_arch_gpt2 = {
    .norm = REF_NORM_LAYER,
    .pairing = REF_ROPE_NEOX,
    .load = gpt2_load,
    .attention = ref_self_attention,
};
