/* Collecting, choosing and running cases. */
#ifndef RUN_H
#define RUN_H

#include "harness/harness.h"

struct report;

struct run_options {
    struct test_options test;
    const char *const *filters; /* patterns over case names; none = all */
    size_t n_filters;
    bool rest_only;   /* only cases that are not quick */
    bool verbose;     /* a line for every case */
    bool stop;        /* after the first case that fails */
    unsigned timeout; /* seconds for one case */
};

/* Collects the cases of n suites that pass the filters; false if there is none. Suites that judge
 * Assay itself are left out if a subject comes from outside. Free the list with cases_free. */
bool cases_collect(struct case_list *out, const struct suite *suites, size_t n,
                   const struct run_options *o);
void cases_free(struct case_list *l);

struct run_totals {
    size_t by_status[CASE_WAIVED + 1];
};

/* Runs the cases, prints failures and a summary, adds all to the report (NULL = none). */
void cases_run(const struct case_list *l, const struct run_options *o, struct report *report,
               struct run_totals *totals);

#endif
