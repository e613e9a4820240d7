/* Architecture gemma2: gemma with sandwich layers, soft caps on scores and logits, and windows in
 * every other layer. */
#include "reference/model_load.h"

#include <math.h>

static void gemma2_load(struct ref_loader *l)
{
    struct ref_model *m = l->m;
    const struct ref_shape *s = &m->shape;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    m->rope_windowed.freq_base = ref_load_number_or(l, "rope.freq_base_swa", m->rope.freq_base);
    ref_load_windows(l, ref_load_window_or(l, 4096), 2);
    ref_load_embedding(l);
    m->embd_scale = (double)sqrtf((float)s->n_embd);
    m->attn_cap = ref_load_number_or(l, "attn_logit_softcapping", 50);
    m->logit_cap = ref_load_number_or(l, "final_logit_softcapping", 30);
    if (s->n_layers == 46) m->kq_scale = 1 / sqrt((double)s->n_embd / s->n_heads); /* 27B */
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_post_norms(l, i);
        ref_load_gated(l, i, REF_ACT_GELU);
    }
}

const struct ref_arch ref_arch_gemma2 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = gemma2_load,
    .attention = ref_self_attention,
};
