/* Failed cases as SARIF 2.1.0, each at the source of its operation. */
#include "reports/build_info.h"
#include "reports/formats.h"
#include "reports/report_json.h"
#include "reports/hash.h"
#include "reports/sources.h"
#include "spec/spec.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct source sources[] = {
#define SOURCE(suite, op, subject, path, symbol) {suite, op, subject, path, symbol},
#include "reports/sources.def"
#undef SOURCE
};
const size_t n_sources = sizeof sources / sizeof *sources;

static void expand(char *out, size_t cap, const char *pattern, const char *op, const char *type)
{
    size_t at = 0;
    for (; *pattern && at + 1 < cap; pattern++) {
        const char *with = pattern[0] == '%' && pattern[1] == 't'   ? type
                           : pattern[0] == '%' && pattern[1] == 'o' ? op
                                                                    : NULL;
        if (!with) {
            out[at++] = *pattern;
            continue;
        }
        pattern++;
        for (; *with && at + 1 < cap; with++) out[at++] = *with;
    }
    out[at] = 0;
}

void source_find(struct source_place *out, const char *suite, const char *op, const char *type,
                 const char *subject)
{
    const struct type_spec *t = type_by_name(type);
    for (size_t i = 0; i < n_sources; i++) {
        const struct source *s = &sources[i];
        if (strstr(s->path, "%t") && !t) continue;
        if (op[strspn(op, "abcdefghijklmnopqrstuvwxyz0123456789_")]) continue; /* names no file */
        if (fnmatch(s->suite, suite, 0) != 0 || fnmatch(s->op, op, 0) != 0 ||
            fnmatch(s->subject, subject, 0) != 0)
            continue;
        expand(out->path, sizeof out->path, s->path, op, t ? t->c_name : "");
        expand(out->symbol, sizeof out->symbol, s->symbol, op, t ? t->c_name : "");
        return;
    }
}

/* The line with the symbol; 1 if the tree is not here or the symbol is not there. */
static int line_of(const char *root, const struct source_place *p)
{
    char path[4400], line[1024];
    snprintf(path, sizeof path, "%s/%s", root, p->path);
    FILE *f = fopen(path, "r");
    int n = 0, found = 1;
    while (f && fgets(line, sizeof line, f)) {
        n++;
        if (line[0] == '/' || line[0] == ' ' || !strstr(line, p->symbol)) continue;
        found = n;
        break;
    }
    if (f) fclose(f);
    return found;
}

static json_t *location(const json_t *c, const char *root)
{
    struct source_place p = {"engine/engine.h", "engine_"};
    source_find(&p, json_text(c, "suite"), json_text(c, "op"), json_text(c, "type"),
                json_text(c, "subject"));
    return json_pack("{s:{s:{s:s, s:s}, s:{s:i}}, s:[{s:s, s:s}]}", "physicalLocation",
                     "artifactLocation", "uri", p.path, "uriBaseId", "SRCROOT", "region",
                     "startLine", line_of(root, &p), "logicalLocations", "fullyQualifiedName",
                     json_text(c, "name"), "kind", "function");
}

static void message(struct buffer *b, const json_t *c)
{
    buffer_print(b, "%s: %s", json_text(c, "name"), json_text(c, "status"));
    if (*json_text(c, "message")) buffer_print(b, ": %s", json_text(c, "message"));
    if (json_count(c, "bad")) {
        buffer_put(b, ". Error ");
        buffer_number(b, json_object_get(c, "error"));
        buffer_put(b, ", bound ");
        buffer_number(b, json_object_get(c, "bound"));
        buffer_print(b, ", %lld elements", (long long)json_count(c, "bad"));
        if (*json_text(c, "pattern")) buffer_print(b, ": %s", json_text(c, "pattern"));
    }
    if (*json_text(c, "rerun")) buffer_print(b, ". Rerun: %s", json_text(c, "rerun"));
}

static json_t *result(const json_t *c, const char *root)
{
    struct buffer text = {0};
    char hash[HASH_TEXT];
    const char *op = json_text(c, "op"), *name = json_text(c, "name");
    hash_bytes(name, strlen(name), hash);
    json_t *rule = json_sprintf("%s%s%s", json_text(c, "suite"), *op ? "." : "", op);
    message(&text, c);
    json_t *r = json_pack("{s:o, s:s, s:{s:s}, s:[o], s:{s:s}, s:{s:O, s:O, s:O}}", "ruleId", rule,
                          "level", "error", "message", "text", text.data, "locations",
                          location(c, root), "partialFingerprints", "assayCase/v1", hash,
                          "properties", "status", json_object_get(c, "status"), "used",
                          json_object_get(c, "used"), "seed", json_object_get(c, "seed"));
    buffer_free(&text);
    return r;
}

static void add_rule(json_t *rules, json_t *seen, const char *id)
{
    if (json_object_get(seen, id)) return;
    json_object_set_new(seen, id, json_true());
    json_array_append_new(
        rules, json_pack("{s:s, s:{s:s}}", "id", id, "shortDescription", "text",
                         "The result is not what the reference computes, within its bound."));
}

enum status format_sarif(struct buffer *out, const json_t *report, struct err *e)
{
    char root[4096];
    json_t *results = json_array(), *rules = json_array(), *seen = json_object(), *c;
    size_t i;
    snprintf(root, sizeof root, "%s/..", build_info.vectors_source);
    json_array_foreach(json_object_get(report, "cases"), i, c)
    {
        if (!report_status_is_bad(json_text(c, "status"))) continue;
        json_t *r = result(c, root);
        if (!r) out->failed = true;
        add_rule(rules, seen, json_text(r, "ruleId"));
        json_array_append_new(results, r);
    }
    json_t *doc = json_pack(
        "{s:s, s:s, s:[{s:{s:{s:s, s:s, s:o}}, s:[{s:b, s:s}], s:o, s:s}]}", "$schema",
        "https://json.schemastore.org/sarif-2.1.0.json", "version", "2.1.0", "runs", "tool",
        "driver", "name", "assay", "version", json_text(report, "tool.version"), "rules", rules,
        "invocations", "executionSuccessful",
        json_is_true(json_object_get(report, "complete")) ? 1 : 0, "startTimeUtc",
        json_text(report, "started"), "results", results, "columnKind", "unicodeCodePoints");
    json_decref(seen);
    if (!doc) return fail(e, ST_NOMEM, "no memory for the document");
    buffer_json(out, doc, JSON_INDENT(1));
    buffer_put(out, "\n");
    json_decref(doc);
    return out->failed ? fail(e, ST_NOMEM, "no memory for the document") : ST_OK;
}
