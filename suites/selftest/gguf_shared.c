/* What the cases of the gguf suite share; see gguf_util.h. */
#include "selftest/gguf_shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

const char *container_vector_path(struct test *t, const char *kind, const char *name,
                                  const char *ending)
{
    size_t cap = strlen(t->options->vectors) + strlen(kind) + strlen(name) + strlen(ending) + 16;
    char *p = test_alloc(t, cap, 1);
    if (p) snprintf(p, cap, "%s/gguf/%s/%s.%s", t->options->vectors, kind, name, ending);
    return p;
}

static void describe_name(FILE *out, struct gguf_str s)
{
    if (s.len <= 200)
        fwrite(s.data, 1, s.len, out);
    else
        fprintf(out, "%zu:%08lx", s.len, crc32(0, (const Bytef *)s.data, (uInt)s.len));
}

static void describe_string(FILE *out, struct gguf_str s)
{
    if (s.len == 0) fputs(" -", out);
    for (size_t i = 0; i < s.len; i++) fprintf(out, "%s%02x", i ? "" : " ", (uint8_t)s.data[i]);
}

static void describe_number(FILE *out, struct gguf_kv *kv, uint64_t i)
{
    int64_t whole;
    double real;
    uint64_t bits;
    if (gguf_value_i64(kv, i, &whole)) {
        fprintf(out, " %lld", (long long)whole);
    } else if (gguf_value_f64(kv, i, &real)) {
        memcpy(&bits, &real, sizeof bits);
        fprintf(out, " %016llx", (unsigned long long)bits);
    } else {
        fputs(" unreadable", out);
    }
}

static bool describe_kv(FILE *out, struct gguf_kv *kv)
{
    fputs("kv ", out);
    describe_name(out, kv->key);
    if (kv->type == GGUF_ARRAY)
        fprintf(out, " array %s %llu", gguf_type_name(kv->elem), (unsigned long long)kv->count);
    else
        fprintf(out, " %s", gguf_type_name(kv->type));
    if (kv->elem == GGUF_STRING) {
        struct gguf_str *s = alloc_array((size_t)kv->count, sizeof *s);
        if (!s) return false;
        if (!gguf_value_strings(kv, s)) fputs(" unreadable", out);
        for (uint64_t i = 0; i < kv->count; i++) describe_string(out, s[i]);
        free(s);
    } else {
        for (uint64_t i = 0; i < kv->count; i++) describe_number(out, kv, i);
    }
    fputc('\n', out);
    return true;
}

static void describe_tensor(FILE *out, const struct gguf_tensor *x, bool header_only)
{
    fputs("tensor ", out);
    describe_name(out, x->name);
    fprintf(out, " %s ", x->type->name);
    if (x->n_dims == 0) fputs("scalar", out);
    for (uint32_t d = 0; d < x->n_dims; d++)
        fprintf(out, "%s%llu", d ? "x" : "", (unsigned long long)x->dims[d]);
    fprintf(out, " offset %llu bytes %zu", (unsigned long long)x->offset, x->bytes);
    if (!header_only) fprintf(out, " crc %08lx", crc32_z(0, x->data, x->bytes));
    fputc('\n', out);
}

char *container_describe(const struct gguf *g, bool header_only)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (!out) return NULL;
    if (header_only) fputs("header only\n", out);
    fprintf(out, "version %u\nalignment %llu\n", g->version, (unsigned long long)g->alignment);
    bool ok = true;
    for (size_t i = 0; i < g->n_kv && ok; i++) ok = describe_kv(out, &g->kv[i]);
    for (size_t i = 0; i < g->n_tensors; i++) describe_tensor(out, &g->tensors[i], header_only);
    if (fclose(out) == 0 && ok) return text;
    free(text);
    return NULL;
}

static bool same_str(struct gguf_str a, struct gguf_str b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    return n == 0 || memcmp(a, b, n) == 0;
}

void container_check_same(struct test *t, const struct gguf *want, const struct gguf *got)
{
    test_check(t, got->alignment == want->alignment, "alignment %llu, want %llu",
               (unsigned long long)got->alignment, (unsigned long long)want->alignment);
    if (!test_check(t, got->n_kv == want->n_kv && got->n_tensors == want->n_tensors,
                    "%zu keys and %zu tensors, want %zu and %zu", got->n_kv, got->n_tensors,
                    want->n_kv, want->n_tensors))
        return;
    for (size_t i = 0; i < want->n_kv; i++) {
        const struct gguf_kv *a = &want->kv[i], *b = &got->kv[i];
        bool same = same_str(a->key, b->key) && a->type == b->type && a->elem == b->elem &&
                    a->count == b->count && a->bytes == b->bytes &&
                    same_bytes(a->data, b->data, a->bytes);
        test_check(t, same, "key %zu (%.*s) differs", i, (int)a->key.len, a->key.data);
    }
    for (size_t i = 0; i < want->n_tensors; i++) {
        const struct gguf_tensor *a = &want->tensors[i], *b = &got->tensors[i];
        bool same = same_str(a->name, b->name) && a->type == b->type && a->n_dims == b->n_dims &&
                    memcmp(a->dims, b->dims, sizeof a->dims) == 0 && a->bytes == b->bytes &&
                    same_bytes(a->data, b->data, a->bytes);
        test_check(t, same, "tensor %zu (%.*s) differs", i, (int)a->name.len, a->name.data);
    }
}

struct gguf_writer *container_rewrite(struct test *t, const struct gguf *g)
{
    struct err e = {0};
    struct gguf_writer *w;
    enum status st = gguf_writer_open(&w, &e);
    for (size_t i = 0; i < g->n_kv && !st; i++) st = gguf_put_kv(w, &g->kv[i], &e);
    for (size_t i = 0; i < g->n_tensors && !st; i++) {
        const struct gguf_tensor *x = &g->tensors[i];
        char name[GGUF_MAX_NAME + 1] = "";
        memcpy(name, x->name.data, x->name.len);
        st = gguf_put_tensor(w, name, x->type->id, x->n_dims, x->dims, x->data, &e);
    }
    if (test_ok(t, st, &e)) return w;
    gguf_writer_close(w);
    return NULL;
}

void container_check_message(struct test *t, const struct err *e)
{
    test_check(t, e->st != ST_OK && *e->text, "refused without a message");
    test_check(t, strchr(e->text, '\n') == NULL, "the message has more than one line: %s", e->text);
}
