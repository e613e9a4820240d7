/* Opening subjects by name, once per process. */
#include "subject/subject.h"
#include "engine/engine.h"
#include "reference/ref.h"
#include "subject/plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_OPEN = 16 };

static struct open_subject {
    char name[SUBJECT_NAME];
    struct subject subject;
    const struct subject_kind *kind;
    struct err why; /* of a failed opening */
} opened[MAX_OPEN];
static size_t n_opened;
static int n_threads;

enum { MAX_KINDS = 4 };
static const struct subject_kind *kinds[MAX_KINDS] = {&plugin_kind};
static size_t n_kinds = 1;

void subject_kind_add(const struct subject_kind *k)
{
    if (n_kinds < MAX_KINDS) kinds[n_kinds++] = k;
}

static const struct subject_kind *kind_of(const char *name)
{
    const size_t n = strcspn(name, ":");
    for (size_t i = 0; i < n_kinds; i++)
        if (name[n] && strlen(kinds[i]->prefix) == n && strncmp(kinds[i]->prefix, name, n) == 0)
            return kinds[i];
    return NULL;
}

enum status subject_check(const char *name, struct err *e)
{
    const size_t n = strcspn(name, ":+");
    const char *known;
    if (strcmp(name, "reference") == 0 || kind_of(name)) return ST_OK;
    for (size_t i = 0; (known = backend_name_at(i)); i++)
        if (strlen(known) == n && strncmp(known, name, n) == 0) return backend_check(name, e);
    char names[128];
    backend_names(names, sizeof names);
    return fail(e, ST_USAGE,
                "unknown subject '%s' (known: reference, %s, plugin:FILE.so; NAME:N chooses a "
                "device, NAME+WORD forces kernels)",
                name, names);
}

enum status subjects_check(const char *list, struct err *e)
{
    char name[SUBJECT_NAME];
    enum status st = ST_OK;
    for (size_t i = 0; !st && list && subject_name_at(list, i, name, sizeof name); i++)
        st = subject_check(name, e);
    return st;
}

bool subjects_foreign(const char *list)
{
    char name[SUBJECT_NAME];
    for (size_t i = 0; list && subject_name_at(list, i, name, sizeof name); i++)
        if (kind_of(name)) return true;
    return false;
}

const char *subject_name_at(const char *list, size_t i, char *buf, size_t cap)
{
    if (!list || strcmp(list, "all") == 0) {
        const struct backend_ops *b = backend_at(i);
        if (!b) return NULL;
        snprintf(buf, cap, "%s", b->name);
        return buf;
    }
    for (; i > 0; i--) {
        list = strchr(list, ',');
        if (!list) return NULL;
        list++;
    }
    if (!*list) return NULL;
    snprintf(buf, cap, "%.*s", (int)strcspn(list, ","), list);
    return buf;
}

static enum status reference_decode(void *ctx, enum tensor_type t, const uint8_t *blocks, size_t n,
                                    float *out, struct err *e)
{
    (void)ctx;
    if (ref_decode(t, blocks, n, out)) return ST_OK;
    return fail(e, ST_UNSUPPORTED, "the reference has no decoder for type id %d", (int)t);
}

enum status subject_open(const struct subject **out, const char *name, struct err *e)
{
    for (size_t i = 0; i < n_opened; i++) {
        if (strcmp(opened[i].name, name) != 0) continue;
        if (opened[i].why.st != ST_OK) return fail(e, opened[i].why.st, "%s", opened[i].why.text);
        *out = &opened[i].subject;
        return ST_OK;
    }
    if (n_opened == MAX_OPEN) return fail(e, ST_USAGE, "more than %d subjects at once", MAX_OPEN);
    struct open_subject *s = &opened[n_opened++];
    *s = (struct open_subject){.subject = {.ctx = NULL}};
    snprintf(s->name, sizeof s->name, "%s", name);
    s->subject.name = s->name;
    if (strcmp(name, "reference") == 0) {
        s->subject.decode = reference_decode;
    } else if ((s->kind = kind_of(name)) != NULL) {
        if (s->kind->open(&s->subject, strchr(name, ':') + 1, &s->why) != ST_OK)
            return fail(e, s->why.st, "%s", s->why.text);
    } else {
        if (engine_backend_open(&s->subject.backend, name, n_threads, &s->why) != ST_OK)
            return fail(e, s->why.st, "%s", s->why.text);
    }
    *out = &s->subject;
    return ST_OK;
}

void subjects_threads(int n)
{
    n_threads = n;
    ref_set_threads(n);
}

void subjects_close(void)
{
    for (size_t i = 0; i < n_opened; i++) {
        if (opened[i].why.st != ST_OK) continue;
        if (opened[i].kind)
            opened[i].kind->close(&opened[i].subject);
        else if (opened[i].subject.backend)
            backend_close(opened[i].subject.backend);
    }
    n_opened = 0;
}

/* Decoding through get_rows: the blocks are a matrix of one row. */
static enum status decode_by_rows(struct backend *b, enum tensor_type t, const uint8_t *blocks,
                                  size_t n, float *out, struct err *e)
{
    const struct backend_ops *ops = backend_ops_of(b);
    if (!ops->get_rows) return fail(e, ST_UNSUPPORTED, "get_rows is not supported");
    struct dbuf *w = NULL, *ids = NULL, *y = NULL;
    static const int32_t zero = 0;
    enum status st = ops->import(b, blocks, type_bytes(type_by_id(t), n), &w, e);
    if (st == ST_OK) st = ops->alloc(b, sizeof zero, &ids, e);
    if (st == ST_OK) st = ops->alloc(b, n * sizeof *out, &y, e);
    if (st == ST_OK) st = ops->upload(b, (struct view){ids, 0}, &zero, sizeof zero, e);
    struct op_get_rows a = {
        .w = {{w, 0}, t, (uint32_t)n, 1}, .ids = {ids, 0}, .out = {y, 0}, .n = 1};
    if (st == ST_OK) st = ops->get_rows(b, &a, e);
    if (st == ST_OK) st = ops->download(b, out, (struct view){y, 0}, n * sizeof *out, e);
    ops->release(b, w);
    ops->release(b, ids);
    ops->release(b, y);
    return st;
}

enum status subject_decode(const struct subject *s, enum tensor_type t, const uint8_t *blocks,
                           size_t n, float *out, struct err *e)
{
    if (s->decode) return s->decode(s->ctx, t, blocks, n, out, e);
    if (s->backend) return decode_by_rows(s->backend, t, blocks, n, out, e);
    return fail(e, ST_UNSUPPORTED, "%s does not decode", s->name);
}
