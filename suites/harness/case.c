/* Lists of cases, and the context in which one runs; see harness.h. */
#include "harness/harness.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void case_add(struct case_list *l, const struct test_case *c)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        struct test_case *grown = realloc(l->cases, cap * sizeof *grown);
        if (!grown) abort();
        l->cases = grown;
        l->cap = cap;
    }
    l->cases[l->n++] = *c;
}

const char *case_text(struct case_list *l, const char *fmt, ...)
{
    char buf[CASE_NAME];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof buf) n = sizeof buf - 1;
    return arena_strdup(&l->arena, buf, (size_t)n);
}

struct case_id case_id_of(const struct test_case *c)
{
    return (struct case_id){c->suite, c->op, c->type, c->shape, c->subject};
}

/* ---- the context of a case --------------------------------------------------------------- */

void *test_alloc(struct test *t, size_t count, size_t size)
{
    void *p = arena_alloc(&t->arena, count, size);
    if (!p) test_fail(t, "no memory for %zu x %zu bytes", count, size);
    return p;
}

static void message(struct test *t, enum case_status st, const char *fmt, va_list ap)
{
    if (!*t->result.message) vsnprintf(t->result.message, sizeof t->result.message, fmt, ap);
    if (t->result.status == CASE_PASS || t->result.status == CASE_MARGINAL) t->result.status = st;
}

void test_fail(struct test *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    message(t, CASE_FAIL, fmt, ap);
    va_end(ap);
}

void test_skip(struct test *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    message(t, CASE_SKIP, fmt, ap);
    va_end(ap);
}

bool test_check(struct test *t, bool cond, const char *fmt, ...)
{
    if (cond) return true;
    va_list ap;
    va_start(ap, fmt);
    message(t, CASE_FAIL, fmt, ap);
    va_end(ap);
    return false;
}

bool test_ok(struct test *t, enum status st, const struct err *e)
{
    if (st == ST_OK) return true;
    if (st == ST_NO_DEVICE || st == ST_UNSUPPORTED)
        test_skip(t, "%s", e->text);
    else
        test_fail(t, "%s", e->text);
    return false;
}
