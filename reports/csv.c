/* A table of a report as CSV (RFC 4180): a row per entry. */
#include "reports/formats.h"
#include "reports/report_json.h"

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

enum status format_csv(struct buffer *out, const json_t *report, const char *table, struct err *e)
{
    if (strcmp(table, "cases") != 0 && strcmp(table, "bench") != 0)
        return fail(e, ST_USAGE, "there is no table '%s', but: cases, bench", table);
    write_rows(out, json_object_get(report, table));
    return out->failed ? fail(e, ST_NOMEM, "no memory for the table") : ST_OK;
}
