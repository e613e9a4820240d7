/* assay test: runs the suites that CTest runs, in one process. */
#include "command/commands.h"
#include "base/options.h"
#include "reports/report.h"
#include "harness/run.h"
#include "subject/subject.h"
#include "command/suites.h"
#include "base/terminal.h"
#include "base/paths.h"
#include "subject/environment.h"

#include <stdio.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay test [FILTER...] [options]\n\n"
    "Runs conformance cases. A case is named suite.op.type.shape.subject; a FILTER is the\n"
    "beginning of a name up to a dot, or a shell pattern over all of it.\n\n",
    "examples:\n"
    "  assay test decode.q4_K             every subject's Q4_K decoder\n"
    "  assay test 'ops.mat*.*.cpu'        matvec and matmul on the CPU\n"
    "  assay test vectors --vectors DIR   fresh golden files\n\n"
    "Exit status: 0 all passed, 1 a case failed or none matched, 2 usage, 77 all skipped.\n",
};

struct test_args {
    struct run_options run;
    const char *json;
    bool list;
};

/* "2/10" */
static bool take_shard(const char *text, struct run_options *o)
{
    char first[24];
    const size_t n = strcspn(text, "/");
    if (!text[n] || n >= sizeof first) return false;
    snprintf(first, sizeof first, "%.*s", (int)n, text);
    return parse_u64(text + n + 1, 1, 1000000, &o->n_shards) &&
           parse_u64(first, 1, o->n_shards, &o->shard);
}

static int parse(int argc, char **argv, struct test_args *a)
{
    uint64_t timeout = a->run.timeout, jobs = 0;
    const char *shard = NULL;
    const struct option_row rows[] = {
        {"list", OPTION_FLAG, &a->list, .help = "print the names in two groups, run nothing"},
        {"subject", OPTION_TEXT, &a->run.test.subjects, .argument = "LIST",
         .help = "only cases of these subjects (cpu, vulkan:1, vulkan+reduce ...)"},
        {"seed", OPTION_COUNT, &a->run.test.seed, .argument = "N", .max = UINT64_MAX,
         .help = "seed of all random inputs (default 1)"},
        {"quick", OPTION_FLAG, &a->run.test.quick_only,
         .help = "only cases of the developer's loop"},
        {"slow", OPTION_FLAG, &a->run.rest_only, .alias = "rest",
         .help = "only the others, which take longer"},
        {"vectors", OPTION_TEXT, &a->run.test.vectors, .argument = "DIR",
         .help = "golden data from this directory"},
        {"ggml", OPTION_TEXT, &a->run.test.ggml, .argument = "DIR",
         .help = "libggml-base.so is here: compare with it (suite peers)"},
        {"report", OPTION_TEXT, &a->json, .argument = "FILE", .alias = "json",
         .help = "write a report"},
        {"timeout", OPTION_COUNT, &timeout, .argument = "SECONDS", .min = 1, .max = 86400,
         .help = "for one case (default 300)"},
        {"stop-on-failure", OPTION_FLAG, &a->run.stop,
         .help = "run nothing after the first case that fails"},
        {"jobs", OPTION_COUNT, &jobs, .letter = 'j', .argument = "N", .min = 1, .max = 1024,
         .help = "child processes at once (default: one per core); the output is the same"},
        {"shard", OPTION_TEXT, &shard, .argument = "I/N",
         .help = "only part I of N, chosen by the cases' names: parts are disjoint, complete and "
                 "do not change when cases are added"},
        {"verbose", OPTION_FLAG, &a->run.verbose, .letter = 'v', .help = "a line for every case"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    a->run.timeout = (unsigned)timeout;
    a->run.n_workers = (size_t)jobs;
    if (code < 0 && shard && !take_shard(shard, &a->run))
        return cmd_usage("test", "--shard '%s' is not I/N with I from 1 to N", shard);
    a->run.filters = (const char *const *)(argv + optind);
    a->run.n_filters = (size_t)(argc - optind);
    return code;
}

static bool is_self(const char *suite)
{
    size_t n;
    const struct suite *suites = suites_all(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(suites[i].name, suite) == 0) return suites[i].self;
    return false;
}

/* The names in two groups; a heading begins with #. */
static void print_list(const struct case_list *l)
{
    char name[CASE_NAME];
    for (int self = 0; self < 2; self++) {
        bool any = false;
        for (size_t i = 0; i < l->n; i++) {
            if (is_self(l->cases[i].suite) != (self == 1)) continue;
            if (!any) puts(self ? "# Assay judges itself" : "# conformance of a subject");
            any = true;
            const struct case_id id = case_id_of(&l->cases[i]);
            puts(case_name(&id, name, sizeof name));
        }
    }
}

static int run(const struct test_args *a, const struct case_list *l)
{
    struct err e = {0};
    struct report *report = NULL;
    if (a->json && report_open(&report, a->run.test.seed, &e) != ST_OK)
        return cmd_error("test", &e);
    if (report) {
        environment_report(report, a->run.test.vectors);
        if (report_stream(report, a->json, &e) != ST_OK) {
            report_close(report);
            return cmd_error("test", &e);
        }
    }
    struct run_totals totals;
    interrupt_catch();
    if (cases_run(l, &a->run, report, &totals, &e) != ST_OK) {
        report_close(report);
        return cmd_error("test", &e);
    }
    const size_t *n = totals.by_status;
    size_t bad = n[CASE_FAIL] + n[CASE_CRASH] + n[CASE_TIMEOUT],
           good = n[CASE_PASS] + n[CASE_MARGINAL];
    printf("%zu passed, %zu failed, %zu skipped\n", good, bad, n[CASE_SKIP]);
    if (n[CASE_MARGINAL])
        printf("%zu of the passes use more than half of their bound\n", n[CASE_MARGINAL]);
    if (report && interrupt_caught()) report_stopped(report, "interrupted");
    if (report && bad && a->run.stop && bad + good + n[CASE_SKIP] < l->n)
        report_stopped(report, "stopped at the first failure");
    if (report && report_save(report, a->json, &e) != ST_OK) {
        report_close(report);
        return cmd_error("test", &e);
    }
    report_close(report);
    if (interrupt_caught()) return cmd_error("test", &(struct err){ST_CANCELLED, "interrupted"});
    return bad ? EXIT_FAIL : good ? EXIT_PASS : EXIT_NOTHING;
}

int cmd_test(int argc, char **argv)
{
    struct test_args a = {.run = {.test = {.seed = 1}, .timeout = 300}};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    a.run.test.vectors = path_vectors(a.run.test.vectors);
    struct err e = {0};
    if (subjects_check(a.run.test.subjects, &e) != ST_OK) return cmd_error("test", &e);
    struct case_list list;
    size_t n_suites;
    const struct suite *suites = suites_all(&n_suites);
    if (!cases_collect(&list, suites, n_suites, &a.run)) {
        cases_free(&list);
        struct run_options whole = a.run;
        whole.n_shards = 0;
        if (a.run.n_shards && cases_collect(&list, suites, n_suites, &whole)) {
            cases_free(&list);
            fprintf(stderr, "assay test: none of the cases is in shard %llu of %llu\n",
                    (unsigned long long)a.run.shard, (unsigned long long)a.run.n_shards);
            return EXIT_NOTHING;
        }
        fprintf(stderr, "assay test: no case matches%s%s; 'assay test --list' names all\n",
                a.run.n_filters ? " " : "", a.run.n_filters ? a.run.filters[0] : "");
        return EXIT_FAIL;
    }
    code = a.list ? (print_list(&list), EXIT_PASS) : run(&a, &list);
    cases_free(&list);
    return code;
}
