/* assay-mutants: proves that the suites catch faults, by putting them in. */
#include "mutants/mutant.h"
#include "base/options.h"
#include "reports/report.h"
#include "base/terminal.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME "assay-mutants"

static const struct option_help help = {
    "usage: assay-mutants [WHICH...] [options]\n\n"
    "Puts one fault after the other into the engine's sources, compiles it, and runs the cases\n"
    "that must catch it. WHICH is a class of faults (A3), a mutant (A3.q4_k.top-bits) or a shell\n"
    "pattern; without one, all. Needs a build tree.\n\n",
    "Exit status: 0 all were caught, 1 one survived, 2 usage, 77 none could run.\n",
};

struct mutants_args {
    const char *build, *json, *control;
    bool list, check, keep;
    char *const *which;
    int n_which;
};

static int parse(int argc, char **argv, struct mutants_args *a)
{
    const struct option_row rows[] = {
        {"list", OPTION_FLAG, &a->list, .help = "print what there is, run nothing"},
        {"check", OPTION_FLAG, &a->check,
         .help = "every class of faults has a mutant or a reason for none"},
        {"control", OPTION_TEXT, &a->control, .argument = "SUBJECT",
         .help = "build the same way without a fault: all those cases must pass"},
        {"build", OPTION_TEXT, &a->build, .argument = "DIR",
         .help = "the build tree (default: where this program lies)"},
        {"keep", OPTION_FLAG, &a->keep,
         .help = "leave mutated sources and programs in DIR/mutants"},
        {"report", OPTION_TEXT, &a->json, .argument = "FILE", .alias = "json",
         .help = "write a report"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    a->which = argv + optind;
    a->n_which = argc - optind;
    return code;
}

static bool chosen(const struct mutants_args *a, const struct mutant *m)
{
    if (a->control) return strcmp(a->control, m->subject) == 0;
    for (int i = 0; i < a->n_which; i++)
        if (strcmp(a->which[i], m->fault) == 0 || fnmatch(a->which[i], m->name, 0) == 0)
            return true;
    return a->n_which == 0;
}

/* Chosen and not left out. */
static bool can_run(const struct mutants_args *a, const struct mutant *m)
{
    return chosen(a, m) && !m->left_out;
}

/* One line for each backend whose mutants the build cannot make. */
static void print_left_out(const struct mutants_args *a, const struct mutant_list *l)
{
    size_t total = 0;
    for (size_t i = 0; i < l->n; i++) total += chosen(a, &l->rows[i]);
    for (size_t i = 0; i < l->n; i++) {
        const char *backend = l->rows[i].left_out;
        size_t n = 0;
        bool first = true;
        if (!backend || !chosen(a, &l->rows[i])) continue;
        for (size_t k = 0; k < l->n; k++) {
            const struct mutant *m = &l->rows[k];
            bool same = m->left_out && chosen(a, m) && strcmp(m->left_out, backend) == 0;
            first &= !same || k >= i;
            n += same;
        }
        if (first)
            printf("%zu of %zu mutants left out: this build has no %s backend\n", n, total,
                   backend);
    }
}

static void print_list(const struct mutants_args *a, const struct mutant_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct mutant *m = &l->rows[i];
        if (chosen(a, m)) printf("%-36s %s on %s\n", m->name, m->filter, m->subject);
    }
    print_left_out(a, l);
    for (size_t i = 0; i < l->n_omitted && a->n_which == 0; i++)
        printf("%-36s none: %s\n", l->omitted[i].fault, l->omitted[i].reason);
}

static const char *verdict_color(enum mutant_verdict v)
{
    return v == MUTANT_KILLED ? "green" : v == MUTANT_NOT_RUN ? "yellow" : "red";
}

/* A row of the kill matrix: two lines, the second says by what. */
static void print_result(const struct mutant *m, const struct mutant_result *r)
{
    printf("%s%-9s%s %-32s %s\n", terminal_color(verdict_color(r->verdict)),
           mutant_verdict_name(r->verdict), terminal_color("reset"), m->name, m->file);
    if (r->verdict != MUTANT_KILLED) {
        printf("          %s\n          row %s, cases %s on %s\n", r->message, m->where, m->filter,
               m->subject);
    } else {
        printf("          by %s", r->killer);
        if (strcmp(r->status, "fail") != 0) printf(", %s", r->status);
        if (r->used > 0) printf(", %.3g x bound", r->used);
        printf("\n");
    }
    fflush(stdout);
}

/* Files to compile anew for a control run: those of all its mutants, each once. */
static const char *all_units(const struct mutants_args *a, const struct mutant_list *l,
                             struct arena *arena)
{
    size_t size = 1;
    for (size_t i = 0; i < l->n; i++) size += strlen(l->rows[i].units) + 1;
    char *all = arena_alloc(arena, size, 1);
    for (size_t i = 0; all && i < l->n; i++) {
        if (!can_run(a, &l->rows[i])) continue;
        for (const char *at = l->rows[i].units; *at;) {
            size_t n = strcspn(at, " ");
            bool have = false;
            for (const char *p = all; (p = strstr(p, "engine/")); p++)
                have |= strncmp(p, at, n) == 0 && (p[n] == ' ' || p[n] == 0);
            if (!have) {
                if (*all) strcat(all, " ");
                strncat(all, at, n);
            }
            at += n + strspn(at + n, " ");
        }
    }
    return all;
}

/* The filters of all chosen mutants on kernels of this variant, each quoted for the shell. */
static char *all_filters(const struct mutants_args *a, const struct mutant_list *l,
                         const char *variant, struct arena *arena)
{
    size_t size = 1;
    for (size_t i = 0; i < l->n; i++) size += strlen(l->rows[i].filter) + 3;
    char *all = arena_alloc(arena, size, 1);
    for (size_t i = 0; all && i < l->n; i++) {
        const struct mutant *m = &l->rows[i];
        if (!can_run(a, m) || strcmp(m->variant, variant) != 0) continue;
        strcat(strcat(strcat(all, " '"), m->filter), "'");
    }
    return all;
}

/* Built as the mutants are, but without a fault, the program passes what they must fail. Cases that
 * several mutants fail are run once for each variant of the kernels. */
static int run_control(const struct mutants_args *a, const struct mutant_build *b,
                       const struct mutant_list *l)
{
    char scratch[2048], log[2100];
    struct arena arena = {0};
    struct err e = {0};
    size_t bad = 0, n = 0;
    snprintf(scratch, sizeof scratch, "%s/mutants/control-%s", b->dir, a->control);
    snprintf(log, sizeof log, "%s/log", scratch);
    struct mutant none = {.name = "control", .file = "", .variant = "", .where = "control"};
    bool none_chosen = true;
    for (size_t i = 0; i < l->n; i++) none_chosen &= !chosen(a, &l->rows[i]);
    if (none_chosen) return cmd_usage(NAME, "no mutants on %s", a->control);
    print_left_out(a, l);
    none.units = all_units(a, l, &arena);
    if (!none.units || !*none.units) return EXIT_NOTHING;
    enum status st = mutant_make(b, &none, scratch, &e);
    for (size_t i = 0; i < l->n && st == ST_OK; i++) {
        const struct mutant *m = &l->rows[i];
        bool seen = !can_run(a, m);
        for (size_t k = 0; k < i; k++)
            seen |= can_run(a, &l->rows[k]) && strcmp(l->rows[k].variant, m->variant) == 0;
        if (seen) continue;
        const char *filters = all_filters(a, l, m->variant, &arena);
        int code = filters ? mutant_test(filters, m, scratch, log) : -1;
        n++;
        if (code == EXIT_PASS || code == EXIT_NOTHING) continue;
        bad++;
        printf("%sfail%s      on %s%s%s without a fault: exit status %d, see %s\n",
               terminal_color("red"), terminal_color("reset"), m->subject, *m->variant ? "+" : "",
               m->variant, code, log);
    }
    arena_free(&arena);
    if (st != ST_OK) return cmd_error(NAME, &e);
    printf("on %s without a fault: %zu sets of cases, %zu failed\n", a->control, n, bad);
    if (!bad && !a->keep) mutant_clean(scratch);
    return bad ? EXIT_FAIL : EXIT_PASS;
}

static int run_all(const struct mutants_args *a, const struct mutant_build *b,
                   const struct mutant_list *l)
{
    struct report *report = NULL;
    struct err e = {0};
    size_t n[MUTANT_NOT_RUN + 1] = {0}, total = 0;
    if (a->json && report_open(&report, 1, &e) != ST_OK) return cmd_error(NAME, &e);
    interrupt_catch();
    for (size_t i = 0; i < l->n && !interrupt_caught(); i++) {
        struct mutant_result r;
        if (!chosen(a, &l->rows[i])) continue;
        mutant_run(&r, b, &l->rows[i], a->keep);
        if (interrupt_caught()) break;
        if (!l->rows[i].left_out) print_result(&l->rows[i], &r);
        n[r.verdict]++;
        total++;
        if (report) mutant_report(report, &l->rows[i], &r);
    }
    size_t bad = n[MUTANT_SURVIVED] + n[MUTANT_NO_ANCHOR] + n[MUTANT_NOT_BUILT];
    printf(
        "%zu mutants: %zu killed, %zu survived, %zu without anchor, %zu not built, %zu not run\n",
        total, n[MUTANT_KILLED], n[MUTANT_SURVIVED], n[MUTANT_NO_ANCHOR], n[MUTANT_NOT_BUILT],
        n[MUTANT_NOT_RUN]);
    print_left_out(a, l);
    enum status st = report ? report_save(report, a->json, &e) : ST_OK;
    report_close(report);
    if (interrupt_caught()) return cmd_error(NAME, &(struct err){ST_CANCELLED, "interrupted"});
    if (st != ST_OK) return cmd_error(NAME, &e);
    return bad || total == 0 ? EXIT_FAIL : n[MUTANT_KILLED] ? EXIT_PASS : EXIT_NOTHING;
}

/* The directory of the running program. */
static const char *own_directory(char *out, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", out, cap - 1);
    if (n <= 0) return ".";
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (slash) *slash = 0;
    return out;
}

int main(int argc, char **argv)
{
    argv[0] = (char[]){NAME}; /* by this name messages call the program */
    struct mutants_args a = {0};
    char own[2048], dir[4096];
    struct err e = {0};
    struct mutant_build b;
    struct mutant_list l;
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    if (!a.build) a.build = own_directory(own, sizeof own);
    if (mutant_build_open(&b, a.build, &e) != ST_OK) return cmd_error(NAME, &e);
    snprintf(dir, sizeof dir, "%s/suites/mutants", b.source);
    enum status st = mutants_read(&l, dir, &e);
    if (st != ST_OK) {
        mutant_build_close(&b);
        return cmd_error(NAME, &e);
    }
    mutants_leave_out(&l, &b);
    if (a.list) {
        print_list(&a, &l);
        code = EXIT_PASS;
    } else if (a.check) {
        st = mutants_check(&l, &e);
        code = st == ST_OK ? EXIT_PASS : cmd_error(NAME, &e);
        if (st == ST_OK) printf("%zu mutants, %zu classes without one\n", l.n, l.n_omitted);
    } else {
        code = a.control ? run_control(&a, &b, &l) : run_all(&a, &b, &l);
    }
    mutants_free(&l);
    mutant_build_close(&b);
    return code;
}
