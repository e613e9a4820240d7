/* Why is a site wrong? Classic faults, computed and compared with what the subject gave: the one
 * that explains the error best is named, if it explains it. */
#ifndef HYPOTHESES_H
#define HYPOTHESES_H

#include "trace/record.h"
#include "trace/site.h"

struct suspect {
    const struct site_model *m;
    enum site site;
    uint32_t layer;
    const int32_t *tokens;
    size_t n_tokens;
    const struct recording *want;  /* values of the inputs, and of the site itself */
    const struct record_site *got; /* what the subject made of them */
    struct precision precision;    /* that is declared */
};

/* Writes the sentence, or "" if nothing explains the error; unexplained: the share of the error's
 * energy that the named cause leaves. */
void cause_explain(const struct suspect *s, char *out, size_t cap, double *unexplained);

#endif
