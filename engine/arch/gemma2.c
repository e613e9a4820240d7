/* gemma2: gemma with norms of results too, soft caps on scores and logits, and windows in every
 * other layer. */
#include "engine/arch/arch.h"

static enum status load_traits(struct engine_model *m, struct err *e)
{
    struct hyper *h = &m->h;
    double attn_cap, logit_cap;
    TRY(model_key_f64_or(m, "attn_logit_softcapping", 50.0, &attn_cap, e));
    TRY(model_key_f64_or(m, "final_logit_softcapping", 30.0, &logit_cap, e));
    if (attn_cap < 0.0 || logit_cap < 0.0)
        return fail(e, ST_FORMAT, "gemma2: attn_logit_softcapping %g, final_logit_softcapping %g",
                    attn_cap, logit_cap);
    h->attn_cap = (float)attn_cap;
    h->logit_cap = (float)logit_cap;
    part_gemma_scales(m, 46);
    TRY(model_windowed_base(m, e));
    return model_load_windows(m, 4096, 2, e);
}

enum status load_gemma2(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_traits(m, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_post_norms(m, i, e));
        TRY(load_ffn_gated(m, i, ACT_GELU, e));
    }
    return ST_OK;
}
