/* Suite gguf, models split into several files: made in a temporary directory, right ones and ones
 * with a single flaw each. */
#include "harness/files.h"
#include "selftest/gguf_shared.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PARTS = 3 };

/* What is wrong with the files, or with the way they are opened. */
enum flaw {
    FLAW_NONE,
    FLAW_GZIP,
    FLAW_ALIGNMENT, /* these must be read */
    FLAW_NUMBER,
    FLAW_FIRST_NUMBER,
    FLAW_COUNT,
    FLAW_PART_COUNT,
    FLAW_TOTAL,
    FLAW_NO_TOTAL,
    FLAW_NO_KEYS,
    FLAW_DUPLICATE,
    FLAW_MISSING,
    FLAW_SECOND,
    FLAW_RENAMED,
    FLAW_DAMAGED,
};

static const struct split_row {
    const char *name;
    enum flaw flaw;
    const char *says; /* in the refusal; NULL = must be read */
} split_rows[] = {
    {"plain", FLAW_NONE, NULL},
    {"compressed", FLAW_GZIP, NULL},
    {"part-alignment", FLAW_ALIGNMENT, NULL},
    {"wrong-number", FLAW_NUMBER, "split.no is 7, where 1 is expected"},
    {"wrong-first-number", FLAW_FIRST_NUMBER, "split.no is 1 in the first file"},
    {"wrong-count", FLAW_COUNT, "the name says 3 files, split.count says 4"},
    {"wrong-part-count", FLAW_PART_COUNT, "split.count is 4, where 3 is expected"},
    {"wrong-total", FLAW_TOTAL, "split.tensors.count is 36, the 3 files hold 35 tensors"},
    {"no-total", FLAW_NO_TOTAL, "split.tensors.count"},
    {"no-keys", FLAW_NO_KEYS, "the name says 3 files, split.count says 1"},
    {"duplicate-name", FLAW_DUPLICATE, "my_tensor_0 is there already, in file 1"},
    {"missing-part", FLAW_MISSING, "m-00002-of-00003.gguf: No such file"},
    {"second-part", FLAW_SECOND, "is file 2 of 3"},
    {"renamed", FLAW_RENAMED, "the name does not end in -00001-of-00003.gguf"},
    {"damaged-part", FLAW_DAMAGED, "m-00003-of-00003.gguf: byte 0: not a GGUF file"},
};

static enum status put_integer(struct gguf_writer *w, const char *key, enum gguf_type type,
                               size_t v, struct err *e)
{
    uint8_t b[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};
    struct gguf_kv kv = {.key = {key, strlen(key)},
                         .type = type,
                         .elem = type,
                         .count = 1,
                         .data = b,
                         .bytes = gguf_type_size(type)};
    return gguf_put_kv(w, &kv, e);
}

static enum status put_split_keys(struct gguf_writer *w, enum flaw flaw, size_t part,
                                  size_t n_tensors, struct err *e)
{
    if (flaw == FLAW_NO_KEYS) return ST_OK;
    size_t no = part, count = PARTS, total = n_tensors;
    if (flaw == FLAW_NUMBER && part == 1) no = 7;
    if (flaw == FLAW_FIRST_NUMBER && part == 0) no = 1;
    if (flaw == FLAW_COUNT || (flaw == FLAW_PART_COUNT && part == 1)) count = 4;
    if (flaw == FLAW_TOTAL) total++;
    enum status st = put_integer(w, "split.no", GGUF_U16, no, e);
    if (!st) st = put_integer(w, "split.count", GGUF_U16, count, e);
    if (!st && flaw != FLAW_NO_TOTAL)
        st = put_integer(w, "split.tensors.count", GGUF_I32, total, e);
    return st;
}

static enum status put_tensors(struct gguf_writer *w, const struct gguf *g, enum flaw flaw,
                               size_t part, struct err *e)
{
    enum status st = ST_OK;
    size_t begin = part * g->n_tensors / PARTS, end = (part + 1) * g->n_tensors / PARTS;
    for (size_t i = begin; i < end && !st; i++) {
        const struct gguf_tensor *x = &g->tensors[i];
        char name[GGUF_MAX_NAME + 1] = "";
        memcpy(name, x->name.data, x->name.len);
        if (flaw == FLAW_DUPLICATE && part == 2 && i == begin) strcpy(name, "my_tensor_0");
        st = gguf_put_tensor(w, name, x->type->id, x->n_dims, x->dims, x->data, e);
    }
    return st;
}

static enum status write_part(const char *path, const struct gguf *g, enum flaw flaw, size_t part,
                              struct err *e)
{
    struct gguf_writer *w;
    enum status st = gguf_writer_open(&w, e);
    if (st) return st;
    st = put_split_keys(w, flaw, part, g->n_tensors, e);
    if (!st && flaw == FLAW_ALIGNMENT && part == 1)
        st = gguf_put_u32(w, "general.alignment", 256, e);
    if (!st) st = gguf_put_str(w, part ? "only.part" : "only.first", "here", e);
    if (!st) st = put_tensors(w, g, flaw, part, e);
    if (!st) st = gguf_writer_save(w, path, flaw == FLAW_GZIP, e);
    gguf_writer_close(w);
    return st;
}

static const char *part_path(struct test *t, const char *dir, enum flaw flaw, size_t part)
{
    char name[64];
    snprintf(name, sizeof name, "m-%05zu-of-%05d.gguf%s", part + 1, (int)PARTS,
             flaw == FLAW_GZIP ? ".gz" : "");
    return dir_path(t, dir, name);
}

/* The path to open, or NULL after failing the case. */
static const char *write_parts(struct test *t, const char *dir, const struct gguf *g,
                               enum flaw flaw)
{
    struct err e = {0};
    const char *paths[PARTS];
    for (size_t i = 0; i < PARTS; i++) {
        paths[i] = part_path(t, dir, flaw, i);
        if (!paths[i] || !test_ok(t, write_part(paths[i], g, flaw, i, &e), &e)) return NULL;
    }
    if (flaw == FLAW_MISSING) unlink(paths[1]);
    if (flaw == FLAW_SECOND) return paths[1];
    if (flaw == FLAW_RENAMED) {
        const char *other = dir_path(t, dir, "model.gguf");
        return other && test_check(t, rename(paths[0], other) == 0, "rename") ? other : NULL;
    }
    if (flaw == FLAW_DAMAGED) {
        struct file_writer *w;
        enum status st = file_create(&w, paths[2], &e);
        if (!st) st = file_write(w, "not GGUF", 8, &e);
        if (!st) st = file_commit(w, &e);
        if (!test_ok(t, st, &e)) return NULL;
    }
    return paths[0];
}

static void check_parts(struct test *t, const struct gguf *want, const struct gguf *got)
{
    test_check(t, gguf_find(got, "only.first") && !gguf_find(got, "only.part"),
               "metadata is not that of the first file");
    test_check(t, got->n_files == PARTS, "%zu files, want %d", got->n_files, (int)PARTS);
    if (!test_check(t, got->n_tensors == want->n_tensors, "%zu tensors, want %zu", got->n_tensors,
                    want->n_tensors))
        return;
    for (size_t i = 0; i < want->n_tensors; i++) {
        const struct gguf_tensor *a = &want->tensors[i], *b;
        char name[GGUF_MAX_NAME + 1] = "";
        memcpy(name, a->name.data, a->name.len);
        b = gguf_find_tensor(got, name);
        if (!test_check(t, b != NULL, "%s is not found", name)) continue;
        size_t part = 0;
        while ((part + 1) * want->n_tensors / PARTS <= i) part++;
        test_check(t, b->part == part, "%s is in file %u, want %zu", name, b->part, part);
        test_check(t,
                   b->type == a->type && b->bytes == a->bytes &&
                       memcmp(a->data, b->data, a->bytes) == 0,
                   "%s differs", name);
        t->result.total++;
    }
}

static void check_split(struct test *t, const struct split_row *row, const char *path,
                        const struct gguf *g)
{
    struct err e = {0};
    struct gguf got;
    enum status st = gguf_open(&got, path, &e);
    if (!row->says) {
        if (!test_ok(t, st, &e)) return;
        check_parts(t, g, &got);
        gguf_close(&got);
        return;
    }
    if (!test_check(t, st != ST_OK, "accepted")) {
        gguf_close(&got);
        return;
    }
    container_check_message(t, &e);
    test_check(t, strstr(e.text, row->says) != NULL, "says \"%s\", want \"%s\"", e.text, row->says);
}

static void run_split(struct test *t, const struct test_case *c)
{
    const struct split_row *row = c->arg;
    const char *source = container_vector_path(t, "valid", "data-success", "gguf");
    struct err e = {0};
    struct gguf g;
    if (!source || !test_ok(t, gguf_open(&g, source, &e), &e)) return;
    const char *dir = temp_dir(t);
    const char *path = dir ? write_parts(t, dir, &g, row->flaw) : NULL;
    if (path) check_split(t, row, path, &g);
    if (dir) temp_remove(dir);
    gguf_close(&g);
}

void container_collect_split(struct case_list *l)
{
    for (size_t i = 0; i < sizeof split_rows / sizeof *split_rows; i++) {
        struct test_case c = {.suite = "gguf",
                              .op = "split",
                              .shape = split_rows[i].name,
                              .quick = true,
                              .run = run_split,
                              .arg = &split_rows[i]};
        case_add(l, &c);
    }
}
