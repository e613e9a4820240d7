/* Consistency of a report with itself. */
#include "reports/report_json.h"
#include "reports/validate.h"

#include <stdio.h>
#include <string.h>

static void complain(struct findings *out, const char *fmt, ...)
{
    if (out->n++ >= FINDINGS_MAX) return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out->text[out->n - 1], sizeof *out->text, fmt, ap);
    va_end(ap);
}

static void check_summary(struct findings *out, const json_t *have, const json_t *want)
{
    for (int s = 0; s <= CASE_WAIVED; s++) {
        const char *name = case_status_name((enum case_status)s);
        if (json_count(have, name) != json_count(want, name))
            complain(out, "/summary/%s: says %lld, but there are %lld such cases", name,
                     (long long)json_count(have, name), (long long)json_count(want, name));
    }
}

static bool same_key(const json_t *a, const json_t *b)
{
    static const char *const keys[] = {"suite", "op", "type", "subject"};
    for (size_t i = 0; i < 4; i++)
        if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i]))) return false;
    return true;
}

static void check_coverage(struct findings *out, const json_t *have, const json_t *want)
{
    static const char *const counts[] = {"asked", "run", "skipped", "failed"};
    size_t i, k;
    json_t *a, *b;
    if (json_array_size(have) != json_array_size(want))
        complain(out, "/coverage: has %zu cells, the cases have %zu", json_array_size(have),
                 json_array_size(want));
    json_array_foreach(have, i, a)
    {
        /* Cells come in the order of their first cases, so the same place is tried first. */
        json_t *found = json_array_get(want, i);
        if (!found || !same_key(a, found)) {
            found = NULL;
            json_array_foreach(want, k, b) if (same_key(a, b)) found = b;
        }
        if (!found) complain(out, "/coverage/%zu: no case belongs to it", i);
        for (k = 0; found && k < 4; k++)
            if (json_count(a, counts[k]) != json_count(found, counts[k]))
                complain(out, "/coverage/%zu/%s: says %lld, the cases say %lld", i, counts[k],
                         (long long)json_count(a, counts[k]),
                         (long long)json_count(found, counts[k]));
    }
}

static void check_case(struct findings *out, const json_t *c, size_t i)
{
    const char *status = json_text(c, "status"), *name = json_text(c, "name");
    bool passed = strcmp(status, "pass") == 0 || strcmp(status, "marginal") == 0;
    double used = json_real_at(c, "used");
    if (passed && !(used <= 1))
        complain(out, "/cases/%zu: %s: %s although it used %g of its bound", i, name, status, used);
    if (passed && json_count(c, "bad") > 0)
        complain(out, "/cases/%zu: %s: %s with bad elements", i, name, status);
    if (strcmp(status, "skip") == 0 && !*json_text(c, "message"))
        complain(out, "/cases/%zu: %s: skipped without a reason", i, name);
}

void validate_sums(struct findings *out, const json_t *report)
{
    json_t *copy = json_object(), *c;
    size_t i;
    json_object_set(copy, "cases", json_object_get(report, "cases"));
    report_recount(copy);
    check_summary(out, json_object_get(report, "summary"), json_object_get(copy, "summary"));
    check_coverage(out, json_object_get(report, "coverage"), json_object_get(copy, "coverage"));
    json_array_foreach(json_object_get(report, "cases"), i, c) check_case(out, c, i);
    json_decref(copy);
}
