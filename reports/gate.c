/* Judging a report by a policy; see gate.h. */
#include "reports/gate.h"
#include "reports/report_json.h"
#include "spec/spec.h"
#include "reports/validate.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* 2026-11-20, of the Gregorian calendar. */
static bool is_day(const char *s)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (size_t i = 0; i < 10; i++)
        if (i == 4 || i == 7 ? s[i] != '-' : s[i] < '0' || s[i] > '9') return false;
    int year = atoi(s), month = atoi(s + 5), day = atoi(s + 8);
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return s[10] == 0 && month >= 1 && month <= 12 && day >= 1 &&
           day <= days[month - 1] - (month == 2 && !leap);
}

/* Expiry is compared as text, so that a day that does not exist could hold for years. */
static enum status check_days(const json_t *policy, const char *path, struct err *e)
{
    size_t i;
    json_t *w;
    json_array_foreach(
        json_object_get(policy, "waivers"), i,
        w) if (!is_day(json_text(w, "expires"))) return fail(e, ST_FORMAT,
                                                             "%s: /waivers/%zu/expires: there is "
                                                             "no day '%s'",
                                                             path, i, json_text(w, "expires"));
    return ST_OK;
}

enum status policy_load(json_t **out, const char *path, struct err *e)
{
    struct file f;
    struct findings found = {0};
    json_error_t je;
    *out = NULL;
    if (file_open(&f, path, e) != ST_OK) return e->st;
    json_t *p = json_loadb((const char *)f.bytes.data, f.bytes.size, JSON_REJECT_DUPLICATES, &je);
    file_close(&f);
    if (!p) return fail(e, ST_FORMAT, "%s: not a policy: line %d: %s", path, je.line, je.text);
    enum status st = validate_schema(&found, "policy.schema.json", p, e);
    if (st == ST_OK && found.n) st = fail(e, ST_FORMAT, "%s: %s", path, found.text[0]);
    if (st == ST_OK) st = check_days(p, path, e);
    if (st != ST_OK) {
        json_decref(p);
        return st;
    }
    *out = p;
    return ST_OK;
}

enum status gate_today(char out[11], const char *text, struct err *e)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    char *end = "";
    struct tm tm = {0};
    if (text) {
        if (!is_day(text)) return fail(e, ST_USAGE, "'%s' is not a day like 2026-11-20", text);
        memcpy(out, text, 11);
        return ST_OK;
    }
    errno = 0;
    time_t t = epoch && *epoch ? (time_t)strtoll(epoch, &end, 10) : time(NULL);
    if (*end || errno || !gmtime_r(&t, &tm) || strftime(out, 11, "%Y-%m-%d", &tm) != 10)
        return fail(e, ST_USAGE, "SOURCE_DATE_EPOCH: '%s' is no number of seconds", epoch);
    return ST_OK;
}

/* ---- which cases belong to what ---------------------------------------------------------- */

struct gate {
    const json_t *cases, *policy;
    json_t *out, *problems, *skips, *waivers;
    json_t *covered; /* names of cases that a cell has looked at */
};

static void problem(struct gate *g, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_array_append_new(g->problems, report_text(text));
}

static bool name_matches(const char *name, const char *pattern)
{
    size_t n = strlen(pattern);
    if (strncmp(name, pattern, n) == 0 && (name[n] == 0 || name[n] == '.')) return true;
    return fnmatch(pattern, name, 0) == 0;
}

static json_t *entry_for(const json_t *list, const json_t *c)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry) if (name_matches(json_text(c, "name"),
                                                        json_text(entry, "case"))) return entry;
    return NULL;
}

static void count(json_t *object, const char *key)
{
    json_object_set_new(object, key, json_integer(json_count(object, key) + 1));
}

struct key {
    const char *suite, *op, *type, *subject; /* op, type, subject: NULL = any */
};

static bool belongs(const json_t *c, const struct key *k)
{
    const char *subject = json_text(c, "subject");
    size_t n = k->subject ? strlen(k->subject) : 0;
    return fnmatch(k->suite, json_text(c, "suite"), 0) == 0 &&
           (!k->op || fnmatch(k->op, json_text(c, "op"), 0) == 0) &&
           (!k->type || strcasecmp(k->type, json_text(c, "type")) == 0) &&
           (!k->subject ||
            (strncmp(subject, k->subject, n) == 0 && (subject[n] == 0 || subject[n] == ':')));
}

/* True if the case is bad and nothing excuses it. */
static bool is_unexcused(struct gate *g, const json_t *c)
{
    const char *status = json_text(c, "status");
    if (!report_status_is_bad(status) && strcmp(status, "waived") != 0) return false;
    const json_t *w = entry_for(g->waivers, c);
    return !w || strcmp(json_text(w, "state"), "expired") == 0;
}

/* ---- cells ------------------------------------------------------------------------------- */

static void look_at(struct gate *g, json_t *cell, const json_t *c, size_t *n_unexcused,
                    size_t *n_skips)
{
    const char *status = json_text(c, "status");
    json_object_set_new(g->covered, json_text(c, "name"), json_true());
    count(cell, "asked");
    if (strcmp(status, "skip") == 0) {
        json_t *allowed = entry_for(g->skips, c);
        count(cell, "skipped");
        *n_skips += !allowed;
        if (json_is_null(json_object_get(cell, "why")))
            json_object_set(cell, "why",
                            json_object_get(allowed ? allowed : c, allowed ? "reason" : "message"));
        return;
    }
    json_t *used = json_object_get(c, "used");
    count(cell, "run");
    if (is_unexcused(g, c)) {
        (*n_unexcused)++;
        count(cell, "failed");
    } else if (report_status_is_bad(status) || strcmp(status, "waived") == 0) {
        count(cell, "waived");
        return;
    }
    if (report_uses_more(used, json_object_get(cell, "used"))) json_object_set(cell, "used", used);
}

static void judge_cell(struct gate *g, const struct key *k, double max_used)
{
    size_t i, unexcused = 0, skips = 0;
    json_t *c, *cell = json_pack("{s:s, s:s?, s:s?, s:s?, s:n, s:i, s:i, s:i, s:i, s:i, s:n, s:n}",
                                 "suite", k->suite, "op", k->op, "type", k->type, "subject",
                                 k->subject, "state", "asked", 0, "run", 0, "failed", 0, "skipped",
                                 0, "waived", 0, "used", "why");
    char name[256];
    snprintf(name, sizeof name, "%s%s%s%s%s%s%s", k->suite, k->op ? "." : "", k->op ? k->op : "",
             k->type ? " " : "", k->type ? k->type : "", k->subject ? " on " : "",
             k->subject ? k->subject : "");
    json_array_foreach(g->cases, i, c) if (belongs(c, k)) look_at(g, cell, c, &unexcused, &skips);
    const char *state = "pass";
    double used = json_real_at(cell, "used");
    if (json_count(cell, "asked") == 0) {
        state = "missing";
        problem(g, "missing: %s", name);
    } else if (unexcused) {
        state = "fail";
        problem(g, "failed: %s: %zu of %lld cases", name, unexcused,
                (long long)json_count(cell, "run"));
    } else if (skips) {
        state = "fail";
        problem(g, "skipped without leave: %s: %zu cases: %s", name, skips, json_text(cell, "why"));
    } else if (json_count(cell, "run") == 0) {
        state = "skipped";
    } else if (json_count(cell, "waived") < json_count(cell, "run") && !(used <= max_used)) {
        state = "fail";
        problem(g, "over the policy's limit: %s: uses %.3g of its bound, allowed is %.3g", name,
                used, max_used);
    } else if (json_count(cell, "waived")) {
        state = "waived";
    }
    json_object_set_new(cell, "state", json_string(state));
    json_array_append_new(json_object_get(g->out, "cells"), cell);
}

static json_t *expand_types(const json_t *types)
{
    json_t *out = json_array(), *t;
    size_t i;
    json_array_foreach(types, i, t)
    {
        if (strcmp(json_string_value(t), "*") != 0) {
            json_array_append(out, t);
            continue;
        }
        for (const struct type_spec *s = type_next(NULL); s; s = type_next(s))
            if (s->use == USE_W) json_array_append_new(out, json_string(s->name));
    }
    if (!types) json_array_append_new(out, json_null());
    return out;
}

static void judge_rule(struct gate *g, const json_t *rule)
{
    json_t *types = expand_types(json_object_get(rule, "types")), *t, *s;
    json_t *subjects = json_incref(json_object_get(rule, "subjects"));
    size_t i, k;
    double max_used = json_object_get(rule, "max_used") ? json_real_at(rule, "max_used") : 1;
    if (!subjects) subjects = json_pack("[n]");
    json_array_foreach(types, i, t) json_array_foreach(subjects, k, s) judge_cell(
        g,
        &(struct key){json_text(rule, "suite"), json_string_value(json_object_get(rule, "op")),
                      json_string_value(t), json_string_value(s)},
        max_used);
    json_decref(types);
    json_decref(subjects);
}

/* ---- the whole --------------------------------------------------------------------------- */

static json_t *copies(const json_t *list, const char *today)
{
    json_t *out = list ? json_deep_copy(list) : json_array(), *w;
    size_t i;
    json_array_foreach(out, i, w)
    {
        json_object_set_new(w, "cases", json_integer(0));
        if (today)
            json_object_set_new(
                w, "state",
                json_string(strcmp(today, json_text(w, "expires")) > 0 ? "expired" : "unused"));
    }
    return out;
}

static void count_waivers(struct gate *g)
{
    size_t i;
    json_t *c, *w;
    json_array_foreach(g->cases, i, c)
    {
        const char *status = json_text(c, "status");
        bool skip = strcmp(status, "skip") == 0;
        bool bad = report_status_is_bad(status) || strcmp(status, "waived") == 0;
        if (skip && (w = entry_for(g->skips, c))) count(w, "cases");
        if (!bad || !(w = entry_for(g->waivers, c))) continue;
        count(w, "cases");
        if (strcmp(json_text(w, "state"), "unused") == 0)
            json_object_set_new(w, "state", json_string("used"));
    }
    json_array_foreach(g->waivers, i, w) if (strcmp(json_text(w, "state"), "expired") == 0)
        problem(g, "a waiver expired on %s: %s (%s; owner %s)", json_text(w, "expires"),
                json_text(w, "case"), json_text(w, "reason"), json_text(w, "owner"));
}

static void judge_others(struct gate *g)
{
    size_t i;
    json_t *c;
    if (strcmp(json_text(g->policy, "others"), "ignore") == 0) return;
    json_array_foreach(g->cases, i, c) if (!json_object_get(g->covered, json_text(c, "name")) &&
                                           is_unexcused(g, c))
        problem(g, "failed, outside of what the policy requires: %s: %s", json_text(c, "name"),
                json_text(c, "status"));
}

json_t *gate_make(const json_t *report, const json_t *policy, const char *today)
{
    struct gate g = {.cases = json_object_get(report, "cases"), .policy = policy};
    struct findings found = {0};
    size_t i;
    json_t *rule;
    g.waivers = copies(json_object_get(policy, "waivers"), today);
    g.skips = copies(json_object_get(policy, "may_skip"), NULL);
    g.problems = json_array();
    g.covered = json_object();
    g.out = json_pack("{s:b, s:s, s:s, s:[], s:o, s:o, s:o}", "ok", 0, "policy",
                      json_text(policy, "name"), "today", today, "cells", "waivers", g.waivers,
                      "skips", g.skips, "problems", g.problems);
    if (!json_is_true(json_object_get(report, "complete")))
        problem(&g, "the report is not complete%s%s", *json_text(report, "stopped") ? ": " : "",
                json_text(report, "stopped"));
    if (json_is_true(json_object_get(policy, "clean")) &&
        json_is_true(json_at(report, "tool.dirty")))
        problem(&g, "the report is of a build with changes that are not committed");
    validate_sums(&found, report);
    if (found.n) problem(&g, "the report contradicts itself: %s", found.text[0]);
    count_waivers(&g);
    json_array_foreach(json_object_get(policy, "require"), i, rule) judge_rule(&g, rule);
    judge_others(&g);
    if (json_array_size(json_object_get(g.out, "cells")) == 0)
        problem(&g, "the policy requires nothing, which shows nothing");
    json_object_set_new(g.out, "ok", json_boolean(json_array_size(g.problems) == 0));
    json_decref(g.covered);
    return g.out;
}
