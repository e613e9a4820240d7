/* The harness: collects cases, filters them, runs them in child processes, prints and reports. */
#include "harness/run.h"
#include "harness/workers.h"
#include "engine/base/base.h"
#include "harness/random.h"
#include "base/terminal.h"
#include "reports/report.h"
#include "subject/subject.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- cases ------------------------------------------------------------------------------- */

/* A pattern matches a whole name, as by the shell, or as a prefix that ends before a dot. */
static bool matches(const char *name, const char *pattern)
{
    size_t n = strlen(pattern);
    if (strncmp(name, pattern, n) == 0 && (name[n] == 0 || name[n] == '.')) return true;
    return fnmatch(pattern, name, 0) == 0;
}

/* A hash of the name, from which the case's random numbers start. */
static uint64_t case_seed(const char *name, uint64_t seed)
{
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (const char *p = name; *p; p++) h = rng_mix(h ^ (uint64_t)(unsigned char)*p);
    return h;
}

static bool wanted(const struct test_case *c, const struct run_options *o)
{
    char name[CASE_NAME];
    const struct case_id id = case_id_of(c);
    case_name(&id, name, sizeof name);
    if ((o->test.quick_only && !c->quick) || (o->rest_only && c->quick)) return false;
    /* By the name alone, so that a new case moves no other one. */
    if (o->n_shards && case_seed(name, 0) % o->n_shards != o->shard - 1) return false;
    if (o->test.subjects && !c->subject) return false;
    if (o->n_filters == 0) return true;
    for (size_t i = 0; i < o->n_filters; i++)
        if (matches(name, o->filters[i])) return true;
    return false;
}

/* Whether a filter can match a name that begins with this suite: collecting the others would open
 * every golden file for nothing. */
static bool may_match(const char *suite, const struct run_options *o)
{
    if (o->n_filters == 0) return true;
    for (size_t i = 0; i < o->n_filters; i++) {
        const char *f = o->filters[i];
        size_t n = strcspn(f, ".*?[\\");
        if ((f[n] && f[n] != '.') || (strlen(suite) == n && strncmp(suite, f, n) == 0)) return true;
    }
    return false;
}

bool cases_collect(struct case_list *out, const struct suite *suites, size_t n,
                   const struct run_options *o)
{
    *out = (struct case_list){.options = &o->test};
    const bool foreign = subjects_foreign(o->test.subjects);
    for (size_t i = 0; i < n; i++)
        if (may_match(suites[i].name, o) && !(foreign && suites[i].self)) suites[i].collect(out);
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++)
        if (wanted(&out->cases[i], o)) out->cases[kept++] = out->cases[i];
    out->n = kept;
    return kept > 0;
}

void cases_free(struct case_list *l)
{
    free(l->cases);
    arena_free(&l->arena);
    *l = (struct case_list){0};
}

/* ---- running ----------------------------------------------------------------------------- */

static const char *status_color(enum case_status s)
{
    return case_is_bad(s) ? "red" : s == CASE_PASS ? "green" : "yellow";
}

static void print_result(const char *name, const struct case_result *r, const char *rerun)
{
    printf("%s%-8s%s %s", terminal_color(status_color(r->status)), case_status_name(r->status),
           terminal_color("reset"), name);
    if (!case_is_bad(r->status)) {
        if (r->status == CASE_SKIP)
            printf("  (%s)", r->message);
        else if (r->used > 0)
            printf("  %.3g %% of the bound", 100 * r->used);
        if (r->status != CASE_SKIP && *r->message) printf("  (%s)", r->message);
        printf("\n");
        return;
    }
    printf("\n");
    if (*r->message) printf("  why      %s\n", r->message);
    if (r->bad) {
        if (r->bound > 0)
            printf("  worst    error %.4g is %.3g x bound %.4g\n", r->error, r->used, r->bound);
        else
            printf("  worst    error %.4g where equality is due\n", r->error);
        printf("  bad      %zu of %zu elements, the first at index %zu\n", r->bad, r->total,
               r->first_bad);
        printf("  where    %s\n", r->pattern);
    }
    if (!isnan(r->nmse_worst_row)) printf("  nmse     %.3g (worst row)\n", r->nmse_worst_row);
    printf("  rerun    %s\n", rerun);
}

static struct case_result run_case(const struct test_case *c, const struct run_options *o)
{
    char name[CASE_NAME];
    const struct case_id id = case_id_of(c);
    struct test t = {.options = &o->test,
                     .seed = case_seed(case_name(&id, name, sizeof name), o->test.seed)};
    t.result.nmse_worst_row = NAN;
    double start = now_seconds();
    c->run(&t, c);
    t.result.seconds = now_seconds() - start;
    arena_free(&t.arena);
    return t.result;
}

struct run_state {
    const struct case_list *l;
    const struct run_options *o;
    struct report *report;
    struct run_totals *totals;
};

static struct case_result run_at(void *ctx, size_t i)
{
    const struct run_state *s = ctx;
    return run_case(&s->l->cases[i], s->o);
}

static bool take_result(void *ctx, size_t i, const struct case_result *r)
{
    struct run_state *s = ctx;
    const struct test_case *c = &s->l->cases[i];
    char name[CASE_NAME], rerun[2 * CASE_NAME + 64];
    const struct case_id id = case_id_of(c);
    case_name(&id, name, sizeof name);
    const bool named = c->subject && strpbrk(c->subject, ":+"); /* not among those by default */
    snprintf(rerun, sizeof rerun, "assay test '%s' --seed %llu%s%s%s", name,
             (unsigned long long)s->o->test.seed, named ? " --subject '" : "",
             named ? c->subject : "", named ? "'" : "");
    s->totals->by_status[r->status]++;
    if (s->o->verbose || case_is_bad(r->status)) {
        progress_end();
        print_result(name, r, rerun);
        fflush(stdout);
    }
    if (s->report) report_case(s->report, &id, r, case_seed(name, s->o->test.seed), rerun);
    return !(s->o->stop && case_is_bad(r->status));
}

static void show_progress(void *ctx, size_t n_done)
{
    const struct run_state *s = ctx;
    progress_show("testing", n_done, s->l->n);
    if (s->report) report_tick(s->report); /* what is done is on disk while a case takes long */
}

enum status cases_run(const struct case_list *l, const struct run_options *o, struct report *report,
                      struct run_totals *totals, struct err *e)
{
    *totals = (struct run_totals){0};
    struct run_state s = {.l = l, .o = o, .report = report, .totals = totals};
    const struct workers_calls calls = {&s, run_at, take_result, show_progress};
    const size_t cores = (size_t)pool_cores();
    size_t n = o->n_workers ? o->n_workers : cores;
    if (n > l->n) n = l->n;
    /* The cores are shared by the processes. No result depends on the number of threads. */
    if (n > 1) subjects_threads(n < cores ? (int)(cores / n) : 1);
    const struct workers_options w = {l->n, n, o->timeout, o->stop};
    enum status st = workers_run(&w, &calls, e);
    progress_end();
    return st;
}
