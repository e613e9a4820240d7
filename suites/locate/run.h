/* What the files of localisation share among themselves. */
#ifndef LOCATE_RUN_H
#define LOCATE_RUN_H

#include "locate/locate.h"

/* One run of one variant. */
struct job {
    struct engine_model *model;
    const struct subject *subject;
    const struct variant *variant;
    const struct locate_options *options;
};

/* The probe: keeps what the subject computes, and puts the truth in its place if there is one. */
struct tap {
    const struct recording *truth;
    struct recording *got;
    bool unfused;
    size_t row; /* of the sequence, at which the batch begins */
    float *given;
    size_t n_given;
    struct backend *backend; /* asked for the kernel's name; NULL = unknown */
};
bool locate_tap_want(void *ctx, enum site site, uint32_t layer);
void locate_tap_take(void *ctx, enum site site, uint32_t layer, const float *values, size_t rows,
                     size_t cols);
const float *locate_tap_give(void *ctx, enum site site, uint32_t layer, size_t rows, size_t cols);

/* The reference's values at every site, with bounds. */
enum status locate_reference(struct recording *out, const struct ref_model *m,
                             const struct locate_options *o, enum tensor_type kv, struct err *e);

/* What a subject computes on its own at every site; the subject "reference" gives its values
 * rounded to f32. */
enum status locate_capture(struct recording *out, struct gguf *g, const char *subject,
                           const struct variant *v, const struct locate_options *o, struct err *e);
/* The values of a recording of the reference, rounded to f32, as if a subject had given them. */
enum status locate_record_rounded(struct recording *out, const struct recording *truth,
                                  struct err *e);

/* Sets located and first of a variant. */
void locate_first(struct variant_result *v);

/* Notes which sites of the pass are without a finding, for the verdict. */
void locate_count(struct variant_result *v, const struct recording *truth);
/* "; 3 sites of the pass are not in it (the first: layer 2, activation)", or "". Returns out. */
const char *locate_missing(const struct locate *l, char *out, size_t cap);

#endif
