/* The test harness: cases, the context they run in, and what they leave behind. A suite collects
 * its cases; the harness filters, runs and reports them. A case is named
 * suite.op.type.shape.subject (absent parts left out). */
#ifndef HARNESS_H
#define HARNESS_H

#include "engine/base/base.h"
#include "reports/case.h"
#include "spec/spec.h"

struct subject;
struct test;

struct test_case {
    const char *suite;                       /* "decode" */
    const char *op, *type, *shape, *subject; /* NULL = absent; strings live as long as the list */
    bool quick;                              /* part of the developer's loop */
    void (*run)(struct test *t, const struct test_case *c);
    const void *arg; /* of the suite */
    size_t index;    /* of the suite */
};

/* Grows as suites add to it. Strings made for a case come from case_text. */
struct case_list {
    struct test_case *cases;
    size_t n, cap;
    struct arena arena;
    const struct test_options *options;
};
void case_add(struct case_list *l, const struct test_case *c);
struct case_id case_id_of(const struct test_case *c);
const char *case_text(struct case_list *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

struct test_options {
    const char *vectors;  /* directory of golden data */
    const char *subjects; /* comma list, or NULL = all that this build knows */
    const char *ggml;     /* directory of libggml-base.so, or NULL = $ASSAY_GGML */
    uint64_t seed;
    bool quick_only;
};

/* One run of one case. */
struct test {
    const struct test_options *options;
    struct arena arena; /* freed after the case */
    uint64_t seed;      /* of this case: depends on options->seed and the case's name only */
    struct case_result result;
};
/* Zeroed memory until the case ends; running out of memory fails the case and returns NULL. */
void *test_alloc(struct test *t, size_t count, size_t size);
/* Records why; the first one wins. test_check returns cond. */
void test_fail(struct test *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void test_skip(struct test *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool test_check(struct test *t, bool cond, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Fails with the error's text, or skips if there is no device or the thing is not supported; true
 * if st is ST_OK. */
bool test_ok(struct test *t, enum status st, const struct err *e);

/* A suite: its name, with which the names of its cases begin; whether it judges Assay itself, not a
 * subject; and a function that adds its cases to the list. */
struct suite {
    const char *name;
    bool self;
    void (*collect)(struct case_list *l);
};

#endif
