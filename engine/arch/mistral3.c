/* mistral3: llama with YaRN by keys of its own, and queries that grow with the position. */
#include "engine/arch/arch.h"

#include <math.h>

static enum status load_yarn(struct engine_model *m, struct err *e)
{
    struct rope_params *r = &m->h.rope;
    double multiplier;
    TRY(model_key_f64_or(m, "rope.scaling.yarn_log_multiplier", 0.0, &multiplier, e));
    if (r->ext_factor == 0.0) return ST_OK;
    TRY(model_key_f64_or(m, "rope.scaling.yarn_beta_fast", r->beta_fast, &r->beta_fast, e));
    TRY(model_key_f64_or(m, "rope.scaling.yarn_beta_slow", r->beta_slow, &r->beta_slow, e));
    if (!(r->beta_fast > 0.0) || !(r->beta_slow > 0.0))
        return fail(e, ST_FORMAT, "mistral3.rope.scaling: yarn_beta_fast %g, yarn_beta_slow %g",
                    r->beta_fast, r->beta_slow);
    if (multiplier != 0.0) r->magnitude /= 1.0 + 0.1 * multiplier * log(1.0 / r->freq_scale);
    return ST_OK;
}

enum status load_mistral3(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NORM, ROPE_TABLES_LLAMA, e));
    TRY(load_yarn(m, e));
    TRY(model_key_f64_or(m, "attention.temperature_scale", 0.0, &m->h.temperature, e));
    TRY(load_ends(m, e));
    return load_layers_mixtral(m, e);
}
