/* Opening GGUF files by name: plain, gzip-compressed, and models split into several files. */
#include "engine/gguf/gguf_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NAME-00001-of-00003.gguf (or .gguf.gz): which file of how many, and where the digits are. */
struct part_name {
    size_t number_at; /* of the five digits */
    unsigned part, total;
};

static bool five_digits(const char *s, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 5; i++) {
        if (s[i] < '0' || s[i] > '9') return false;
        *out = *out * 10 + (unsigned)(s[i] - '0');
    }
    return true;
}

static bool parse_part_name(const char *path, struct part_name *out)
{
    static const char pattern[] = "-00000-of-00000";
    size_t len = strlen(path), tail = sizeof pattern - 1;
    if (len >= 3 && strcmp(path + len - 3, ".gz") == 0) len -= 3;
    if (len < 5 + tail || memcmp(path + len - 5, ".gguf", 5) != 0) return false;
    const char *p = path + len - 5 - tail;
    if (p[0] != '-' || memcmp(p + 6, "-of-", 4) != 0) return false;
    out->number_at = (size_t)(p + 1 - path);
    return five_digits(p + 1, &out->part) && five_digits(p + 10, &out->total) && out->part >= 1 &&
           out->part <= out->total;
}

/* An integer key that may be absent: *out keeps its value then. */
static enum status optional_i64(const struct gguf *g, const char *key, int64_t *out, struct err *e)
{
    return gguf_find(g, key) ? gguf_get_i64(g, key, out, e) : ST_OK;
}

/* The keys and the name of the first file must tell the same story. *total is 1 if it is whole. */
static enum status check_first(const struct gguf *g, const char *path, struct part_name *name,
                               unsigned *total, struct err *e)
{
    bool named = parse_part_name(path, name);
    int64_t no = 0, count = 1;
    enum status st = optional_i64(g, "split.count", &count, e);
    if (!st) st = optional_i64(g, "split.no", &no, e);
    if (st) return st;
    if (count <= 1 && (!named || name->total == 1)) {
        *total = 1;
        return ST_OK;
    }
    if (!named)
        return fail(e, ST_FORMAT,
                    "split.count is %lld, but the name does not end in -00001-of-%05lld.gguf",
                    (long long)count, (long long)count);
    if (count != name->total)
        return fail(e, ST_FORMAT, "the name says %u files, split.count says %lld", name->total,
                    (long long)count);
    if (name->part != 1)
        return fail(e, ST_FORMAT, "is file %u of %u of a split model: open the first one",
                    name->part, name->total);
    if (no != 0)
        return fail(e, ST_FORMAT, "split.no is %lld in the first file, where 0 is expected",
                    (long long)no);
    *total = name->total;
    return ST_OK;
}

static enum status open_one(struct gguf *g, struct file *f, const char *path, struct err *e)
{
    enum status st = file_open(f, path, e);
    if (st) return st;
    struct err local = {0};
    st = gguf_parse(g, f->bytes, false, &local);
    if (!st) return ST_OK;
    file_close(f);
    return fail(e, st, "%s: %s", path, local.text);
}

/* Puts the tensors of part i behind those that g has. Names and data stay in the part's file. */
static enum status append_part(struct gguf *g, const struct gguf *part, unsigned i, struct err *e)
{
    size_t total, n = g->n_tensors;
    struct gguf_tensor *all = NULL;
    if (add_size(n, part->n_tensors, &total)) all = arena_alloc(&g->arena, total, sizeof *all);
    if (!all) return fail(e, ST_NOMEM, "no memory for %zu more tensors", part->n_tensors);
    memcpy(all, g->tensors, n * sizeof *all);
    for (size_t k = 0; k < part->n_tensors; k++) {
        struct gguf_tensor *t = &all[n + k];
        *t = part->tensors[k];
        t->part = i;
        size_t first = n + k;
        bool found;
        if (!gguf_index_add(g->name_index, t->name, &first, &found))
            return fail(e, ST_NOMEM, "no memory for an index of %zu tensors", total);
        if (found)
            return fail(e, ST_FORMAT, "tensor name %.*s is there already, in file %u",
                        gguf_show(t->name), t->name.data, all[first].part + 1);
    }
    g->tensors = all;
    g->n_tensors = total;
    return ST_OK;
}

static enum status check_part(const struct gguf *part, unsigned i, unsigned total, struct err *e)
{
    int64_t no, count = total;
    enum status st = gguf_get_i64(part, "split.no", &no, e);
    if (!st) st = optional_i64(part, "split.count", &count, e);
    if (!st && no != i)
        st = fail(e, ST_FORMAT, "split.no is %lld, where %u is expected", (long long)no, i);
    if (!st && count != total)
        st = fail(e, ST_FORMAT, "split.count is %lld, where %u is expected", (long long)count,
                  total);
    return st;
}

static enum status open_part(struct gguf *g, const char *path, unsigned i, unsigned total,
                             struct err *e)
{
    struct gguf part;
    enum status st = open_one(&part, &g->files[i], path, e);
    if (st) return st;
    g->n_files++;
    struct err local = {0};
    st = check_part(&part, i, total, &local);
    if (!st) st = append_part(g, &part, i, &local);
    gguf_close(&part);
    return st ? fail(e, st, "%s: %s", path, local.text) : ST_OK;
}

static enum status open_rest(struct gguf *g, const char *path, const struct part_name *name,
                             struct err *e)
{
    int64_t expected;
    struct err local = {0};
    if (gguf_get_i64(g, "split.tensors.count", &expected, &local))
        return fail(e, local.st, "%s: %s", path, local.text);

    size_t len = strlen(path);
    char *other = malloc(len + 1);
    if (!other) return fail(e, ST_NOMEM, "%s: no memory", path);
    enum status st = ST_OK;
    for (unsigned i = 1; i < name->total && !st; i++) {
        memcpy(other, path, len + 1);
        char digits[16];
        snprintf(digits, sizeof digits, "%05u", i + 1);
        memcpy(other + name->number_at, digits, 5);
        st = open_part(g, other, i, name->total, e);
    }
    free(other);
    if (!st && (expected < 0 || (uint64_t)expected != g->n_tensors))
        st = fail(e, ST_FORMAT, "%s: split.tensors.count is %lld, the %u files hold %zu tensors",
                  path, (long long)expected, name->total, g->n_tensors);
    return st;
}

enum status gguf_open(struct gguf *out, const char *path, struct err *e)
{
    struct file first;
    enum status st = open_one(out, &first, path, e);
    if (st) {
        *out = (struct gguf){0};
        return st;
    }
    struct part_name name = {0};
    unsigned total = 1;
    struct err local = {0};
    st = check_first(out, path, &name, &total, &local);
    if (st) fail(e, st, "%s: %s", path, local.text);
    struct file *files = st ? NULL : arena_alloc(&out->arena, total, sizeof *files);
    if (!st && !files) st = fail(e, ST_NOMEM, "%s: no memory for %u files", path, total);
    if (st) {
        gguf_close(out);
        file_close(&first);
        return st;
    }
    files[0] = first;
    out->files = files;
    out->n_files = 1;
    if (total > 1) st = open_rest(out, path, &name, e);
    if (st) gguf_close(out);
    return st;
}
