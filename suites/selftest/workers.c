/* The suite of the child processes that run cases: made-up cases that pass, fail, crash, hang and
 * end their process are told once each, in their order, the same by one process and by several. */
#include "selftest/selftest.h"
#include "harness/workers.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 14, ROOM = 4096 };

/* What has been told, a line each. */
struct told {
    char text[ROOM];
    size_t n, stop_at; /* lines; the line at which take says stop, N: none */
    bool bad_exit;     /* a process that has run case 2 fails after its last case */
};

static void fail_at_exit(void)
{
    _exit(9);
}

/* Case 3 fails, 5 crashes, 8 hangs, 9 ends its process; the others pass. */
static struct case_result run_made_up(void *ctx, size_t i)
{
    const struct told *t = ctx;
    struct case_result r = {.status = CASE_PASS, .nmse_worst_row = NAN, .error = (double)i};
    if (i == 2 && t->bad_exit && atexit(fail_at_exit) != 0) r.status = CASE_CRASH;
    if (i == 3) r.status = CASE_FAIL;
    if (i == 5) kill(getpid(), SIGKILL);
    while (i == 8) pause();
    if (i == 9) _exit(7);
    if (i % 4 == 0) usleep(3000); /* so that a later case is done before an earlier one */
    return r;
}

static struct case_result run_harmless(void *ctx, size_t i)
{
    struct case_result r = {.status = CASE_PASS, .nmse_worst_row = NAN, .error = (double)i};
    const struct told *t = ctx;
    if (i == 2 && t->bad_exit && atexit(fail_at_exit) != 0) r.status = CASE_CRASH;
    return r;
}

static bool take(void *ctx, size_t i, const struct case_result *r)
{
    struct told *t = ctx;
    const size_t at = strlen(t->text);
    snprintf(t->text + at, ROOM - at, "%zu %s %g %s\n", i, case_status_name(r->status), r->error,
             r->message);
    return t->n++ != t->stop_at;
}

static void tick(void *ctx, size_t n_done)
{
    (void)ctx;
    (void)n_done;
}

static void tell_all(struct test *t, struct told *out, size_t n_workers,
                     struct case_result (*run)(void *ctx, size_t i))
{
    const struct workers_options o = {N, n_workers, 1, false};
    const struct workers_calls calls = {out, run, take, tick};
    struct err e = {0};
    out->stop_at = out->stop_at ? out->stop_at : N;
    test_ok(t, workers_run(&o, &calls, &e), &e);
}

static void run_order(struct test *t, const struct test_case *c)
{
    static const char want[] = "0 pass 0 \n1 pass 1 \n2 pass 2 \n3 fail 3 \n4 pass 4 \n5 crash 0 "
                               "crashed: signal 9 (Killed)\n"
                               "6 pass 6 \n7 pass 7 \n8 timeout 0 did not end within 1 s\n"
                               "9 crash 0 ended its process with status 7\n10 pass 10 \n11 pass 11 "
                               "\n12 pass 12 \n13 pass 13 \n";
    (void)c;
    for (size_t n = 1; n <= 2 * N; n = 2 * n + 1) {
        struct told got = {0};
        tell_all(t, &got, n, run_made_up);
        test_check(t, strcmp(got.text, want) == 0, "by %zu processes:\n%s", n, got.text);
    }
}

/* A process that fails after its last case: the very last case is told, once, as crashed. */
static void run_exit(struct test *t, const struct test_case *c)
{
    (void)c;
    for (size_t n = 1; n <= N; n += 4) {
        struct told got = {.bad_exit = true};
        tell_all(t, &got, n, run_harmless);
        test_check(t, got.n == N, "%zu cases were told by %zu processes, not %d", got.n, n, N);
        test_check(t, strstr(got.text, "12 pass 12 \n13 crash 0 ended its process with status 9\n"),
                   "by %zu processes:\n%s", n, got.text);
    }
}

/* Nothing is told after the result at which the caller stops, and the rest is not waited for. */
static void run_stop(struct test *t, const struct test_case *c)
{
    (void)c;
    for (size_t n = 1; n <= N; n += 4) {
        struct told got = {.stop_at = 3};
        tell_all(t, &got, n, run_made_up);
        test_check(t, got.n == 4, "%zu cases were told by %zu processes, not 4", got.n, n);
    }
}

void suite_workers(struct case_list *l)
{
    case_add(l, &(struct test_case){"workers", "order", .quick = true, .run = run_order});
    case_add(l, &(struct test_case){"workers", "exit", .quick = true, .run = run_exit});
    case_add(l, &(struct test_case){"workers", "stop", .quick = true, .run = run_stop});
}
