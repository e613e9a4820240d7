/* Reading reports back: also those that an older version wrote, and what a torn write left. */
#include "reports/environment.h"
#include "reports/report_json.h"
#include "reports/validate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *json_at(const json_t *j, const char *path)
{
    char key[64];
    while (j && *path) {
        size_t n = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, path);
        j = json_object_get(j, key);
        path += n + (path[n] == '.');
    }
    return (json_t *)j;
}

const char *json_text(const json_t *j, const char *path)
{
    const char *s = json_string_value(json_at(j, path));
    return s ? s : "";
}

double json_real_at(const json_t *j, const char *path)
{
    const json_t *v = json_at(j, path);
    const char *s = json_string_value(v);
    if (s) return strcmp(s, "inf") == 0 ? HUGE_VAL : strcmp(s, "-inf") == 0 ? -HUGE_VAL : NAN;
    return json_is_number(v) ? json_number_value(v) : NAN;
}

json_int_t json_count(const json_t *j, const char *path)
{
    return json_integer_value(json_at(j, path));
}

/* ---- a torn file ------------------------------------------------------------------------- */

/* Cases stand one to a line: keeps the whole ones. Everything behind them is lost, the environment
 * too, and is given as empty. */
static json_t *recover(struct span text)
{
    static const char mark[] = ",\n \"cases\": [";
    char *copy = malloc(text.size + 1), *cases;
    if (!copy) return NULL;
    memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    json_t *root = NULL, *list = json_array();
    if ((cases = strstr(copy, mark))) {
        memcpy(cases, "\n}", 3);
        root = json_loads(copy, JSON_REJECT_DUPLICATES, NULL);
        cases += sizeof mark - 1;
    }
    for (char *line = root && *cases == '\n' ? cases + 1 : NULL; line;) {
        char *end = strchr(line, '\n');
        if (end) *end = 0;
        size_t n = strlen(line);
        if (n && line[n - 1] == ',') line[n - 1] = 0;
        json_t *c = end ? json_loads(line, 0, NULL) : NULL;
        if (!json_is_string(json_object_get(c, "status"))) {
            json_decref(c);
            break;
        }
        json_array_append_new(list, c);
        line = end + 1;
    }
    free(copy);
    if (!root) {
        json_decref(list);
        return NULL;
    }
    json_t *rest = report_rest();
    json_object_update(root, rest);
    json_decref(rest);
    json_object_set_new(root, "environment", environment_unknown());
    json_object_set_new(root, "cases", list);
    json_object_set_new(root, "stopped", json_string("the file was not written to its end"));
    return root;
}

/* ---- any report -------------------------------------------------------------------------- */

void report_recount(json_t *root)
{
    json_t *cells = json_object(), *coverage = json_array(), *summary = json_object(), *c;
    size_t i;
    for (int s = 0; s <= CASE_WAIVED; s++)
        json_object_set_new(summary, case_status_name((enum case_status)s), json_integer(0));
    json_array_foreach(json_object_get(root, "cases"), i, c)
    {
        const char *status = json_text(c, "status");
        report_count(coverage, cells, c);
        json_object_set_new(summary, status, json_integer(json_count(summary, status) + 1));
    }
    json_object_set_new(root, "coverage", coverage);
    json_object_set_new(root, "summary", summary);
    json_decref(cells);
}

/* What later minors added; the sums are counted anew. */
static void upgrade(json_t *root)
{
    static const char *const later[] = {"stopped", "coverage", "summary"};
    json_t *rest = report_rest();
    for (size_t i = 0; i < 3; i++) json_object_set(root, later[i], json_object_get(rest, later[i]));
    json_object_set_new(root, "complete", json_true());
    json_decref(rest);
}

static enum status check(json_t *root, const char *path, struct err *e)
{
    struct findings found = {0};
    const char *schema = json_text(root, "schema_version");
    if (strncmp(schema, REPORT_SCHEMA, 2) != 0)
        return fail(e, ST_FORMAT, "%s: not a report of schema %c but of '%.16s'", path,
                    *REPORT_SCHEMA, *schema ? schema : "none");
    if (validate_schema(&found, "schema.json", root, e) != ST_OK) return e->st;
    return found.n ? fail(e, ST_FORMAT, "%s: a damaged report: %s", path, found.text[0]) : ST_OK;
}

enum status report_load(json_t **out, const char *path, struct err *e)
{
    struct file f;
    json_error_t je;
    *out = NULL;
    if (file_open(&f, path, e) != ST_OK) return e->st;
    json_t *root =
        json_loadb((const char *)f.bytes.data, f.bytes.size, JSON_REJECT_DUPLICATES, &je);
    bool torn = !root && (root = recover(f.bytes)), old = !json_object_get(root, "complete");
    file_close(&f);
    if (!root) return fail(e, ST_FORMAT, "%s: not a report: line %d: %s", path, je.line, je.text);
    if (old) upgrade(root);
    if (check(root, path, e) != ST_OK) {
        json_decref(root);
        return e->st;
    }
    if (old || torn) report_recount(root);
    *out = root;
    return ST_OK;
}
