/* A report as JUnit XML, in the dialect that Jenkins, GitLab and GitHub's actions read. */
#include "reports/formats.h"
#include "reports/report_json.h"

#include <string.h>

struct totals {
    size_t tests, failures, errors, skipped;
    double seconds;
};

static bool is_error(const char *status)
{
    return strcmp(status, "crash") == 0 || strcmp(status, "timeout") == 0;
}

static void count(struct totals *t, const json_t *c)
{
    const char *status = json_text(c, "status");
    t->tests++;
    t->failures += strcmp(status, "fail") == 0;
    t->errors += is_error(status);
    t->skipped += strcmp(status, "skip") == 0 || strcmp(status, "waived") == 0;
    t->seconds += json_real_at(c, "seconds");
}

static void attribute(struct buffer *out, const char *name, const char *value)
{
    buffer_print(out, " %s=\"", name);
    buffer_xml(out, value);
    buffer_put(out, "\"");
}

static void totals(struct buffer *out, const struct totals *t)
{
    buffer_print(out,
                 " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.6f\"",
                 t->tests, t->failures, t->errors, t->skipped, t->seconds);
}

static void fact(struct buffer *out, const char *name, const json_t *value)
{
    if (!value || json_is_null(value)) return;
    buffer_print(out, "%-8s ", name);
    if (json_is_string(value))
        buffer_xml(out, json_string_value(value));
    else
        buffer_number(out, value);
    buffer_put(out, "\n");
}

static void failure(struct buffer *out, const json_t *c, const char *element)
{
    struct buffer why = {0};
    const char *message = json_text(c, "message");
    buffer_put(&why, message);
    if (!*message) {
        buffer_put(&why, "uses ");
        buffer_number(&why, json_object_get(c, "used"));
        buffer_put(&why, " times its bound");
    }
    buffer_print(out, "      <%s type=\"%s\"", element, json_text(c, "status"));
    attribute(out, "message", why.data ? why.data : "");
    buffer_put(out, ">");
    static const char *const facts[] = {"error",   "bound",   "used", "bad",  "first_bad",
                                        "pattern", "variant", "seed", "rerun"};
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        fact(out, facts[i], json_object_get(c, facts[i]));
    buffer_print(out, "</%s>\n", element);
    buffer_free(&why);
}

static void test_case(struct buffer *out, const json_t *c)
{
    const char *status = json_text(c, "status"), *op = json_text(c, "op"),
               *type = json_text(c, "type"), *machine = json_text(c, "machine");
    buffer_put(out, "    <testcase classname=\"");
    buffer_xml(out, json_text(c, "suite"));
    buffer_put(out, *op ? "." : "");
    buffer_xml(out, op);
    buffer_put(out, *type ? "." : "");
    buffer_xml(out, type);
    buffer_put(out, "\"");
    attribute(out, "name", json_text(c, "name"));
    if (*machine) attribute(out, "machine", machine);
    buffer_print(out, " time=\"%.6f\"", json_real_at(c, "seconds"));
    if (strcmp(status, "pass") == 0) {
        buffer_put(out, "/>\n");
        return;
    }
    buffer_put(out, ">\n");
    if (strcmp(status, "marginal") == 0) {
        buffer_put(out, "      <system-out>marginal: uses ");
        buffer_number(out, json_object_get(c, "used"));
        buffer_put(out, " of its bound</system-out>\n");
    } else if (report_status_is_bad(status)) {
        failure(out, c, is_error(status) ? "error" : "failure");
    } else {
        buffer_put(out, "      <skipped");
        attribute(out, "message", *json_text(c, "message") ? json_text(c, "message") : status);
        buffer_put(out, "/>\n");
    }
    buffer_put(out, "    </testcase>\n");
}

/* A property; a part that is NULL is none. */
static void property(struct buffer *out, const char *const name[2], const char *const value[2])
{
    buffer_put(out, "      <property name=\"");
    for (size_t i = 0; i < 2 && name[i]; i++) buffer_xml(out, name[i]);
    buffer_put(out, "\" value=\"");
    for (size_t i = 0; i < 2 && value[i]; i++) {
        buffer_put(out, i ? ", " : "");
        buffer_xml(out, value[i]);
    }
    buffer_put(out, "\"/>\n");
}

static void properties(struct buffer *out, const json_t *report)
{
    static const char *const texts[] = {"tool.version",         "tool.git",
                                        "environment.kernel",   "environment.cpu",
                                        "environment.compiler", "environment.vectors_sha256"};
    size_t i;
    json_t *d;
    buffer_put(out, "    <properties>\n");
    for (i = 0; i < sizeof texts / sizeof *texts; i++)
        property(out, (const char *[2]){texts[i]}, (const char *[2]){json_text(report, texts[i])});
    json_array_foreach(json_at(report, "environment.devices"), i, d)
        property(out, (const char *[2]){"device.", json_text(d, "subject")},
                 (const char *[2]){json_text(d, "name"), json_text(d, "driver")});
    buffer_put(out, "    </properties>\n");
}

/* The cases by suite, in the order in which suites first appear. */
static json_t *group(const json_t *report)
{
    json_t *groups = json_object(), *c;
    size_t i;
    json_array_foreach(json_object_get(report, "cases"), i, c)
    {
        const char *suite = json_text(c, "suite");
        json_t *list = json_object_get(groups, suite);
        if (!list) json_object_set_new(groups, suite, list = json_array());
        json_array_append(list, c);
    }
    return groups;
}

enum status format_junit(struct buffer *out, const json_t *report, struct err *e)
{
    json_t *groups = group(report), *list, *c;
    struct totals all = {0};
    const char *name;
    size_t i;
    json_array_foreach(json_object_get(report, "cases"), i, c) count(&all, c);
    buffer_put(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"assay\"");
    totals(out, &all);
    buffer_put(out, ">\n");
    json_object_foreach(groups, name, list)
    {
        struct totals t = {0};
        json_array_foreach(list, i, c) count(&t, c);
        buffer_put(out, "  <testsuite");
        attribute(out, "name", name);
        totals(out, &t);
        attribute(out, "timestamp", json_text(report, "started"));
        attribute(out, "hostname", json_text(report, "environment.host"));
        buffer_put(out, ">\n");
        properties(out, report);
        json_array_foreach(list, i, c) test_case(out, c);
        buffer_put(out, "  </testsuite>\n");
    }
    buffer_put(out, "</testsuites>\n");
    json_decref(groups);
    return out->failed ? fail(e, ST_NOMEM, "no memory for the XML") : ST_OK;
}
