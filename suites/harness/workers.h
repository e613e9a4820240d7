/* Child processes that run cases. A case that crashes or hangs costs only itself: its child is
 * given up, and another one goes on. Each of n children runs every n-th case; results are told in
 * the order of the cases, whichever child is done first. */
#ifndef WORKERS_H
#define WORKERS_H

#include "harness/run.h"

/* What the caller of workers_run does. All of it happens in the calling process, except run. */
struct workers_calls {
    void *ctx;
    /* Runs case i, in a child, and returns what the case leaves behind. */
    struct case_result (*run)(void *ctx, size_t i);
    /* The result of case i; called once for each case, with i = 0, 1, ... Returns false to stop:
     * the children are ended, and no further result is told. */
    bool (*take)(void *ctx, size_t i, const struct case_result *r);
    /* Called several times a second while cases run. n_done: cases that have a result. */
    void (*tick)(void *ctx, size_t n_done);
};

struct workers_options {
    size_t n_cases, n_workers; /* at least 1 worker */
    unsigned timeout;          /* seconds for one case */
    bool stop;                 /* a child ends after its first case that fails */
};

/* Runs all cases. A child that ends without a result makes its case CASE_CRASH or CASE_TIMEOUT; one
 * that fails after its last case (a leak, an exit handler) makes the very last case CASE_CRASH,
 * whatever n_workers is. After an interrupt (interrupt_caught) it waits for the cases that run and
 * tells no more than the results that have come by then. ST_NOMEM: nothing has run. */
enum status workers_run(const struct workers_options *o, const struct workers_calls *calls,
                        struct err *e);

#endif
