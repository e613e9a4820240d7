/* Comparing two reports case by case and measurement by measurement. */
#include "reports/diff.h"
#include "reports/buffer.h"
#include "reports/report_json.h"

#include <math.h>
#include <string.h>

const struct diff_kind_info diff_kinds[DIFF_END] = {
#define DIFF(name, alarm, what) {#name, what, alarm},
    DIFF_KINDS(DIFF)
#undef DIFF
};

/* Below this share of a bound, doubling is noise: fifty times as much would still pass by half. */
static const double small_share = 0.01;

static int rank(const json_t *c)
{
    const char *s = json_text(c, "status");
    return report_status_is_bad(s)    ? 3
           : strcmp(s, "waived") == 0 ? 2
           : strcmp(s, "skip") == 0   ? 0
                                      : 1;
}

/* Cases by name and machine; of cases that are there twice, the worse one. */
static json_t *index_cases(const json_t *report)
{
    json_t *index = json_object(), *c;
    size_t i;
    json_array_foreach(json_object_get(report, "cases"), i, c)
    {
        struct buffer key = {0};
        buffer_print(&key, "%s\n%s", json_text(c, "machine"), json_text(c, "name"));
        json_t *have = json_object_get(index, key.data);
        if (!have || rank(c) > rank(have) ||
            (rank(c) == rank(have) &&
             report_uses_more(json_object_get(c, "used"), json_object_get(have, "used"))))
            json_object_set(index, key.data, c);
        buffer_free(&key);
    }
    return index;
}

static void add(json_t *diff, enum diff_kind kind, json_t *entry)
{
    json_array_append_new(json_object_get(diff, diff_kinds[kind].name), entry);
}

static json_t *entry_of(const json_t *old, const json_t *new)
{
    const json_t *any = new ? new : old;
    json_t *e = json_object();
    json_object_set(e, "name", json_object_get(any, "name"));
    if (json_object_get(any, "machine"))
        json_object_set(e, "machine", json_object_get(any, "machine"));
    json_object_set_new(e, "old", old ? json_string(json_text(old, "status")) : json_null());
    json_object_set_new(e, "new", new ? json_string(json_text(new, "status")) : json_null());
    json_object_set_new(e, "old_used",
                        old ? json_incref(json_object_get(old, "used")) : json_null());
    json_object_set_new(e, "new_used",
                        new ? json_incref(json_object_get(new, "used")) : json_null());
    json_object_set(e, "rerun", json_object_get(any, "rerun"));
    return e;
}

static bool ran(const json_t *c)
{
    return c && rank(c) != 0;
}

static bool is_bad(const json_t *c)
{
    return c && rank(c) == 3;
}

static void compare_case(json_t *diff, const json_t *old, const json_t *new)
{
    enum diff_kind kind;
    if (ran(old) && !ran(new))
        kind = DIFF_missing;
    else if (is_bad(new))
        kind = is_bad(old) ? DIFF_failing : DIFF_regressed;
    else if (is_bad(old))
        kind = DIFF_fixed;
    else if (ran(new) && !ran(old))
        kind = DIFF_added;
    else {
        double before = json_real_at(old, "used"), now = json_real_at(new, "used");
        if (!ran(new) || now <= 2 * fmax(before, small_share)) return;
        kind = DIFF_doubled;
    }
    add(diff, kind, entry_of(old, new));
}

static void compare_cases(json_t *diff, const json_t *before, const json_t *after)
{
    json_t *old = index_cases(before), *new = index_cases(after), *c;
    const char *key;
    json_object_foreach(new, key, c) compare_case(diff, json_object_get(old, key), c);
    json_object_foreach(old, key, c) if (!json_object_get(new, key)) compare_case(diff, c, NULL);
    json_decref(old);
    json_decref(new);
}

/* ---- speed ------------------------------------------------------------------------------- */

static const json_t *same_bench(const json_t *report, const json_t *b)
{
    static const char *const keys[] = {"name", "subject", "unit", "machine"};
    size_t i, k;
    json_t *have;
    json_array_foreach(json_object_get(report, "bench"), i, have)
    {
        bool same = true;
        for (k = 0; k < 4; k++)
            same = same && strcmp(json_text(have, keys[k]), json_text(b, keys[k])) == 0;
        if (same) return have;
    }
    return NULL;
}

/* A change counts when the two intervals of two spreads around the medians do not touch. */
static void compare_speed(json_t *diff, const json_t *before, const json_t *after)
{
    size_t i;
    json_t *b;
    json_array_foreach(json_object_get(after, "bench"), i, b)
    {
        const json_t *a = same_bench(before, b);
        double change = json_real_at(b, "median") - json_real_at(a, "median");
        double spread = json_real_at(a, "spread") + json_real_at(b, "spread");
        if (!a || !(fabs(change) > 2 * spread)) continue;
        bool better = (change > 0) == json_is_true(json_object_get(b, "more_is_better"));
        add(diff, better ? DIFF_faster : DIFF_slower,
            json_pack("{s:O, s:O, s:O, s:O, s:O}", "name", json_object_get(b, "name"), "subject",
                      json_object_get(b, "subject"), "unit", json_object_get(b, "unit"), "old",
                      json_object_get(a, "median"), "new", json_object_get(b, "median")));
    }
}

static bool same_hardware(const json_t *a, const json_t *b)
{
    return strcmp(json_text(a, "environment.cpu"), json_text(b, "environment.cpu")) == 0 &&
           json_equal(json_at(a, "environment.devices"), json_at(b, "environment.devices"));
}

json_t *diff_make(const json_t *before, const json_t *after)
{
    json_t *diff = json_object();
    for (int k = 0; k < DIFF_END; k++) json_object_set_new(diff, diff_kinds[k].name, json_array());
    json_object_set_new(diff, "note", json_null());
    compare_cases(diff, before, after);
    bool measured = json_array_size(json_object_get(before, "bench")) &&
                    json_array_size(json_object_get(after, "bench"));
    if (same_hardware(before, after))
        compare_speed(diff, before, after);
    else if (measured)
        json_object_set_new(diff, "note",
                            json_string("speeds are not compared: the machines differ"));
    return diff;
}
