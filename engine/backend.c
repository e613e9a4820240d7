/* The registry: which backends this program was built with (the rows of engine/backends.def), and
 * opening one by name. */
#include "engine/backend.h"
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#define BACKEND(name, ops, built, needs) extern const struct backend_ops ops;
#include "engine/backends.def"
#undef BACKEND

/* The address of a backend's operations if it is built, NULL if not. */
#define OPS_IF_0(ops)       NULL
#define OPS_IF_1(ops)       &ops
#define OPS_IF_(built, ops) OPS_IF_##built(ops)
#define OPS_IF(built, ops)  OPS_IF_(built, ops)

static const struct known {
    const char *name;
    const struct backend_ops *ops; /* NULL: left out of this build */
    const char *missing;           /* what a build without the backend lacked */
} known[] = {
#define BACKEND(name, ops, built, needs) {name, OPS_IF(built, ops), needs},
#include "engine/backends.def"
#undef BACKEND
};

enum { N_KNOWN = sizeof known / sizeof *known };

const struct backend_ops *backend_at(size_t i)
{
    for (size_t k = 0; k < N_KNOWN; k++) {
        if (known[k].ops && i-- == 0) return known[k].ops;
    }
    return NULL;
}

const char *backend_name_at(size_t i)
{
    return i < N_KNOWN ? known[i].name : NULL;
}

void backend_names(char *buf, size_t cap)
{
    size_t n = 0;
    for (size_t k = 0; k < N_KNOWN && n < cap; k++)
        n += (size_t)snprintf(buf + n, cap - n, "%s%s", k ? ", " : "", known[k].name);
}

/* The row of the first len characters of name. */
static const struct known *find(const char *name, size_t len)
{
    for (size_t k = 0; k < N_KNOWN; k++) {
        if (strlen(known[k].name) == len && memcmp(known[k].name, name, len) == 0) return &known[k];
    }
    return NULL;
}

const struct backend_ops *backend_by_name(const char *name)
{
    const struct known *k = find(name, strlen(name));
    return k ? k->ops : NULL;
}

const struct backend_ops *backend_of_spec(const char *spec)
{
    const struct known *k = find(spec, strcspn(spec, ":+"));
    return k ? k->ops : NULL;
}

/* True if the first len characters of word are in a list as in struct backend_ops. */
static bool is_word(const char *list, const char *word, size_t len)
{
    for (size_t n; *list; list += n + (list[n] == ' ')) {
        n = strcspn(list, " ");
        const bool takes_more = list[n - 1] == '=' || list[n - 1] == '-';
        if ((takes_more ? len > n : len == n) && memcmp(list, word, n) == 0) return true;
    }
    return false;
}

enum status backend_check(const char *spec, struct err *e)
{
    const size_t len = strcspn(spec, ":+");
    const struct known *k = find(spec, len);
    if (!k) {
        char names[128];
        backend_names(names, sizeof names);
        return fail(e, ST_USAGE, "no backend is called '%.*s' (%s)", (int)len, spec, names);
    }
    const char *at = spec + len;
    if (*at == ':') {
        const size_t digits = strspn(at + 1, "0123456789");
        if (digits == 0 || (at[1 + digits] && at[1 + digits] != '+'))
            return fail(e, ST_USAGE, "'%s': the device after ':' is a number", spec);
        at += 1 + digits;
    }
    while (*at == '+') {
        const size_t n = strcspn(++at, "+");
        if (k->ops && !is_word(k->ops->words, at, n))
            return fail(e, ST_USAGE, "%s has no kernels called '%.*s'; known: %s", k->name, (int)n,
                        at, k->ops->words);
        at += n;
    }
    return ST_OK;
}

enum status backend_open(struct backend **out, const char *spec, const struct backend_options *o,
                         struct err *e)
{
    struct backend_options options = o ? *o : (struct backend_options){0};
    *out = NULL;
    enum status st = backend_check(spec, e);
    if (st) return st;
    const size_t len = strcspn(spec, ":+");
    const struct known *k = find(spec, len);
    if (!k->ops) {
        return fail(e, ST_NO_DEVICE, "%s: left out of this build (%s)", k->name, k->missing);
    }
    char device[16];
    const char *words = strchr(spec, '+');
    if (words) options.variant = words + 1;
    if (spec[len] == ':') {
        const size_t digits = strspn(spec + len + 1, "0123456789");
        if (digits >= sizeof device) return fail(e, ST_NO_DEVICE, "no device %s", spec + len + 1);
        memcpy(device, spec + len + 1, digits);
        device[digits] = '\0';
        options.device = device;
    }
    return k->ops->open(out, &options, e);
}

void backend_close(struct backend *b)
{
    if (b) backend_ops_of(b)->close(b);
}

enum status engine_backend_open(struct backend **out, const char *name, int n_threads,
                                struct err *e)
{
    return backend_open(out, name, &(struct backend_options){.n_threads = n_threads}, e);
}

void engine_backend_close(struct backend *b)
{
    backend_close(b);
}
