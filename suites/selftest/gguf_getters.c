/* Suite gguf, values by key: what every getter makes of every type, and which keys it marks as
 * used. */
#include "harness/files.h"
#include "selftest/gguf_shared.h"

#include <string.h>

/* A value, and what each getter makes of it: NONE = it must refuse. */
struct getter_row {
    const char *key;
    enum gguf_type type;
    uint64_t bits;
    int64_t u32, i64; /* NONE or the value */
    double f64;       /* NAN-free; NONE as a number */
    int boolean;      /* -1, or 0 or 1 */
};
static const int64_t NONE = -99;

static const struct getter_row getter_rows[] = {
    {"a.u8", GGUF_U8, 255, 255, 255, -99, -1},
    {"a.u8.one", GGUF_U8, 1, 1, 1, -99, 1},
    {"a.i8", GGUF_I8, 0xff, -99, -1, -99, -1},
    {"a.u16", GGUF_U16, 65535, 65535, 65535, -99, -1},
    {"a.i16", GGUF_I16, 0x8000, -99, -32768, -99, -1},
    {"a.u32", GGUF_U32, UINT32_MAX, UINT32_MAX, UINT32_MAX, -99, -1},
    {"a.i32", GGUF_I32, 0x80000000u, -99, INT32_MIN, -99, -1},
    {"a.i32.zero", GGUF_I32, 0, 0, 0, -99, 0},
    {"a.u64", GGUF_U64, (uint64_t)UINT32_MAX + 1, -99, (int64_t)UINT32_MAX + 1, -99, -1},
    {"a.u64.fits", GGUF_U64, 7, 7, 7, -99, -1},
    {"a.u64.top", GGUF_U64, UINT64_MAX, -99, -99, -99, -1},
    {"a.i64", GGUF_I64, (uint64_t)1 << 63, -99, INT64_MIN, -99, -1},
    {"a.f32", GGUF_F32, 0x3fc00000u, -99, -99, 1.5, -1},
    {"a.f64", GGUF_F64, 0xc004000000000000u, -99, -99, -2.5, -1},
    {"a.bool", GGUF_BOOL, 1, -99, -99, -99, 1},
    {"a.bool.two", GGUF_BOOL, 2, -99, -99, -99, 1},
    {"a.bool.zero", GGUF_BOOL, 0, -99, -99, -99, 0},
};
enum { N_GETTER_ROWS = sizeof getter_rows / sizeof *getter_rows };

/* A getter's answer: right, or refused with a message that names the key, as the row says. */
static void check_getter(struct test *t, const struct getter_row *row, const char *getter,
                         enum status st, const struct err *e, bool refuse, bool right)
{
    if (refuse) {
        test_check(t, st == ST_FORMAT, "%s of %s: taken", getter, row->key);
        container_check_message(t, e);
        test_check(t, strstr(e->text, row->key) != NULL, "%s of %s says: %s", getter, row->key,
                   e->text);
    } else {
        test_check(t, st == ST_OK, "%s of %s: %s", getter, row->key, e->text);
        test_check(t, right, "%s of %s: another value", getter, row->key);
    }
    t->result.total++;
}

static void check_row(struct test *t, const struct gguf *g, const struct getter_row *row)
{
    uint32_t u = 0;
    int64_t i = 0;
    double f = 0;
    bool b = false;
    struct gguf_str s;
    struct gguf_kv *kv = gguf_find(g, row->key);
    if (!test_check(t, kv && !kv->used, "%s is not there, or used before it is", row->key)) return;

    struct err e = {0};
    enum status st = gguf_get_str(g, row->key, &s, &e);
    check_getter(t, row, "gguf_get_str", st, &e, true, false);
    test_check(t, !kv->used, "%s is marked as used by a getter that refused it", row->key);
    e = (struct err){0};
    st = gguf_get_u32(g, row->key, &u, &e);
    check_getter(t, row, "gguf_get_u32", st, &e, row->u32 == NONE, u == row->u32);
    e = (struct err){0};
    st = gguf_get_i64(g, row->key, &i, &e);
    check_getter(t, row, "gguf_get_i64", st, &e, row->i64 == NONE, i == row->i64);
    e = (struct err){0};
    st = gguf_get_f64(g, row->key, &f, &e);
    check_getter(t, row, "gguf_get_f64", st, &e, row->f64 == (double)NONE, f == row->f64);
    e = (struct err){0};
    st = gguf_get_bool(g, row->key, &b, &e);
    check_getter(t, row, "gguf_get_bool", st, &e, row->boolean < 0, b == (row->boolean == 1));
}

/* Writes the rows, a string and an array, and opens the file. */
static bool open_getter_file(struct test *t, const char *path, struct gguf *g)
{
    struct err e = {0};
    struct gguf_writer *w;
    if (!test_ok(t, gguf_writer_open(&w, &e), &e)) return false;
    enum status st = gguf_put_str(w, "a.str", "text", &e);
    static const float numbers[] = {1, 2, 3};
    static const char *const words[] = {"", "two"};
    if (!st) st = gguf_put_f32s(w, "a.f32s", numbers, 3, &e);
    if (!st) st = gguf_put_strs(w, "a.strs", words, 2, &e);
    if (!st) st = gguf_put_u32s(w, "a.u32s", (const uint32_t[]){7, UINT32_MAX}, 2, &e);
    if (!st) st = gguf_put_i32s(w, "a.i32s", (const int32_t[]){-7, INT32_MIN}, 2, &e);
    if (!st) st = gguf_put_f32(w, "b.f32", -0.5f, &e);
    if (!st) st = gguf_put_u32(w, "b.u32", 12, &e);
    if (!st) st = gguf_put_bool(w, "b.bool", true, &e);
    for (size_t i = 0; i < N_GETTER_ROWS && !st; i++) {
        const struct getter_row *r = &getter_rows[i];
        uint8_t bits[8];
        for (int k = 0; k < 8; k++) bits[k] = (uint8_t)(r->bits >> (8 * k));
        struct gguf_kv kv = {.key = {r->key, strlen(r->key)},
                             .type = r->type,
                             .elem = r->type,
                             .count = 1,
                             .data = bits,
                             .bytes = gguf_type_size(r->type)};
        st = gguf_put_kv(w, &kv, &e);
    }
    if (!st) st = gguf_writer_save(w, path, false, &e);
    gguf_writer_close(w);
    if (!st) st = gguf_open(g, path, &e);
    return test_ok(t, st, &e);
}

static void check_arrays(struct test *t, const struct gguf *g)
{
    uint32_t u;
    double f;
    int64_t i;
    struct err e = {0};
    test_check(t, gguf_get_u32(g, "a.u32s", &u, &e) == ST_FORMAT, "an array is taken for a number");
    container_check_message(t, &e);
    e = (struct err){0};
    test_check(t, gguf_get_u32(g, "not.there", &u, &e) == ST_FORMAT, "a missing key is found");
    test_check(t, strstr(e.text, "not.there") != NULL, "the missing key is not named: %s", e.text);
    struct gguf_str s[2];
    struct gguf_kv *strs = gguf_find(g, "a.strs"), *f32s = gguf_find(g, "a.f32s");
    struct gguf_kv *i32s = gguf_find(g, "a.i32s"), *u32s = gguf_find(g, "a.u32s");
    if (!test_check(t, strs && f32s && i32s && u32s, "an array is not there")) return;
    test_check(t,
               gguf_value_strings(strs, s) && s[0].len == 0 && s[1].len == 3 &&
                   memcmp(s[1].data, "two", 3) == 0,
               "a.strs differs");
    test_check(t, strs->used && !f32s->used, "the wrong keys are marked as used");
    test_check(t, !gguf_value_strings(f32s, s), "floats are taken for strings");
    test_check(t, gguf_value_f64(f32s, 2, &f) && f == 3, "a.f32s[2] differs");
    test_check(t, !gguf_value_f64(f32s, 3, &f), "an element behind the last one is read");
    test_check(t, !gguf_value_i64(f32s, 0, &i), "a float is taken for an integer");
    test_check(t, gguf_value_i64(i32s, 1, &i) && i == INT32_MIN, "a.i32s[1] differs");
    test_check(t, gguf_value_i64(u32s, 1, &i) && i == UINT32_MAX, "a.u32s[1] differs");
    bool b;
    test_check(t, gguf_get_f64(g, "b.f32", &f, &e) == ST_OK && f == -0.5, "b.f32 differs");
    test_check(t, gguf_get_u32(g, "b.u32", &u, &e) == ST_OK && u == 12, "b.u32 differs");
    test_check(t, gguf_get_bool(g, "b.bool", &b, &e) == ST_OK && b, "b.bool differs");
    test_check(t,
               gguf_get_str(g, "a.str", s, &e) == ST_OK && s->len == 4 &&
                   memcmp(s->data, "text", 4) == 0,
               "a.str differs");
}

static void run_getters(struct test *t, const struct test_case *c)
{
    (void)c;
    const char *dir = temp_dir(t);
    const char *path = dir ? dir_path(t, dir, "getters.gguf") : NULL;
    struct gguf g;
    if (path && open_getter_file(t, path, &g)) {
        for (size_t i = 0; i < N_GETTER_ROWS; i++) check_row(t, &g, &getter_rows[i]);
        check_arrays(t, &g);
        gguf_close(&g);
    }
    if (dir) temp_remove(dir);
}

void container_collect_getters(struct case_list *l)
{
    struct test_case c = {.suite = "gguf", .op = "getters", .quick = true, .run = run_getters};
    case_add(l, &c);
}
