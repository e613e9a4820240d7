/* A table of a report as CSV (RFC 4180): one row per entry, nested values flattened. */
#include "reports/formats.h"
#include "reports/report_json.h"

#include <stdio.h>
#include <string.h>

static void field(struct buffer *out, const json_t *v, bool first)
{
    if (!first) buffer_put(out, ",");
    if (json_is_string(v)) {
        buffer_csv(out, json_string_value(v));
    } else if (json_is_real(v)) {
        buffer_print(out, "%.17g", json_real_value(v));
    } else if (json_is_integer(v)) {
        buffer_print(out, "%lld", (long long)json_integer_value(v));
    } else if (json_is_boolean(v)) {
        buffer_put(out, json_is_true(v) ? "true" : "false");
    } else if (v && !json_is_null(v)) {
        struct buffer text = {0};
        buffer_json(&text, v, JSON_COMPACT);
        buffer_csv(out, text.data ? text.data : "");
        buffer_free(&text);
    }
}

/* Columns: the members of the first row, and whatever later rows add. */
static json_t *columns_of(const json_t *rows)
{
    json_t *columns = json_object(), *row, *v;
    const char *key;
    size_t i;
    json_array_foreach(rows, i, row)
        json_object_foreach(row, key, v) if (!json_object_get(columns, key))
            json_object_set_new(columns, key, json_true());
    return columns;
}

static void write_rows(struct buffer *out, const json_t *rows)
{
    json_t *columns = columns_of(rows), *row, *unused;
    const char *key;
    size_t i;
    bool first = true;
    json_object_foreach(columns, key, unused)
    {
        if (!first) buffer_put(out, ",");
        buffer_csv(out, key);
        first = false;
    }
    buffer_put(out, "\r\n");
    json_array_foreach(rows, i, row)
    {
        first = true;
        json_object_foreach(columns, key, unused)
        {
            field(out, json_object_get(row, key), first);
            first = false;
        }
        buffer_put(out, "\r\n");
    }
    json_decref(columns);
}

/* The scalar members of an object, under prefixed names. */
static void flatten(json_t *row, const char *prefix, const json_t *object)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)object, key, v)
    {
        char name[160];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? "_" : "", key);
        if (json_is_object(v))
            flatten(row, name, v);
        else if (!json_is_array(v))
            json_object_set(row, name, v);
    }
}

static void type_rows(json_t *rows, const json_t *model, const json_t *type)
{
    const char *subject;
    json_t *s;
    json_object_foreach(json_object_get(type, "subjects"), subject, s)
    {
        json_t *row = json_object(), *copy = json_copy((json_t *)type);
        json_object_del(copy, "subjects");
        json_object_set(row, "model", json_object_get(model, "name"));
        flatten(row, "", copy);
        flatten(row, "top", json_array_get(json_object_get(type, "top"), 0));
        json_object_set_new(row, "subject", json_string(subject));
        flatten(row, "subject", s);
        json_array_append_new(rows, row);
        json_decref(copy);
    }
}

static void layer_rows(json_t *rows, const json_t *model, const json_t *type)
{
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(type, "layers"), i, l)
    {
        json_t *row = json_object();
        json_object_set(row, "model", json_object_get(model, "name"));
        json_object_set(row, "type", json_object_get(type, "type"));
        flatten(row, "", l);
        json_array_append_new(rows, row);
    }
}

static json_t *model_rows(const json_t *report, bool layers)
{
    json_t *rows = json_array(), *model, *type;
    size_t i, k;
    json_array_foreach(json_object_get(report, "models"), i, model)
        json_array_foreach(json_object_get(model, "types"), k,
                           type)(layers ? layer_rows : type_rows)(rows, model, type);
    return rows;
}

static json_t *locate_rows(const json_t *report)
{
    json_t *rows = json_array(), *run, *variant, *site;
    size_t i, k, n;
    json_array_foreach(json_object_get(report, "locate"), i, run)
        json_array_foreach(json_object_get(run, "variants"), k, variant)
            json_array_foreach(json_object_get(variant, "sites"), n, site)
    {
        json_t *row = json_object();
        json_object_set(row, "model", json_object_get(run, "model"));
        json_object_set(row, "on", json_object_get(run, "subject"));
        json_object_set(row, "variant", json_object_get(variant, "name"));
        flatten(row, "", site);
        json_array_append_new(rows, row);
    }
    return rows;
}

enum status format_csv(struct buffer *out, const json_t *report, const char *table, struct err *e)
{
    static const char *const flat[] = {"cases",   "coverage", "bench",
                                       "mutants", "effect",   "quantize"};
    json_t *rows = NULL;
    for (size_t i = 0; i < sizeof flat / sizeof *flat; i++)
        if (strcmp(table, flat[i]) == 0) rows = json_incref(json_object_get(report, table));
    if (strcmp(table, "models") == 0) rows = model_rows(report, false);
    if (strcmp(table, "layers") == 0) rows = model_rows(report, true);
    if (strcmp(table, "locate") == 0) rows = locate_rows(report);
    if (!rows)
        return fail(e, ST_USAGE,
                    "there is no table '%s', but: cases, coverage, models, layers, locate, bench, "
                    "mutants, effect, quantize",
                    table);
    write_rows(out, rows);
    json_decref(rows);
    return out->failed ? fail(e, ST_NOMEM, "no memory for the table") : ST_OK;
}
