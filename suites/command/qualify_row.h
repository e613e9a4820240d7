/* The main job, one model in one tensor type at a time: what the reference says of it, what the
 * quantization costs, and whether each subject conforms. */
#ifndef QUALIFY_H
#define QUALIFY_H

#include "engine/gguf/gguf.h"
#include "judge/logits.h"
#include "models/prompts.h"
#include "reports/report.h"
#include "subject/subject.h"

enum { QUALIFY_TOP = 5, QUALIFY_SUBJECTS = 12, QUALIFY_TEXT = 64 };

/* Verdict on one subject. */
struct qualify_subject {
    char name[SUBJECT_NAME];
    struct judged judged; /* meaningless when not run */
    enum verdict verdict;
    enum case_status status;
    char reason[256]; /* why not run, or what went wrong */
};

/* One row of the table. Owned: qualify_row_free. */
struct qualify_row {
    char type[32];
    double bits_per_weight;
    uint64_t bytes;
    struct report_top top[QUALIFY_TOP]; /* of the first prompt's last position, by the reference */
    char top_text[QUALIFY_TOP][QUALIFY_TEXT];
    size_t n_top;
    double margin;          /* between the first two */
    double kl_mean, kl_max; /* against the master over all positions; NAN without one */
    size_t same_top, prompts;
    struct qualify_subject subjects[QUALIFY_SUBJECTS];
    size_t n_subjects;
    struct report_layer *layers; /* residual stream after each layer, by the reference */
    size_t n_layers;
};

struct qualify {
    const struct prompt_set *prompts;
    const char *subjects; /* comma list; NULL = all built in */
    const double *master; /* the master's logits over all prompts, or NULL */
};

/* Opens the subjects and names them in the row, with a reason for each that cannot run here. False
 * if none can. */
bool qualify_can_run(struct qualify_row *row, const struct qualify *q);

/* Evaluates an opened model. ST_OK also when a subject fails or cannot run: that is in the row. */
enum status qualify_evaluate(struct qualify_row *row, const struct qualify *q, const char *type,
                             struct gguf *g, struct err *e);
void qualify_row_free(struct qualify_row *row);

/* The reference's logits over all prompts, malloc'd. */
enum status qualify_master(double **out, const struct prompt_set *p, const struct gguf *g,
                           struct err *e);

/* Adds the row to the report's last model. again: the argument of `assay qualify` that means it. */
void qualify_report(struct report *r, const struct qualify_row *row, const char *name,
                    const char *again);

#endif
