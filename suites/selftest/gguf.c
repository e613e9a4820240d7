/* Suite gguf: the container reader against files that must and files that must not be read, files
 * cut at every byte, damaged files, and what the writer makes. */
#include "selftest/selftest.h"
#include "harness/fence.h"
#include "harness/files.h"
#include "selftest/gguf_shared.h"
#include "harness/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files that must be read ------------------------------------------------------------- */

/* The first line in which the texts differ. */
static void check_text(struct test *t, const char *want, const char *got)
{
    for (size_t line = 1;; line++) {
        int a = (int)strcspn(want, "\n"), b = (int)strcspn(got, "\n");
        if (a != b || memcmp(want, got, (size_t)a) != 0) {
            test_fail(t, "line %zu: read \"%.*s\", want \"%.*s\"", line, b < 200 ? b : 200, got,
                      a < 200 ? a : 200, want);
            return;
        }
        if (!want[a] && !got[b]) return;
        want += a + (want[a] == '\n');
        got += b + (got[b] == '\n');
    }
}

static char *read_text(struct test *t, const char *path)
{
    struct err e = {0};
    struct file f;
    if (!test_ok(t, file_open(&f, path, &e), &e)) return NULL;
    char *s = arena_strdup(&t->arena, (const char *)f.bytes.data, f.bytes.size);
    file_close(&f);
    test_check(t, s != NULL, "no memory");
    return s;
}

static bool is_header_only(const char *expected)
{
    return strncmp(expected, "header only\n", 12) == 0;
}

static void run_valid(struct test *t, const struct test_case *c)
{
    const char *path = container_vector_path(t, "valid", c->arg, "gguf");
    const char *expected = container_vector_path(t, "valid", c->arg, "txt");
    char *want = path && expected ? read_text(t, expected) : NULL;
    if (!want) return;
    bool header_only = is_header_only(want);
    struct err e = {0};
    struct file f = {0};
    struct gguf g;
    enum status st = header_only ? file_open(&f, path, &e) : gguf_open(&g, path, &e);
    if (header_only && !st) st = gguf_parse(&g, f.bytes, true, &e);
    if (test_ok(t, st, &e)) {
        char *got = container_describe(&g, header_only);
        if (test_check(t, got != NULL, "no memory for a description")) check_text(t, want, got);
        free(got);
        gguf_close(&g);
    }
    file_close(&f);
}

/* ---- files that must be refused ---------------------------------------------------------- */

/* The text behind NAME and a tabulator in messages.tsv. */
static const char *expected_message(char *rows, const char *name)
{
    size_t len = strlen(name);
    for (char *row = rows; *row;) {
        char *end = row + strcspn(row, "\n"), *next = end + (*end == '\n');
        if ((size_t)(end - row) > len && memcmp(row, name, len) == 0 && row[len] == '\t') {
            *end = '\0';
            return row + len + 1;
        }
        row = next;
    }
    return NULL;
}

static void run_invalid(struct test *t, const struct test_case *c)
{
    const char *path = container_vector_path(t, "invalid", c->arg, "gguf");
    const char *table = container_vector_path(t, "invalid", "messages", "tsv");
    char *rows = path && table ? read_text(t, table) : NULL;
    if (!rows) return;
    const char *want = expected_message(rows, c->arg);
    if (!test_check(t, want != NULL, "messages.tsv has no row for %s", (const char *)c->arg))
        return;

    struct err e = {0};
    struct gguf g;
    enum status st = gguf_open(&g, path, &e);
    if (!test_check(t, st != ST_OK, "accepted")) {
        gguf_close(&g);
        return;
    }
    container_check_message(t, &e);
    test_check(t, st == ST_FORMAT && e.st == ST_FORMAT, "status %d, want ST_FORMAT: %s", st,
               e.text);
    test_check(t, strncmp(e.text, path, strlen(path)) == 0,
               "the message does not begin with the path: %s", e.text);
    test_check(t, strstr(e.text, want) != NULL, "says \"%s\", want \"%s\"", e.text, want);
    static const struct gguf empty;
    test_check(t, memcmp(&g, &empty, sizeof g) == 0, "a refused file leaves something behind");
}

/* A file that got lost must not take its case along in silence. */
static void run_files(struct test *t, const struct test_case *c)
{
    (void)c;
    const char *table = container_vector_path(t, "invalid", "messages", "tsv");
    char *rows = table ? read_text(t, table) : NULL;
    for (char *row = rows; row && *row; row += strcspn(row, "\n"), row += *row == '\n') {
        char *name = arena_strdup(&t->arena, row, strcspn(row, "\t\n"));
        const char *path = name ? container_vector_path(t, "invalid", name, "gguf") : NULL;
        if (path) test_check(t, access(path, R_OK) == 0, "%s is missing", path);
        t->result.total++;
    }
    char **texts;
    size_t n;
    const char *dir = dir_path(t, t->options->vectors, "gguf/valid");
    if (!dir || !test_check(t, dir_list(&t->arena, dir, ".txt", &texts, &n), "no .txt in %s", dir))
        return;
    for (size_t i = 0; i < n; i++) {
        const char *path = container_vector_path(t, "valid", texts[i], "gguf");
        if (path) test_check(t, access(path, R_OK) == 0, "%s is missing", path);
        t->result.total++;
    }
}

/* ---- cut and damaged files --------------------------------------------------------------- */

/* Bytes that the file cannot do without. */
static size_t needed_size(const struct gguf *g)
{
    size_t need = (size_t)g->data_offset;
    for (size_t i = 0; i < g->n_tensors; i++) {
        size_t end = (size_t)(g->data_offset + g->tensors[i].offset) + g->tensors[i].bytes;
        if (end > need) need = end;
    }
    return need;
}

static void cut_everywhere(struct test *t, struct span whole, const struct fence *f, size_t need)
{
    for (size_t len = 0; len <= whole.size;) {
        struct err e = {0};
        struct gguf g;
        enum status st = gguf_parse(&g, fence_put(f, whole.data, len), false, &e);
        if (!st) gguf_close(&g);
        if (st) container_check_message(t, &e);
        if (len < need)
            test_check(t, st != ST_OK, "accepted when cut to %zu of %zu bytes", len, need);
        else
            test_check(t, st == ST_OK, "refused with all of its %zu bytes: %s", need, e.text);
        t->result.total++;
        /* Every byte of most files; a key of 64 KiB is stepped through. */
        len += len < 20000 || need - len < 64 || len >= need ? 1 : 61;
    }
}

/* Opens a valid file's bytes and a fence for them, and calls fn. */
static void with_file(struct test *t, const struct test_case *c,
                      void (*fn)(struct test *t, struct span whole, const struct fence *f))
{
    const char *path = container_vector_path(t, "valid", c->arg, "gguf");
    struct err e = {0};
    struct file f;
    if (!path || !test_ok(t, file_open(&f, path, &e), &e)) return;
    struct fence fence;
    if (fence_open(t, &fence, f.bytes.size)) {
        fn(t, f.bytes, &fence);
        fence_close(&fence);
    }
    file_close(&f);
}

static void cut_file(struct test *t, struct span whole, const struct fence *f)
{
    struct err e = {0};
    struct gguf g;
    /* The header alone says how many bytes there should be: some of the files have no data. */
    if (!test_ok(t, gguf_parse(&g, whole, true, &e), &e)) return;
    size_t need = needed_size(&g);
    gguf_close(&g);
    cut_everywhere(t, whole, f, need);
}

static void run_truncate(struct test *t, const struct test_case *c)
{
    with_file(t, c, cut_file);
}

/* One to four fields overwritten, some of them with numbers that like to overflow. */
static void damage(struct rng *r, uint8_t *data, size_t n)
{
    static const uint64_t numbers[] = {0,
                                       1,
                                       13,
                                       31,
                                       32,
                                       255,
                                       1u << 30,
                                       (1u << 30) + 1,
                                       UINT32_MAX,
                                       (uint64_t)1 << 61,
                                       (uint64_t)1 << 62,
                                       INT64_MAX,
                                       (uint64_t)1 << 63,
                                       UINT64_MAX - 31,
                                       UINT64_MAX};
    for (uint64_t i = 1 + rng_below(r, 4); i > 0; i--) {
        size_t at = (size_t)rng_below(r, n), len = (size_t)1 << rng_below(r, 4);
        uint64_t v = numbers[rng_below(r, sizeof numbers / sizeof *numbers)];
        if (len == 1) v = rng_u64(r);
        for (size_t b = 0; b < len && at + b < n; b++) data[at + b] = (uint8_t)(v >> (8 * b));
    }
}

/* Reads all there is if the file is accepted; the result is what the compiler cannot leave out. */
static bool read_all(struct test *t, struct span bytes, bool header_only)
{
    struct err e = {0};
    struct gguf g;
    if (gguf_parse(&g, bytes, header_only, &e)) {
        container_check_message(t, &e);
        return false;
    }
    char *text = container_describe(&g, header_only);
    test_check(t, text && *text, "no description of an accepted file");
    free(text);
    gguf_close(&g);
    return true;
}

static void damage_file(struct test *t, struct span whole, const struct fence *f)
{
    enum { ROUNDS = 400 };
    struct rng r = rng_of(t);
    size_t header = whole.size < 4096 ? whole.size : 4096, refused = 0;
    for (int i = 0; i < ROUNDS; i++) {
        fence_put(f, whole.data, whole.size);
        damage(&r, f->end - whole.size, i % 4 ? header : whole.size);
        struct span s = {f->end - whole.size, whole.size};
        bool ok = read_all(t, s, false);
        if (ok)
            test_check(t, read_all(t, s, true), "round %d: read whole, refused by its header", i);
        refused += !ok;
    }
    t->result.total = ROUNDS;
    test_check(t, refused > 0, "none of %d damaged files was refused", ROUNDS);
}

static void run_fuzz(struct test *t, const struct test_case *c)
{
    with_file(t, c, damage_file);
}

/* ---- made in memory ---------------------------------------------------------------------- */

static uint8_t *put_le(uint8_t *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(v >> (8 * i));
    return p + n;
}

enum { KEY_LEN = 11, KEY_RECORD = 8 + KEY_LEN + 4 + 4 };

/* n keys "key.0000000" with u32 values; *bytes is malloc'd memory. */
static bool make_keys(size_t n, struct span *bytes)
{
    uint8_t *data = malloc(24 + n * KEY_RECORD), *p = data;
    if (!data) return false;
    memcpy(p, "GGUF", 4);
    p = put_le(put_le(put_le(p + 4, 3, 4), 0, 8), n, 8);
    for (size_t i = 0; i < n; i++) {
        char key[32];
        snprintf(key, sizeof key, "key.%07zu", i);
        p = put_le(p, KEY_LEN, 8);
        memcpy(p, key, KEY_LEN);
        p = put_le(put_le(p + KEY_LEN, GGUF_U32, 4), i, 4);
    }
    *bytes = (struct span){data, 24 + n * KEY_RECORD};
    return true;
}

/* As many keys as a file may well be made of by someone unkind: compared each with every other,
 * they take longer than any limit for a case. */
static void run_many_keys(struct test *t, const struct test_case *c)
{
    const size_t n = 1000000;
    struct span bytes;
    struct err e = {0};
    struct gguf g;
    (void)c;
    if (!test_check(t, make_keys(n, &bytes), "no memory")) return;
    if (test_ok(t, gguf_parse(&g, bytes, false, &e), &e)) {
        uint32_t v = 0;
        char last[32];
        snprintf(last, sizeof last, "key.%07zu", n - 1);
        if (test_ok(t, gguf_get_u32(&g, last, &v, &e), &e))
            test_check(t, v == n - 1, "%s is %u, want %zu", last, v, n - 1);
        test_check(t, gguf_find(&g, "key.x") == NULL, "found a key that is not there");
        gguf_close(&g);
    }
    free((void *)(uintptr_t)bytes.data);
}

/* Seven foreign bytes in front: padding counts from the container's own start. */
static void prefix_file(struct test *t, struct span whole, const struct fence *f)
{
    struct err e = {0};
    struct gguf plain, moved;
    fence_put(f, whole.data, whole.size);
    struct span s = {f->end - whole.size, whole.size};
    uint8_t *bytes = test_alloc(t, whole.size + 7, 1);
    if (!bytes || !test_ok(t, gguf_parse(&plain, s, false, &e), &e)) return;
    memcpy(bytes + 7, whole.data, whole.size);
    if (test_ok(t, gguf_parse(&moved, (struct span){bytes + 7, whole.size}, false, &e), &e)) {
        container_check_same(t, &plain, &moved);
        gguf_close(&moved);
    }
    gguf_close(&plain);
}

static void run_prefix(struct test *t, const struct test_case *c)
{
    with_file(t, c, prefix_file);
}

/* ---- collecting -------------------------------------------------------------------------- */

static void run_no_files(struct test *t, const struct test_case *c)
{
    test_fail(t, "no .gguf file in %s/gguf/%s", t->options->vectors, c->op);
}

static void add(struct case_list *l, const char *op, const char *name, bool quick,
                void (*run)(struct test *, const struct test_case *))
{
    struct test_case c = {
        .suite = "gguf", .op = op, .shape = name, .quick = quick, .run = run, .arg = name};
    case_add(l, &c);
}

static void collect_dir(struct case_list *l, const char *kind, char ***names, size_t *n)
{
    const char *dir = case_text(l, "%s/gguf/%s", l->options->vectors, kind);
    if (!dir_list(&l->arena, dir, ".gguf", names, n)) add(l, kind, NULL, true, run_no_files);
}

void suite_gguf(struct case_list *l)
{
    char **valid, **invalid;
    size_t n_valid, n_invalid;
    collect_dir(l, "valid", &valid, &n_valid);
    collect_dir(l, "invalid", &invalid, &n_invalid);
    for (size_t i = 0; i < n_valid; i++) add(l, "valid", valid[i], true, run_valid);
    for (size_t i = 0; i < n_invalid; i++) add(l, "invalid", invalid[i], true, run_invalid);
    for (size_t i = 0; i < n_valid; i++) add(l, "truncate", valid[i], false, run_truncate);
    for (size_t i = 0; i < n_valid; i++) add(l, "fuzz", valid[i], false, run_fuzz);
    add(l, "files", NULL, true, run_files);
    add(l, "many_keys", NULL, false, run_many_keys);
    add(l, "prefix", "data-success", true, run_prefix);
    container_collect_written(l, valid, n_valid);
    container_collect_split(l);
    container_collect_getters(l);
    container_collect_info(l);
}
