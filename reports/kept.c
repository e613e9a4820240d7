/* The page over many reports; see kept.h. */
#include "reports/kept.h"
#include "reports/matrix.h"
#include "reports/page.h"
#include "reports/report_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the charts need of a report. */
static json_t *row_of(const json_t *report, const char *path)
{
    static const char *const kept[] = {"started", "seconds", "complete", "summary", "bench"};
    json_t *row =
        json_pack("{s:s, s:O, s:O, s:O, s:O, s:O, s:o}", "file", file_base(path), "version",
                  json_at(report, "tool.version"), "git", json_at(report, "tool.git"), "dirty",
                  json_at(report, "tool.dirty"), "cpu", json_at(report, "environment.cpu"),
                  "devices", json_at(report, "environment.devices"), "matrix", matrix_make(report));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        json_object_set(row, kept[i], json_object_get(report, kept[i]));
    return row;
}

/* By version as numbers, then by time. */
static int compare_versions(const char *a, const char *b)
{
    while (*a && *b) {
        char *after_a, *after_b;
        long x = strtol(a, &after_a, 10), y = strtol(b, &after_b, 10);
        if (x != y) return x < y ? -1 : 1;
        if (after_a == a || after_b == b) break;
        a = after_a + (*after_a == '.');
        b = after_b + (*after_b == '.');
    }
    return strcmp(a, b);
}

static int by_version(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a, *y = *(json_t *const *)b;
    int c = compare_versions(json_text(x, "version"), json_text(y, "version"));
    if (c == 0) c = strcmp(json_text(x, "started"), json_text(y, "started"));
    return c ? c : strcmp(json_text(x, "file"), json_text(y, "file"));
}

enum status kept_page(struct buffer *out, const char *const *paths, size_t n, struct err *e)
{
    json_t **rows = alloc_array(n + 1, sizeof *rows), *report, *data = json_object(),
           *list = json_array();
    enum status st = rows ? ST_OK : fail(e, ST_NOMEM, "no memory for %zu reports", n);
    size_t have = 0;
    if (st == ST_OK && n == 0) st = fail(e, ST_USAGE, "there are no reports");
    while (st == ST_OK && have < n) {
        st = report_load(&report, paths[have], e);
        if (st != ST_OK) break;
        rows[have] = row_of(report, paths[have]);
        have++;
        json_decref(report);
    }
    if (have) qsort(rows, have, sizeof *rows, by_version);
    for (size_t i = 0; i < have; i++) json_array_append_new(list, rows[i]);
    json_object_set_new(data, "reports", list);
    char summary[160];
    snprintf(summary, sizeof summary,
             have == 1 ? "One kept report of assay."
                       : "%zu kept reports of assay, the oldest first.",
             have);
    if (st == ST_OK) st = page_make(out, "Kept reports of assay", summary, "page/kept.js", data, e);
    json_decref(data);
    free(rows);
    return st;
}
