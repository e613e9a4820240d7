/* What changed between two reports. */
#ifndef DIFF_H
#define DIFF_H

#include "reports/buffer.h"

/* The kinds of change: DIFF(name, alarm, what). A change whose alarm is true makes the comparison
 * fail; what completes the sentence "N cases ...". */
#define DIFF_KINDS(DIFF)                                                                           \
    DIFF(regressed, true, "passed before and fail now, or are new and fail")                       \
    DIFF(missing, true, "ran before and do not run now")                                           \
    DIFF(doubled, true, "use more than twice of their bound than before")                          \
    DIFF(slower, true, "are slower, beyond the spread of both measurements")                       \
    DIFF(failing, false, "failed before and still fail")                                           \
    DIFF(fixed, false, "failed before and pass now")                                               \
    DIFF(added, false, "are new and pass")                                                         \
    DIFF(faster, false, "are faster, beyond the spread of both measurements")

enum diff_kind {
#define DIFF(name, alarm, what) DIFF_##name,
    DIFF_KINDS(DIFF)
#undef DIFF
        DIFF_END
};

struct diff_kind_info {
    const char *name, *what;
    bool alarm;
};
extern const struct diff_kind_info diff_kinds[DIFF_END];

/* Compares two reports: {"regressed": [{name, old, new, ...}], ..., "note": text or null}, with one
 * list per kind of change. The caller owns it. */
json_t *diff_make(const json_t *before, const json_t *after);

#endif
