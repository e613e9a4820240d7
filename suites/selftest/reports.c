/* The reports suite: the promises of the report's writer. It keeps no cases in memory, a process
 * that is killed leaves a readable report, and whatever the numbers and texts are, the document is
 * valid. The cases write under $TMPDIR. */
#include "selftest/selftest.h"
#include "reports/build_info.h"
#include "harness/harness.h"
#include "reports/report_json.h"
#include "reports/sources.h"
#include "reports/validate.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MILLION = 1000000, MEMORY_LIMIT_KIB = 200 * 1024, KILL_AFTER_BYTES = 1 << 16 };

static bool temp_path(struct test *t, char *out, size_t cap)
{
    const char *dir = getenv("TMPDIR");
    snprintf(out, cap, "%s/assay-report-XXXXXX", dir && *dir ? dir : "/tmp");
    int fd = mkstemp(out);
    if (!test_check(t, fd >= 0, "%s: cannot be made", out)) return false;
    close(fd);
    return true;
}

static void check_valid(struct test *t, json_t *doc)
{
    struct findings *found = test_alloc(t, 1, sizeof *found);
    struct err e = {0};
    if (!found) return;
    test_ok(t, validate_schema(found, "schema.json", doc, &e), &e);
    validate_sums(found, doc);
    test_check(t, found->n == 0, "not valid: %s", found->text[0]);
}

static struct case_id made_up(size_t i)
{
    static const char *const types[] = {"q4_K", "q6_K", "iq2_s"};
    static const char *const subjects[] = {"cpu", "vulkan:0"};
    return (struct case_id){.suite = "made",
                            .op = "matvec",
                            .type = types[i % 3],
                            .shape = "256x128",
                            .subject = subjects[i / 3 % 2]};
}

/* ---- numbers and texts that JSON does not have ------------------------------------------- */

/* Characters of one to four bytes, and between them bytes that are not UTF-8: a byte that never is,
 * a sequence that ends too early, a surrogate, a long form of a short character. */
static const char odd_text[] = "\x01 \"quotes\" \xff\xc3\xa4 \xe2\x82 \xe6\xbc\xa2\xed\xa0\x80"
                               "\xf0\x9f\x8e\x89\xc0\xaf|\xf0\x9f";
#define BAD "\xef\xbf\xbd"
static const char odd_text_mended[] =
    "\x01 \"quotes\" " BAD "\xc3\xa4 " BAD BAD " \xe6\xbc\xa2" BAD BAD BAD
    "\xf0\x9f\x8e\x89" BAD BAD "|" BAD BAD;
#undef BAD

static void put_odd_cases(struct report *r)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 5e-324, 1.7976931348623157e308, -0.0};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct case_id c = made_up(i);
        struct case_result res = {.status = CASE_FAIL,
                                  .error = odd[i],
                                  .bound = odd[i],
                                  .used = odd[i],
                                  .nmse_worst_row = odd[i]};
        snprintf(res.message, sizeof res.message, "%s", odd_text);
        report_case(r, &c, &res, UINT64_MAX, "assay test 'made' \xc3");
    }
}

static void run_numbers(struct test *t, const struct test_case *c)
{
    char path[512];
    struct report *r = NULL;
    struct err e = {0};
    json_t *doc = NULL;
    (void)c;
    if (!temp_path(t, path, sizeof path)) return;
    if (test_ok(t, report_open(&r, UINT64_MAX, &e), &e)) {
        put_odd_cases(r);
        test_ok(t, report_save(r, path, &e), &e);
    }
    report_close(r);
    if (t->result.status == CASE_PASS && test_ok(t, report_load(&doc, path, &e), &e)) {
        json_t *cases = json_object_get(doc, "cases");
        check_valid(t, doc);
        test_check(t, isnan(json_real_at(json_array_get(cases, 0), "used")), "nan is not nan");
        test_check(t, isinf(json_real_at(json_array_get(cases, 2), "used")), "-inf is not inf");
        test_check(t, json_real_at(json_array_get(cases, 3), "error") == 5e-324,
                   "the least double changed");
        test_check(t, strcmp(json_text(doc, "seed"), "18446744073709551615") == 0,
                   "the seed became '%s'", json_text(doc, "seed"));
        test_check(t, strcmp(json_text(json_array_get(cases, 0), "message"), odd_text_mended) == 0,
                   "the message became '%s'", json_text(json_array_get(cases, 0), "message"));
    }
    json_decref(doc);
    unlink(path);
}

/* ---- killed and torn --------------------------------------------------------------------- */

static void write_for_ever(const char *path)
{
    struct report *r;
    if (report_open(&r, 1, NULL) != ST_OK || report_stream(r, path, NULL) != ST_OK) _exit(1);
    for (size_t i = 0;; i++) {
        struct case_id c = made_up(i);
        struct case_result res = {.status = i % 7 ? CASE_PASS : CASE_SKIP, .nmse_worst_row = NAN};
        snprintf(res.message, sizeof res.message, "case %zu", i);
        report_case(r, &c, &res, i, "assay test made");
    }
}

static void run_killed(struct test *t, const struct test_case *c)
{
    char path[512];
    struct err e = {0};
    struct stat s = {0};
    json_t *doc = NULL;
    (void)c;
    if (!temp_path(t, path, sizeof path)) return;
    pid_t pid = fork();
    if (pid == 0) write_for_ever(path);
    if (!test_check(t, pid > 0, "no process")) return;
    double until = now_seconds() + 60;
    while (now_seconds() < until && (stat(path, &s) != 0 || s.st_size < KILL_AFTER_BYTES))
        usleep(10000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    if (test_ok(t, report_load(&doc, path, &e), &e)) {
        check_valid(t, doc);
        test_check(t, !json_is_true(json_object_get(doc, "complete")), "claims to be complete");
        test_check(t, json_array_size(json_object_get(doc, "cases")) > 10, "has only %zu cases",
                   json_array_size(json_object_get(doc, "cases")));
    }
    json_decref(doc);
    unlink(path);
}

/* A file cut off anywhere behind its head still gives its whole cases. */
static void run_torn(struct test *t, const struct test_case *c)
{
    enum { N = 12 };
    char path[512];
    struct report *r = NULL;
    struct err e = {0};
    struct stat s = {0};
    (void)c;
    if (!temp_path(t, path, sizeof path)) return;
    if (!test_ok(t, report_open(&r, 1, &e), &e)) return;
    for (size_t i = 0; i < N; i++) {
        struct case_id made = made_up(i);
        report_case(r, &made, &(struct case_result){.nmse_worst_row = NAN}, i, "assay test made");
    }
    test_ok(t, report_save(r, path, &e), &e);
    report_close(r);
    size_t before = N;
    test_check(t, stat(path, &s) == 0, "%s: is gone", path);
    for (off_t cut = s.st_size - 4; t->result.status == CASE_PASS && cut > 400; cut -= 97) {
        json_t *doc = NULL;
        if (!test_check(t, truncate(path, cut) == 0, "%s: cannot be cut", path)) break;
        if (!test_ok(t, report_load(&doc, path, &e), &e)) break;
        size_t n = json_array_size(json_object_get(doc, "cases"));
        check_valid(t, doc);
        test_check(t, !json_is_true(json_object_get(doc, "complete")), "claims to be complete");
        test_check(t, n <= before && before - n <= 1,
                   "%zu cases after a cut of 97 bytes, %zu before", n, before);
        before = n;
        json_decref(doc);
    }
    unlink(path);
}

/* ---- memory ------------------------------------------------------------------------------ */

static void write_million(const char *path)
{
    struct report *r;
    if (report_open(&r, 1, NULL) != ST_OK || report_stream(r, path, NULL) != ST_OK) _exit(1);
    for (size_t i = 0; i < MILLION; i++) {
        struct case_id c = made_up(i);
        report_case(r, &c, &(struct case_result){.used = 0.25, .nmse_worst_row = NAN}, i,
                    "assay test 'made.matvec'");
    }
    enum status st = report_save(r, path, NULL);
    report_close(r);
    _exit(st == ST_OK ? 0 : 1);
}

static size_t count_cases(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[2048];
    size_t n = 0;
    while (f && fgets(line, sizeof line, f)) n += strncmp(line, "  {\"name\":", 10) == 0;
    if (f) fclose(f);
    return n;
}

static void run_million(struct test *t, const struct test_case *c)
{
    char path[512];
    struct rusage usage = {0};
    int status = 0;
    (void)c;
    if (!temp_path(t, path, sizeof path)) return;
    pid_t pid = fork();
    if (pid == 0) write_million(path);
    if (!test_check(t, pid > 0, "no process")) return;
    wait4(pid, &status, 0, &usage);
    test_check(t, WIFEXITED(status) && WEXITSTATUS(status) == 0, "the writer failed");
    size_t n = count_cases(path);
    test_check(t, n == MILLION, "%zu cases are in the file", n);
    test_check(t, usage.ru_maxrss <= MEMORY_LIMIT_KIB, "needed %ld KiB", usage.ru_maxrss);
    t->result.error = (double)usage.ru_maxrss;
    t->result.bound = MEMORY_LIMIT_KIB;
    t->result.used = t->result.error / t->result.bound;
    unlink(path);
}

/* ---- where sources are ------------------------------------------------------------------- */

static void run_sources(struct test *t, const struct test_case *c)
{
    static const char *const subjects[] = {"reference", "cpu", "vulkan:0", "cuda"};
    char path[4400];
    (void)c;
    snprintf(path, sizeof path, "%s/../reference/ref.h", build_info.vectors_source);
    if (access(path, R_OK) != 0) {
        test_skip(t, "the source tree is not here");
        return;
    }
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        for (const struct type_spec *s = type_next(NULL); s; s = type_next(s)) {
            struct source_place p = {"", ""};
            if (!type_decodes(s)) continue;
            source_find(&p, "decode", "", s->name, subjects[i]);
            snprintf(path, sizeof path, "%s/../%s", build_info.vectors_source, p.path);
            test_check(t, access(path, R_OK) == 0, "decode %s: there is no %s", s->name, p.path);
        }
        for (int op = 0; op < OP_COUNT; op++) {
            struct source_place p = {"", ""};
            source_find(&p, "ops", op_table[op].name, "q4_K", subjects[i]);
            snprintf(path, sizeof path, "%s/../%s", build_info.vectors_source, p.path);
            test_check(t, access(path, R_OK) == 0, "%s on %s: there is no %s", op_table[op].name,
                       subjects[i], p.path);
        }
    }
}

void suite_reports(struct case_list *l)
{
    case_add(l, &(struct test_case){"reports", "numbers", .quick = true, .run = run_numbers});
    case_add(l, &(struct test_case){"reports", "killed", .quick = true, .run = run_killed});
    case_add(l, &(struct test_case){"reports", "torn", .quick = true, .run = run_torn});
    case_add(l, &(struct test_case){"reports", "sources", .quick = true, .run = run_sources});
    case_add(l, &(struct test_case){"reports", "million", .run = run_million});
}
