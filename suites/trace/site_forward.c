/* A whole pass, site by site, at a declared precision. */
#include "trace/record.h"
#include "trace/site.h"

#include <stdlib.h>
#include <string.h>

struct walk {
    const struct site_model *m;
    const int32_t *tokens;
    size_t n_tokens;
    const struct precision *p;
    bool show_hidden;
    struct recording *out;
};

static enum status step(const struct walk *w, enum site site, uint32_t layer, double *logits,
                        struct err *e)
{
    const size_t cols = ref_site_columns(w->m->ref, site, w->n_tokens);
    struct site_job j = {.m = w->m,
                         .site = site,
                         .layer = layer,
                         .tokens = w->tokens,
                         .n_tokens = w->n_tokens,
                         .rows = w->n_tokens,
                         .precision = *w->p,
                         .show_hidden = w->show_hidden && site == SITE_SCORES};
    const struct ref_site made = ref_site_of(w->m->ref, site, layer);
    for (size_t i = 0; i < made.n_in; i++)
        j.in[i] = record_find(w->out, made.in[i], made.in_layer[i])->value;
    double *y = logits ? logits : alloc_array(w->n_tokens * cols, sizeof *y);
    if (!y) return fail(e, ST_NOMEM, "no memory for %zu x %zu values", w->n_tokens, cols);
    enum status st = ST_OK;
    if (!site_compute(&j, y, NULL))
        st = fail(e, ST_UNSUPPORTED, "site %s of layer %u cannot be computed here",
                  site_table[site].name, layer);
    else
        record_reference(
            w->out,
            &(struct ref_values){
                .site = site, .layer = layer, .value = y, .rows = w->n_tokens, .cols = cols});
    if (!logits) free(y);
    if (st == ST_OK && w->out->err.st != ST_OK)
        st = fail(e, w->out->err.st, "%s", w->out->err.text);
    return st;
}

enum status site_forward(const struct site_model *m, const int32_t *tokens, size_t n_tokens,
                         const struct precision *p, bool show_hidden, struct recording *out,
                         double *logits, struct err *e)
{
    const struct walk w = {m, tokens, n_tokens, p, show_hidden, out};
    if (!m->whole)
        return fail(e, ST_UNSUPPORTED, "experts and latent attention do not run site by site");
    enum status st = record_open(out, m->shape.n_layers, m->shape.n_heads, n_tokens, e);
    if (st == ST_OK) st = step(&w, SITE_EMBD, 0, NULL, e);
    for (uint32_t layer = 0; layer < m->shape.n_layers; layer++)
        for (int s = SITE_EMBD + 1; s < SITE_NORM && st == ST_OK; s++)
            if (ref_site_there(m->ref, (enum site)s, layer))
                st = step(&w, (enum site)s, layer, NULL, e);
    if (st == ST_OK) st = step(&w, SITE_NORM, 0, NULL, e);
    if (st == ST_OK) st = step(&w, SITE_LOGITS, 0, logits, e);
    return st;
}
