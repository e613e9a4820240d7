/* Architecture gemma: RMSNorm (its 1 + w is in the file), NEOX RoPE, GeGLU, pre-norm layers,
 * embedding times sqrt(n_embd), rounded to f32. */
#include "reference/model_load.h"

#include <math.h>

static void gemma_load(struct ref_loader *l)
{
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_embedding(l);
    l->m->embd_scale = (double)sqrtf((float)l->m->shape.n_embd);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_gated(l, i, REF_ACT_GELU);
    }
}

const struct ref_arch ref_arch_gemma = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = gemma_load,
    .attention = ref_self_attention,
};
