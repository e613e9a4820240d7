/* A test case as reports have it: identity, name and result. */
#ifndef CASE_H
#define CASE_H

#include "engine/base/base.h"

enum case_status {
    CASE_PASS,
    CASE_MARGINAL,
    CASE_FAIL,
    CASE_CRASH,
    CASE_TIMEOUT,
    CASE_SKIP,
    CASE_WAIVED,
};
/* "pass", "marginal", ... as in the report. */
const char *case_status_name(enum case_status s);
/* A failure of whatever kind: fail, crash or timeout. */
bool case_is_bad(enum case_status s);

/* What a case leaves behind; goes into the report as it is. */
struct case_result {
    enum case_status status;
    double error, bound, used; /* of the worst element: used = error / bound, maximal */
    double nmse_worst_row;     /* against the reference's energy; NAN = not computed */
    size_t bad, total;         /* elements over the bound */
    size_t first_bad;          /* index; only if bad > 0 */
    char pattern[200];         /* which indices are bad, as a sentence */
    char message[600];         /* why it failed or was skipped; one line */
    char variant[64];          /* kernel variant that ran */
    uint64_t dispatches;       /* operations that ran on the device */
    bool flushes;              /* the device may flush subnormals: its bounds allow for it */
    double seconds;
};

/* The parts of a case's name; NULL = absent. The strings belong to the caller. */
struct case_id {
    const char *suite, *op, *type, *shape, *subject;
};

/* Writes suite.op.type.shape.subject, without the absent parts, and returns out. CASE_NAME bytes
 * are enough for any name, also for one that ends in the path of a plug-in. */
enum { CASE_NAME = 4096 + 512 };
const char *case_name(const struct case_id *c, char *out, size_t cap);

#endif
