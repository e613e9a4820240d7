/* The text log of llama-eval-callback: for each tensor of the graph its name, operation and shape,
 * the values at its edges to four decimals, and the sum of all. */
#ifndef CALLBACK_LOG_H
#define CALLBACK_LOG_H

#include "engine/base/base.h"
#include "spec/spec.h"

enum { LOG_EDGE = 3 }; /* values shown at either end of a dimension longer than twice that */

struct log_tensor {
    char name[64], op[24], operand[2][80]; /* operands without their shapes */
    uint64_t dims[4];                      /* innermost first */
    size_t line;                           /* of the file, 1-based */
    double *values;                        /* (n) in the order in which they are shown */
    size_t n;
    double sum;
    bool has_sum;
    /* What it stands for; SITE_COUNT: nothing that is compared. */
    enum site site;
    uint32_t layer;
};

struct callback_log {
    struct arena arena;
    struct log_tensor *tensors; /* (n) */
    size_t n, cap;
    enum tensor_type kv; /* of the cache, as shown; TYPE_F32 if it is not */
    bool sums_all;       /* sums are of all values of a tensor; else of those shown */
};

/* True if the bytes look like such a log. */
bool callback_log_is(struct span bytes);
/* Errors name the line. */
enum status callback_log_read(struct callback_log *out, struct span bytes, struct err *e);
void callback_log_free(struct callback_log *l);

/* Says for a model what the tensors stand for; reading does for a plain one. */
struct site_model;
void callback_log_resolve(struct callback_log *l, const struct site_model *m);

/* The sum of the shown values, and how far the printed one may be from it. */
double callback_log_sum(const struct log_tensor *t, double *bound);

/* Index of the k-th shown value of a tensor in each dimension. */
void callback_log_index(const struct log_tensor *t, size_t k, uint64_t at[4]);

#endif
