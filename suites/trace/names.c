/* See locate_names.h. */
#include "trace/names.h"

#include <stdio.h>
#include <string.h>

enum when {
    ANY,
    ONE_NORM,
    TWO_NORMS,
    POST_NORM,
    NO_POST,
    UNCAPPED,
    SPLIT,
    BIASED,
    UNBIASED,
    GATELESS,
    EXPERTS,
    ALONE
};

static const struct row {
    const char *name;
    enum site site;
    enum when when;
} rows[] = {
#define NAME(name, site, when) {name, SITE_##site, when},
#include "trace/names.def"
#undef NAME
};

static bool layer_has(const struct site_model *m, const char *tensor, uint32_t layer)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%u.%s", layer, tensor);
    return gguf_find_tensor(m->g, name) != NULL;
}

static bool holds(const struct site_model *m, uint32_t layer, enum when when)
{
    switch (when) {
    case ANY:
        return true;
    case ONE_NORM:
        return !m || !layer_has(m, "attn_norm_2.weight", layer);
    case TWO_NORMS:
        return m && layer_has(m, "attn_norm_2.weight", layer);
    case POST_NORM:
        return !m || ref_site_there(m->ref, SITE_ATTN_POST, layer);
    case NO_POST:
        return m && !ref_site_there(m->ref, SITE_ATTN_POST, layer);
    case UNCAPPED:
        return !m || m->hyper.attn_cap == 0;
    case SPLIT:
        return !m || !ref_site_there(m->ref, SITE_GATE, layer) ||
               layer_has(m, "ffn_gate.weight", layer);
    case BIASED:
        return m && layer_has(m, "ffn_gate_inp.bias", layer);
    case UNBIASED:
        return !m || !layer_has(m, "ffn_gate_inp.bias", layer);
    case GATELESS:
        return !m || !ref_site_there(m->ref, SITE_GATE, layer);
    case EXPERTS:
        return !m || ref_site_there(m->ref, SITE_ROUTER, layer);
    case ALONE:
        return !m || !m->hyper.parallel || strcmp(ref_model_arch(m->ref), "gptneox") != 0;
    }
    return false;
}

/* Q and K are called the same before and after RoPE. */
static enum site turned(const struct site_model *m, uint32_t layer, enum site site)
{
    const enum site after = site == SITE_Q ? SITE_Q_ROPE : site == SITE_K ? SITE_K_ROPE : site;
    return m && !ref_site_there(m->ref, after, layer) ? site : after;
}

enum site llama_site(const struct site_model *m, uint32_t layer, const char *name, size_t len,
                     bool rotated, size_t *rank)
{
    for (size_t i = sizeof rows / sizeof *rows; i-- > 0;) {
        const struct row *r = &rows[i];
        if (strlen(r->name) != len || memcmp(r->name, name, len) != 0) continue;
        if (m && site_table[r->site].scope == SITE_LAYER && layer >= m->shape.n_layers) continue;
        if (!holds(m, layer, r->when)) continue;
        *rank = i;
        return rotated ? turned(m, layer, r->site) : r->site;
    }
    return SITE_COUNT;
}
