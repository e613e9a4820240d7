/* Mutants: faults put into the real sources, one at a time, to prove that a suite catches them.
 * The rows are in suites/mutants/ (the text format is described in its README); `assay-mutants`
 * runs them out of a build tree. */
#ifndef MUTANT_H
#define MUTANT_H

#include "engine/base/base.h"

#include <jansson.h>

struct mutant {
    const char *fault;   /* class of fault: "A3" */
    const char *name;    /* "A3.q4_k-top-bits" */
    const char *file;    /* the mutated source, relative to the tree */
    const char *units;   /* sources to compile anew, separated by spaces */
    const char *filter;  /* cases that must fail */
    const char *subject; /* on this subject; "-" = of suites without */
    const char *variant; /* of its kernels; "" = as it chooses */
    const char *from, *to;
    const char *where; /* file:line of the row */
    const char
        *left_out; /* the backend that it needs and the build lacks; NULL if it can be made */
};

/* A class that has no mutant, and why not. */
struct omission {
    const char *fault, *reason;
};

struct mutant_list {
    struct mutant *rows;
    size_t n, cap;
    struct omission *omitted;
    size_t n_omitted, cap_omitted;
    struct arena arena;
};

/* Reads dir/(*).txt; errors name file and line. */
enum status mutants_read(struct mutant_list *out, const char *dir, struct err *e);
void mutants_free(struct mutant_list *l);
/* Every class of faults has a mutant or a reason, not both; names are unique. */
enum status mutants_check(const struct mutant_list *l, struct err *e);

/* The text with from replaced by to, malloc'd. White space is not compared. ST_FORMAT unless from
 * is there exactly once and the result is another. */
enum status mutant_edit(char **out, const char *text, const struct mutant *m, struct err *e);

/* What the build tells in mutants.json: where the sources are, how to compile and link. */
struct mutant_build {
    char *dir;          /* of the build */
    const char *source; /* the tree */
    json_t *config, *commands;
};

enum status mutant_build_open(struct mutant_build *b, const char *dir, struct err *e);
void mutant_build_close(struct mutant_build *b);
/* Sets left_out of every mutant of which the build does not compile a source, because that source
 * lies in the folder of a backend that the build lacks. The names belong to b. */
void mutants_leave_out(struct mutant_list *l, const struct mutant_build *b);
/* Makes the mutated program scratch/assay; from NULL: not mutated. ST_FORMAT if the row does not
 * fit the source, ST_IO if it does not compile: the log is scratch/log. */
enum status mutant_make(const struct mutant_build *b, const struct mutant *m, const char *scratch,
                        struct err *e);
void mutant_clean(const char *scratch);

/* Runs a shell command in dir, output to log; its exit status, or -1. */
int mutant_shell(const char *command, const char *log);

enum mutant_verdict {
    MUTANT_KILLED,
    MUTANT_SURVIVED,
    MUTANT_NO_ANCHOR,
    MUTANT_NOT_BUILT,
    MUTANT_NOT_RUN
};

struct mutant_result {
    enum mutant_verdict verdict;
    char killer[200];  /* first case that failed */
    char status[16];   /* its status */
    char message[600]; /* what it said, or why the mutant did not run */
    double used;       /* worst over the failing cases; NAN = not judged by a bound */
    size_t failed, cases;
    double seconds;
};

/* Runs the mutated program on cases, each filter after a blank and quoted for the shell, on the
 * mutant's subject; the exit status of `assay test`, or -1. The report is scratch/report.json. */
int mutant_test(const char *filters, const struct mutant *m, const char *scratch, const char *log);
const char *mutant_verdict_name(enum mutant_verdict v);
/* Makes and runs one mutant; one that is left out is MUTANT_NOT_RUN, and the message says why. */
void mutant_run(struct mutant_result *out, const struct mutant_build *b, const struct mutant *m,
                bool keep);

struct report;
void mutant_report(struct report *r, const struct mutant *m, const struct mutant_result *res);

#endif
