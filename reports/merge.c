/* One report out of several: shards of a run, runs on several machines. */
#include "reports/report_json.h"
#include "reports/stream.h"

#include <string.h>

static const char *const identity[] = {"host", "kernel", "cpu", "compiler", "flags"};

static bool same_machine(const json_t *a, const json_t *b)
{
    for (size_t i = 0; i < sizeof identity / sizeof *identity; i++)
        if (strcmp(json_text(a, identity[i]), json_text(b, identity[i])) != 0) return false;
    return true;
}

static bool same_version(const json_t *a, const json_t *b)
{
    return strcmp(json_text(a, "tool.version"), json_text(b, "tool.version")) == 0 &&
           strcmp(json_text(a, "tool.git"), json_text(b, "tool.git")) == 0 &&
           json_is_true(json_at(a, "tool.dirty")) == json_is_true(json_at(b, "tool.dirty"));
}

static bool contains(const json_t *array, const json_t *item, const char *key)
{
    size_t i;
    json_t *have;
    json_array_foreach(array, i,
                       have) if (json_equal(key ? json_object_get(have, key) : have,
                                            key ? json_object_get(item, key) : item)) return true;
    return false;
}

static void merge_environment(json_t *into, const json_t *from)
{
    static const char *const lists[][2] = {
        {"devices", "subject"}, {"models", "sha256"}, {"libraries", NULL}};
    for (size_t n = 0; n < 3; n++) {
        size_t i;
        json_t *item, *list = json_object_get(into, lists[n][0]);
        json_array_foreach(json_object_get(from, lists[n][0]), i,
                           item) if (!contains(list, item, lists[n][1]))
            json_array_append(list, item);
    }
    if (json_is_null(json_object_get(into, "vectors_sha256")))
        json_object_set(into, "vectors_sha256", json_object_get(from, "vectors_sha256"));
}

/* The environment of the part among those of root; it is added if it is new. NULL: the first. */
static const char *note_machine(json_t *root, json_t *env)
{
    json_t *first = json_object_get(root, "environment"), *others, *m;
    if (same_machine(first, env)) {
        merge_environment(first, env);
        return NULL;
    }
    others = json_object_get(root, "machines");
    if (!others) json_object_set_new(root, "machines", others = json_array());
    size_t i;
    json_array_foreach(others, i, m)
    {
        if (!same_machine(m, env)) continue;
        merge_environment(m, env);
        return json_text(m, "machine");
    }
    m = json_deep_copy(env);
    json_object_set_new(
        m, "machine", json_sprintf("%s#%zu", json_text(env, "host"), json_array_size(others) + 2));
    json_array_append_new(others, m);
    return json_text(m, "machine");
}

static void append_from(json_t *root, const json_t *part, const char *key, const char *machine)
{
    size_t i;
    json_t *item, *list = json_object_get(root, key);
    json_array_foreach(json_object_get(part, key), i, item)
    {
        if (machine && !json_object_get(item, "machine"))
            json_object_set_new(item, "machine", json_string(machine));
        json_array_append(list, item);
    }
}

static void merge_into(json_t *root, json_t *part)
{
    static const char *const arrays[] = {"cases", "models",   "locate", "effect",
                                         "bench", "quantize", "mutants"};
    const char *machine = note_machine(root, json_object_get(part, "environment"));
    size_t i;
    json_t *env;
    json_array_foreach(json_object_get(part, "machines"), i, env) note_machine(root, env);
    for (i = 0; i < sizeof arrays / sizeof *arrays; i++)
        append_from(root, part, arrays[i], machine);
    double seconds = json_real_at(root, "seconds") + json_real_at(part, "seconds");
    json_object_set_new(root, "seconds", json_real(seconds));
    if (strcmp(json_text(part, "started"), json_text(root, "started")) < 0)
        json_object_set(root, "started", json_object_get(part, "started"));
    if (json_is_true(json_object_get(root, "complete"))) {
        json_object_set(root, "complete", json_object_get(part, "complete"));
        json_object_set(root, "stopped", json_object_get(part, "stopped"));
    }
}

/* Writes the report in the layout of a run's report. */
static enum status write_report(json_t *root, const char *path, struct err *e)
{
    static const char *const front[] = {"schema_version", "tool", "started", "seed"};
    json_t *head = json_object(), *rest = json_copy(root), *c;
    for (size_t i = 0; i < sizeof front / sizeof *front; i++) {
        json_object_set(head, front[i], json_object_get(root, front[i]));
        json_object_del(rest, front[i]);
    }
    json_object_del(rest, "cases");
    struct stream *s = NULL;
    enum status st = stream_open(&s, head, e);
    size_t i;
    if (st == ST_OK)
        json_array_foreach(json_object_get(root, "cases"), i, c) stream_case(s, json_incref(c));
    if (st == ST_OK) st = stream_path(s, path, rest, e);
    if (st == ST_OK) st = stream_finish(s, rest, e);
    stream_close(s);
    json_decref(head);
    json_decref(rest);
    return st;
}

enum status report_merge(const char *const *paths, size_t n, bool any_version, const char *out,
                         struct err *e)
{
    json_t *root = NULL, *part;
    enum status st = ST_OK;
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        st = report_load(&part, paths[i], e);
        if (st != ST_OK) break;
        if (!root) {
            root = part;
            continue;
        }
        if (any_version || same_version(root, part))
            merge_into(root, part);
        else
            st = fail(e, ST_FORMAT, "%s: is of assay %s (%s), the others are of %s (%s)", paths[i],
                      json_text(part, "tool.version"), json_text(part, "tool.git"),
                      json_text(root, "tool.version"), json_text(root, "tool.git"));
        json_decref(part);
    }
    if (st == ST_OK && !root) st = fail(e, ST_USAGE, "no reports to merge");
    if (st == ST_OK) {
        report_recount(root);
        json_object_set_new(root, "schema_version", json_string(REPORT_SCHEMA));
        st = write_report(root, out, e);
    }
    json_decref(root);
    return st;
}
