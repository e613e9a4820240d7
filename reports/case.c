/* Names of cases and of their states; see case.h. */
#include "reports/case.h"

#include <stdio.h>

const char *case_status_name(enum case_status s)
{
    static const char *const names[] = {"pass",    "marginal", "fail",  "crash",
                                        "timeout", "skip",     "waived"};
    return names[s];
}

bool case_is_bad(enum case_status s)
{
    return s == CASE_FAIL || s == CASE_CRASH || s == CASE_TIMEOUT;
}

const char *case_name(const struct case_id *c, char *out, size_t cap)
{
    const char *parts[] = {c->suite, c->op, c->type, c->shape, c->subject};
    size_t at = 0;
    *out = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i]) continue;
        int n = snprintf(out + at, cap - at, "%s%s", at ? "." : "", parts[i]);
        if (n < 0 || (size_t)n >= cap - at) break;
        at += (size_t)n;
    }
    return out;
}
