/* Judging what came from outside: values of an engine that cannot be fed, against the reference on
 * a model. The inputs that the engine itself had tell its operations apart. */
#ifndef LOCATE_COMPARE_H
#define LOCATE_COMPARE_H

#include "trace/callback_log.h"
#include "locate/locate.h"
#include "trace/trace_file.h"

struct compare_options {
    const int32_t *tokens;
    size_t n_tokens;
    struct precision precision; /* that the other side declares */
    void (*progress)(const char *what, size_t done, size_t total);
    bool (*cancel)(void);
};

/* The reference's values with what a conforming engine of the declared precision may differ: the
 * propagated bound, with the roundings of inputs in it (ref_forward's activations), four times the
 * local bounds for other functions and tables, and what sums in f16 move where weights are f16.
 * show_hidden: with scores of tokens to come. */
enum status foreign_truth(struct recording *out, const struct site_model *m,
                          const struct compare_options *o, bool show_hidden, struct err *e);

/* Judges the sites of a recording, from truth (free) and from its own inputs (local). */
enum status foreign_sites(struct locate *l, struct variant_result *v, const struct recording *truth,
                          const struct recording *got, const struct compare_options *o,
                          struct err *e);

/* A recording of another engine: from truth (free) and from its own inputs (local). */
enum status foreign_recording(struct locate *l, const struct recording *truth,
                              const struct recording *got, const struct compare_options *o,
                              struct err *e);

/* Of a recording that failed as exact, from an engine that did not say how it rounds: looks for a
 * precision as which every value would be within its bound, f16 first, notes it in conforms_as, and
 * puts it into the verdict. The arguments are those that foreign_recording had. */
enum status foreign_undeclared(struct locate *l, const struct recording *truth,
                               const struct recording *got, const struct compare_options *o,
                               struct err *e);

/* The values that a log shows. */
enum status foreign_log(struct locate *l, const struct recording *truth, struct callback_log *log,
                        const struct compare_options *o, struct err *e);

/* Two recordings without a model: differences of more than share of a site's rms. */
enum status foreign_pair(struct locate *l, const struct recording *a, const struct recording *b,
                         double share, struct err *e);

/* The one variant of a comparison, by its cache. */
const struct variant *foreign_variant(enum tensor_type kv);

#endif
