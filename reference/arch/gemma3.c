/* Architecture gemma3: gemma2 with norms of the heads of Q and K, without caps on scores, and with
 * five windowed layers in six, whose RoPE is not scaled. */
#include "reference/model_load.h"

#include <math.h>

static void gemma3_load(struct ref_loader *l)
{
    struct ref_model *m = l->m;
    const struct ref_shape *s = &m->shape;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    ref_load_plain_windowed_rope(l, ref_load_number_or(l, "rope.freq_base_swa", 10000));
    ref_load_windows(l, ref_load_window_or(l, 0), 6);
    ref_load_embedding(l);
    m->embd_scale = (double)sqrtf((float)s->n_embd);
    m->logit_cap = ref_load_number_or(l, "final_logit_softcapping", 0);
    if (s->n_layers == 62) m->kq_scale = 1 / sqrt((double)s->n_embd / s->n_heads); /* 27B */
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_qk_norms(l, i);
        ref_load_post_norms(l, i);
        ref_load_gated(l, i, REF_ACT_GELU);
    }
}

const struct ref_arch ref_arch_gemma3 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = gemma3_load,
    .attention = ref_self_attention,
};
