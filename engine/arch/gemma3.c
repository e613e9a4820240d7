/* gemma3: gemma2 with norms of every head of queries and keys in place of the soft cap on scores;
 * five layers of six are windowed and rotate by a base of their own, not scaled. */
#include "engine/arch/arch.h"

static enum status load_traits(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    double logit_cap, base;
    TRY(model_key_f64_or(m, "final_logit_softcapping", 0.0, &logit_cap, e));
    if (logit_cap < 0.0)
        return fail(e, ST_FORMAT, "gemma3.final_logit_softcapping is %g", logit_cap);
    h->logit_cap = (float)logit_cap;
    part_gemma_scales(m, 62);
    TRY(model_key_f64_or(m, "rope.freq_base_swa", 10000.0, &base, e));
    TRY(model_plain_windowed_rope(m, base, e));
    return model_load_windows(m, 0, 6, e);
}

enum status load_gemma3(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_traits(m, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_qk_norms(m, i, e));
        TRY(load_post_norms(m, i, e));
        TRY(load_ffn_gated(m, i, ACT_GELU, e));
    }
    return ST_OK;
}
