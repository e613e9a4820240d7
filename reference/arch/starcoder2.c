/* Architecture starcoder2: LayerNorm, biases everywhere, NEOX RoPE, GELU, pre-norm layers. The
 * key sliding_window has no effect. */
#include "reference/model_load.h"

static void starcoder2_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    ref_load_all_biased(l);
}

const struct ref_arch ref_arch_starcoder2 = {
    .norm = REF_NORM_LAYER,
    .pairing = REF_ROPE_NEOX,
    .load = starcoder2_load,
    .attention = ref_self_attention,
};
