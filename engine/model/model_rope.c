/* What the metadata says about positions: RoPE, its scaling, and windows. */
#include "engine/model/model.h"

#include <math.h>
#include <string.h>

enum rope_scaling { SCALING_NONE, SCALING_LINEAR, SCALING_YARN, SCALING_LONGROPE };

/* "linear" when the key is missing: a factor alone means linear scaling. */
static enum status load_scaling_type(struct engine_model *m, enum rope_scaling *out, struct err *e)
{
    static const char *const names[] = {"none", "linear", "yarn", "longrope"};
    char name[MODEL_KEY_CAP];
    struct gguf_str s;
    *out = SCALING_LINEAR;
    if (!model_has_key(m, "rope.scaling.type")) return ST_OK;
    model_key_name(m, "rope.scaling.type", name);
    TRY(gguf_get_str(m->gguf, name, &s, e));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (s.len == strlen(names[i]) && memcmp(s.data, names[i], s.len) == 0) {
            *out = (enum rope_scaling)i;
            return ST_OK;
        }
    }
    return fail(e, ST_UNSUPPORTED, "key %s is \"%.*s\", not none, linear, yarn or longrope", name,
                (int)(s.len < 40 ? s.len : 40), s.data);
}

static enum status load_freq_scale(struct engine_model *m, enum rope_scaling type, struct err *e)
{
    double factor = 0.0;
    m->h.rope.freq_scale = 1.0;
    if (type == SCALING_NONE) return ST_OK;
    TRY(model_key_f64_or(
        m, model_has_key(m, "rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear",
        0.0, &factor, e));
    if (factor < 0.0)
        return fail(e, ST_FORMAT, "%s.rope.scaling.factor is %g", m->arch->name, factor);
    if (factor != 0.0) m->h.rope.freq_scale = 1.0 / factor;
    return ST_OK;
}

/* Divisors of the frequencies, n_dims/2 values: rope_freqs, else those of longrope. */
static enum status load_factors(struct engine_model *m, enum rope_tables tables,
                                enum rope_scaling type, struct err *e)
{
    struct tensor_want w = {.layer = NO_LAYER,
                            .role = "rope_freqs",
                            .n_in = m->h.rope.n_dims / 2,
                            .n_out = 1,
                            .use = TENSOR_HOST,
                            .optional = true};
    if (tables == ROPE_TABLES_LLAMA) TRY(model_load_tensor(m, &w, &m->rope_freqs, e));
    if (tables == ROPE_TABLES_NONE || (tables == ROPE_TABLES_LLAMA && type != SCALING_LONGROPE))
        return ST_OK;
    w.optional = tables == ROPE_TABLES_PHI3 && type != SCALING_LONGROPE &&
                 !model_has_tensor(m, NO_LAYER, "rope_factors_long") &&
                 !model_has_tensor(m, NO_LAYER, "rope_factors_short");
    w.role = "rope_factors_long";
    TRY(model_load_tensor(m, &w, &m->rope_long, e));
    w.role = "rope_factors_short";
    return model_load_tensor(m, &w, &m->rope_short, e);
}

static enum status load_scaling(struct engine_model *m, enum rope_scaling type, struct err *e)
{
    struct rope_params *r = &m->h.rope;
    TRY(load_freq_scale(m, type, e));
    TRY(model_key_f64_or(m, "rope.scaling.attn_factor", 1.0, &r->magnitude, e));
    TRY(model_key_u32_or(m, "rope.scaling.original_context_length", m->h.n_ctx, &r->n_ctx_orig, e));
    if (r->n_ctx_orig == 0)
        return fail(e, ST_FORMAT, "%s.rope.scaling.original_context_length is 0", m->arch->name);
    if (type != SCALING_YARN) return ST_OK;
    if (r->freq_base == 1.0)
        return fail(e, ST_FORMAT, "%s.rope.freq_base is 1, with YaRN", m->arch->name);
    r->ext_factor = 1.0;
    r->beta_fast = 32.0;
    r->beta_slow = 1.0;
    r->magnitude *= 1.0 + 0.1 * log(1.0 / r->freq_scale);
    return ST_OK;
}

enum status model_load_rope(struct engine_model *m, enum rope_pairing pairing,
                            enum rope_tables tables, struct err *e)
{
    struct rope_params *r = &m->h.rope;
    enum rope_scaling type;
    r->pairing = pairing;
    TRY(model_key_u32_or(m, "rope.dimension_count", m->h.head_dim, &r->n_dims, e));
    if (r->n_dims == 0 || r->n_dims % 2 != 0 || r->n_dims > m->h.head_dim)
        return fail(e, ST_FORMAT,
                    "%s.rope.dimension_count is %u: not an even number up to the "
                    "head's %u dimensions",
                    m->arch->name, r->n_dims, m->h.head_dim);
    TRY(model_key_f64_or(m, "rope.freq_base", 10000.0, &r->freq_base, e));
    if (!(r->freq_base > 0.0))
        return fail(e, ST_FORMAT, "%s.rope.freq_base is %g", m->arch->name, r->freq_base);
    TRY(load_scaling_type(m, &type, e));
    TRY(load_scaling(m, type, e));
    m->h.rope_windowed = *r;
    return load_factors(m, tables, type, e);
}

enum status model_rope_whole(struct engine_model *m, struct err *e)
{
    if (m->h.rope.n_dims == m->h.head_dim) return ST_OK;
    return fail(e, ST_FORMAT, "%s.rope.dimension_count is %u, but heads have %u dimensions",
                m->arch->name, m->h.rope.n_dims, m->h.head_dim);
}

enum status model_plain_windowed_rope(struct engine_model *m, double freq_base, struct err *e)
{
    struct rope_params *r = &m->h.rope_windowed;
    if (!(freq_base > 0.0))
        return fail(e, ST_FORMAT, "%s: windowed layers have a RoPE base of %g", m->arch->name,
                    freq_base);
    r->freq_base = freq_base;
    r->freq_scale = r->magnitude = 1.0;
    r->ext_factor = 0.0;
    return ST_OK;
}

enum status model_windowed_base(struct engine_model *m, struct err *e)
{
    double *base = &m->h.rope_windowed.freq_base;
    TRY(model_key_f64_or(m, "rope.freq_base_swa", m->h.rope.freq_base, base, e));
    if (*base > 0.0) return ST_OK;
    return fail(e, ST_FORMAT, "%s.rope.freq_base_swa is %g", m->arch->name, *base);
}

/* ---- windows ------------------------------------------------------------------------------ */

/* A value per layer: true, or not 0, is windowed. */
static enum status load_pattern(struct engine_model *m, struct gguf_kv *kv, const char *name,
                                struct err *e)
{
    if (kv->count < m->h.n_layers)
        return fail(e, ST_FORMAT, "key %s has %llu elements for %u layers", name,
                    (unsigned long long)kv->count, m->h.n_layers);
    for (uint32_t i = 0; i < m->h.n_layers; i++) {
        int64_t v;
        if (!gguf_value_i64(kv, i, &v))
            return fail(e, ST_FORMAT, "key %s: element %u is no integer or bool", name, i);
        m->layers[i].windowed = v != 0;
    }
    return ST_OK;
}

enum status model_load_windows(struct engine_model *m, uint32_t absent, uint32_t period,
                               struct err *e)
{
    char name[MODEL_KEY_CAP];
    model_key_name(m, "attention.sliding_window_pattern", name);
    struct gguf_kv *kv = gguf_find(m->gguf, name);
    TRY(model_key_u32_or(m, "attention.sliding_window", absent, &m->h.window, e));
    if (m->h.window > INT32_MAX)
        return fail(e, ST_FORMAT, "%s.attention.sliding_window is %u", m->arch->name, m->h.window);
    if (m->h.window == 0) return ST_OK;
    if (kv && kv->type == GGUF_ARRAY) return load_pattern(m, kv, name, e);
    TRY(model_key_u32_or(m, "attention.sliding_window_pattern", period, &period, e));
    if (period == 0) return fail(e, ST_FORMAT, "key %s is 0", name);
    for (uint32_t i = 0; i < m->h.n_layers; i++) m->layers[i].windowed = i % period < period - 1;
    return ST_OK;
}
