/* Answers the reference's questions from a GGUF container. */
#include "models/source.h"

#include <stdio.h>
#include <string.h>

static bool get_tensor(void *ctx, const char *name, struct ref_tensor *out)
{
    const struct gguf_tensor *t = gguf_find_tensor(ctx, name);
    if (!t || !t->data) return false;
    *out = (struct ref_tensor){.type = t->type->id, .data = t->data};
    memcpy(out->dims, t->dims, sizeof out->dims);
    return true;
}

/* Reading does not count as use: a copy of the entry takes the mark. */
static bool get_number_at(void *ctx, const char *key, size_t i, double *out)
{
    const struct gguf_kv *found = gguf_find(ctx, key);
    if (!found || i >= found->count) return false;
    struct gguf_kv kv = *found;
    return gguf_value_f64(&kv, i, out);
}

static bool get_number(void *ctx, const char *key, double *out)
{
    const struct gguf_kv *kv = gguf_find(ctx, key);
    return kv && kv->type != GGUF_ARRAY && get_number_at(ctx, key, 0, out);
}

static bool get_text(void *ctx, const char *key, char *out, size_t cap)
{
    const struct gguf_kv *found = gguf_find(ctx, key);
    struct gguf_str s;
    if (!found || found->type != GGUF_STRING) return false;
    struct gguf_kv kv = *found;
    if (!gguf_value_strings(&kv, &s)) return false;
    snprintf(out, cap, "%.*s", (int)s.len, s.data);
    return true;
}

struct ref_source source_of(const struct gguf *g)
{
    return (struct ref_source){.ctx = (void *)(uintptr_t)g,
                               .tensor = get_tensor,
                               .number = get_number,
                               .number_at = get_number_at,
                               .text = get_text};
}

enum status source_open(struct ref_model **out, const struct gguf *g, struct err *e)
{
    struct ref_source s = source_of(g);
    struct ref_err why = {{0}, false};
    if (ref_model_open(out, &s, &why)) return ST_OK;
    return fail(e, why.unsupported ? ST_UNSUPPORTED : ST_FORMAT, "%s", why.text);
}
