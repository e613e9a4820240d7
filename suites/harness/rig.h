/* A rig around one operation on one subject: inputs between poisoned margins, outputs that start
 * as NaN patterns between fences, everything checked and released at the end. The first failure
 * stops all later steps, so a test reads straight through. */
#ifndef RIG_H
#define RIG_H

#include "harness/harness.h"
#include "subject/subject.h"

enum { RIG_MAX = 24 };

struct rig {
    struct test *t;
    const struct subject *subject;
    struct backend *b;
    const struct backend_ops *ops;
    struct err e;
    bool ok;
    struct rig_buffer {
        struct dbuf *buf;
        const void *input; /* what it must still hold at the end; NULL for outputs */
        const void *host;  /* of weights: what was imported */
        size_t bytes;
    } buffers[RIG_MAX];
    size_t n;
    uint64_t dispatches; /* of the backend before the test */
};

/* Opens the case's subject; absent devices skip the case. False: nothing more to do. */
bool rig_open(struct rig *r, struct test *t, const struct test_case *c);

/* Device memory holding data, with poison before and after. data must live until rig_close. */
struct view rig_input(struct rig *r, const void *data, size_t bytes);
/* The same for weights, by the backend's import: rows before and after them are poison. */
struct weight rig_weight(struct rig *r, enum tensor_type type, const void *data, size_t n_out,
                         size_t n_in);
/* Memory for n f32 (or i32) values, all poisoned. */
struct view rig_output(struct rig *r, size_t n);
/* A buffer that is input and output: starts as data, is not checked for change. */
struct view rig_inout(struct rig *r, const void *data, size_t bytes);

/* Records the outcome of a call of the op table; ST_UNSUPPORTED and NULL slots skip the case:
 * rig_did(&r, r.ops->add != NULL && ..., status). */
bool rig_did(struct rig *r, enum status st);
/* Skips when the slot is missing. */
bool rig_has(struct rig *r, bool slot, const char *op);

/* Values of an output, test memory; checks the fences. NULL on failure. */
float *rig_get(struct rig *r, struct view v, size_t n);
void *rig_get_bytes(struct rig *r, struct view v, size_t bytes);

/* Checks that inputs are unchanged and that something ran, releases all. */
void rig_close(struct rig *r);

#endif
