/* Suite gguf, `assay info`: its JSON against the file it was made of. */
#include "harness/files.h"
#include "selftest/gguf_shared.h"
#include "models/info.h"

#include <jansson.h>
#include <string.h>

static void check_count(struct test *t, const json_t *doc, const char *list, size_t want)
{
    size_t n = json_array_size(json_object_get(doc, list));
    test_check(t, n == want, "%s has %zu rows, want %zu", list, n, want);
}

/* Rows in the order of the file, types and totals right, nothing but JSON. */
static void check_document(struct test *t, const json_t *doc, const struct gguf *g)
{
    const json_t *metadata = json_object_get(doc, "metadata"),
                 *tensors = json_object_get(doc, "tensors");
    check_count(t, doc, "metadata", g->n_kv);
    check_count(t, doc, "tensors", g->n_tensors);
    for (size_t i = 0; i < g->n_kv; i++) {
        const json_t *row = json_array_get(metadata, i), *value = json_object_get(row, "value");
        const char *type = json_string_value(json_object_get(row, "type"));
        bool array = g->kv[i].type == GGUF_ARRAY;
        test_check(t, type && strcmp(type, gguf_type_name(g->kv[i].type)) == 0, "key %zu is a %s",
                   i, type ? type : "nothing");
        test_check(t, value && (!array || json_array_size(value) == g->kv[i].count),
                   "key %zu: no value", i);
    }
    uint64_t bytes = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const json_t *row = json_array_get(tensors, i);
        const char *type = json_string_value(json_object_get(row, "type"));
        test_check(t, type && strcmp(type, g->tensors[i].type->name) == 0, "tensor %zu is a %s", i,
                   type ? type : "nothing");
        bytes += g->tensors[i].bytes;
    }
    json_int_t total = json_integer_value(json_object_get(json_object_get(doc, "total"), "bytes"));
    test_check(t, total >= 0 && (uint64_t)total == bytes, "%lld bytes in all, want %llu",
               (long long)total, (unsigned long long)bytes);
}

static void check_info(struct test *t, struct gguf *g, const char *source, const char *path)
{
    struct err e = {0};
    struct info i;
    if (!test_ok(t, info_gather(&i, g, source, true, &e), &e)) return;
    enum status st = info_write_json(&i, path, &e);
    info_free(&i);
    if (!test_ok(t, st, &e)) return;
    json_error_t why;
    json_t *doc = json_load_file(path, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (test_check(t, doc != NULL, "line %d: %s", why.line, why.text)) check_document(t, doc, g);
    json_decref(doc);
}

static void run_info(struct test *t, const struct test_case *c)
{
    const char *source = container_vector_path(t, "valid", c->arg, "gguf");
    const char *dir = temp_dir(t);
    const char *path = dir ? dir_path(t, dir, "info.json") : NULL;
    struct err e = {0};
    struct gguf g;
    if (source && path && test_ok(t, gguf_open(&g, source, &e), &e)) {
        check_info(t, &g, source, path);
        gguf_close(&g);
    }
    if (dir) temp_remove(dir);
}

void container_collect_info(struct case_list *l)
{
    static const char *const files[] = {"kv-success",       "data-success",     "kv-key-longest",
                                        "t05-empty-values", "t20-scores-short", "tensors-zero-dim",
                                        "header-empty"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct test_case c = {.suite = "gguf",
                              .op = "info",
                              .shape = files[i],
                              .quick = true,
                              .run = run_info,
                              .arg = files[i]};
        case_add(l, &c);
    }
}
