/* Architecture mistral3: as llama, with YaRN whose magnitude and bounds the file may set, and
 * queries that grow with the position. */
#include "reference/model_load.h"

#include <math.h>

/* With a log multiplier k the magnitude is that of YaRN over 1 + 0.1 k ln(factor). */
static void yarn_load(struct ref_loader *l, struct ref_rope *r)
{
    const double multiplier = ref_load_number_or(l, "rope.scaling.yarn_log_multiplier", 0);
    r->beta_fast = ref_load_number_or(l, "rope.scaling.yarn_beta_fast", r->beta_fast);
    r->beta_slow = ref_load_number_or(l, "rope.scaling.yarn_beta_slow", r->beta_slow);
    if (!(r->beta_fast > 0 && r->beta_slow > 0))
        ref_load_fail(l, "YaRN from %g to %g turns", r->beta_slow, r->beta_fast);
    if (r->ext_factor != 0) r->magnitude /= 1 - 0.1 * multiplier * log(r->freq_scale);
}

static void mistral3_load(struct ref_loader *l)
{
    struct ref_model *m = l->m;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_LLAMA);
    yarn_load(l, &m->rope);
    m->rope_windowed = m->rope;
    m->temperature = ref_load_number_or(l, "attention.temperature_scale", 0);
    ref_load_embedding(l);
    for (int i = 0; ref_load_layer(l, i); i++) {
        ref_load_pre_norm(l, i, REF_BIAS_MAYBE);
        ref_load_mixtral(l, i);
    }
}

const struct ref_arch ref_arch_mistral3 = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NORM,
    .load = mistral3_load,
    .attention = ref_self_attention,
};
