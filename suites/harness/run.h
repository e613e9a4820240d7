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
    size_t n_workers; /* child processes at once; 0 = one per core */
    /* Only cases of shard `shard` of n_shards, counted from 1; n_shards 0 = all. A case stays in
     * its shard when others come or go. */
    uint64_t shard, n_shards;
};

/* Collects the cases of n suites that pass the filters; false if there is none. Suites that judge
 * Assay itself are left out if a subject comes from outside. Free the list with cases_free. */
bool cases_collect(struct case_list *out, const struct suite *suites, size_t n,
                   const struct run_options *o);
void cases_free(struct case_list *l);

struct run_totals {
    size_t by_status[CASE_WAIVED + 1];
};

/* Runs the cases, prints failures, adds all to the report (NULL = none). What is printed and
 * reported is the same, and in the order of the list, however many processes there are. */
enum status cases_run(const struct case_list *l, const struct run_options *o, struct report *report,
                      struct run_totals *totals, struct err *e);

#endif
