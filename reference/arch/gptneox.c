/* Architecture gptneox: LayerNorm, biases everywhere, NEOX RoPE on a part of each head, GELU,
 * parallel layers with two norms, or pre-norm layers. */
#include "reference/model_load.h"

static void gptneox_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    l->m->parallel = ref_load_number(l, "use_parallel_residual") != 0;
    ref_load_all_biased(l);
}

const struct ref_arch ref_arch_gptneox = {
    .norm = REF_NORM_LAYER,
    .pairing = REF_ROPE_NEOX,
    .load = gptneox_load,
    .attention = ref_self_attention,
};
