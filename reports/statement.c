/* The statement of a release: product, devices, what was run, what was not, waivers. */
#include "reports/formats.h"
#include "reports/matrix.h"
#include "reports/report_json.h"
#include "reports/signoff.h"

#include <string.h>

static void row(struct buffer *out, const char *name, const char *value)
{
    buffer_print(out, "| %s | ", name);
    buffer_markdown(out, value);
    buffer_put(out, " |\n");
}

static void head(struct buffer *out, const struct signoff *s)
{
    const json_t *r = s->report;
    struct buffer text = {0};
    buffer_print(&text, "assay %s (%s%s), schema %s", json_text(r, "tool.version"),
                 json_text(r, "tool.git"),
                 json_is_true(json_at(r, "tool.dirty")) ? ", with changes not committed" : "",
                 json_text(r, "schema_version"));
    buffer_put(out, "# Statement of conformance\n\n| | |\n|---|---|\n");
    row(out, "Product", s->product);
    row(out, "Version", s->version);
    row(out, "Tested with", text.data ? text.data : "");
    row(out, "Run", json_text(r, "started"));
    row(out, "Judged as of", json_text(s->gate, "today"));
    row(out, "Policy",
        *json_text(s->gate, "policy") ? json_text(s->gate, "policy") : "policy.json");
    row(out, "Host", json_text(r, "environment.host"));
    row(out, "Kernel", json_text(r, "environment.kernel"));
    row(out, "Processor", json_text(r, "environment.cpu"));
    row(out, "Compiler", json_text(r, "environment.compiler"));
    row(out, "Golden data (SHA-256)", json_text(r, "environment.vectors_sha256"));
    buffer_put(out, "\n**");
    buffer_free(&text);
    report_verdict(&text, r);
    buffer_markdown(out, text.data ? text.data : "");
    buffer_put(out, "**\n");
    buffer_free(&text);
}

static void devices(struct buffer *out, const json_t *report)
{
    size_t i;
    json_t *d;
    buffer_put(out,
               "\n## Devices\n\n| subject | device | driver | interface |\n|---|---|---|---|\n");
    json_array_foreach(json_at(report, "environment.devices"), i, d)
    {
        static const char *const keys[] = {"subject", "name", "driver", "api"};
        for (size_t k = 0; k < 4; k++) {
            buffer_put(out, k ? " | " : "| ");
            buffer_markdown(out, json_text(d, keys[k]));
        }
        buffer_put(out, " |\n");
    }
    json_array_foreach(json_at(report, "environment.models"), i, d)
    {
        buffer_put(out, i ? "" : "\nModels:\n\n");
        buffer_put(out, "- ");
        buffer_markdown(out, json_text(d, "path"));
        buffer_print(out, ", SHA-256 `%s`\n", json_text(d, "sha256"));
    }
}

static void cells(struct buffer *out, const json_t *gate)
{
    static const char *const keys[] = {"suite", "op", "type", "subject"};
    static const char *const counts[] = {"run", "failed", "skipped", "waived"};
    size_t i, k;
    json_t *c;
    buffer_put(out,
               "\n## What the policy requires\n\n| suite | op | type | subject | state | run | "
               "failed | skipped | waived | bound used |\n|---|---|---|---|---|--:|--:|--:|--:|"
               "--:|\n");
    json_array_foreach(json_object_get(gate, "cells"), i, c)
    {
        for (k = 0; k < 4; k++) {
            buffer_put(out, k ? " | " : "| ");
            buffer_markdown(out, *json_text(c, keys[k]) ? json_text(c, keys[k]) : "any");
        }
        buffer_print(out, " | %s", json_text(c, "state"));
        for (k = 0; k < 4; k++) buffer_print(out, " | %lld", (long long)json_count(c, counts[k]));
        buffer_put(out, " | ");
        buffer_number(out, json_object_get(c, "used"));
        buffer_put(out, " |\n");
    }
}

static void coverage(struct buffer *out, const json_t *report)
{
    json_t *m = matrix_make(report), *by_subject = json_object(), *t, *cell, *sum;
    const char *subject;
    size_t i;
    static const char *const counts[] = {"asked", "run", "failed", "skipped"};
    json_array_foreach(json_object_get(m, "types"), i, t) json_object_foreach(
        json_object_get(json_object_get(m, "cells"), json_string_value(t)), subject, cell)
    {
        sum = json_object_get(by_subject, subject);
        if (!sum) json_object_set_new(by_subject, subject, sum = json_object());
        for (size_t k = 0; k < 4; k++)
            json_object_set_new(
                sum, counts[k],
                json_integer(json_count(sum, counts[k]) + json_count(cell, counts[k])));
    }
    buffer_put(out, "\n## What was run\n\n| subject | asked | run | failed | skipped |\n"
                    "|---|--:|--:|--:|--:|\n");
    json_object_foreach(by_subject, subject, sum)
    {
        buffer_put(out, "| ");
        buffer_markdown(out, subject);
        for (size_t k = 0; k < 4; k++)
            buffer_print(out, " | %lld", (long long)json_count(sum, counts[k]));
        buffer_put(out, " |\n");
    }
    json_decref(by_subject);
    json_decref(m);
}

static void not_run(struct buffer *out, const json_t *report)
{
    size_t i, n = 0;
    json_t *c;
    buffer_put(out, "\n## What was not run\n\n");
    json_array_foreach(json_object_get(report, "coverage"), i, c)
    {
        static const char *const keys[] = {"suite", "op", "type", "subject"};
        bool first = true;
        if (!json_count(c, "skipped")) continue;
        buffer_print(out, "- %lld cases of ", (long long)json_count(c, "skipped"));
        for (size_t k = 0; k < 4; k++) {
            if (!*json_text(c, keys[k])) continue;
            if (!first) buffer_put(out, ".");
            buffer_markdown(out, json_text(c, keys[k]));
            first = false;
        }
        buffer_put(out, ": ");
        buffer_markdown(out, json_text(c, "reason"));
        buffer_put(out, "\n");
        n++;
    }
    if (!n) buffer_put(out, "All that was asked for was run.\n");
}

static void waivers(struct buffer *out, const json_t *gate)
{
    size_t i;
    json_t *w;
    buffer_put(out, "\n## Waivers\n\n");
    if (!json_array_size(json_object_get(gate, "waivers"))) buffer_put(out, "None.\n");
    json_array_foreach(json_object_get(gate, "waivers"), i, w)
    {
        buffer_put(out, "- ");
        buffer_markdown(out, json_text(w, "case"));
        buffer_print(out, " (%s, %lld cases, until %s, owner ", json_text(w, "state"),
                     (long long)json_count(w, "cases"), json_text(w, "expires"));
        buffer_markdown(out, json_text(w, "owner"));
        buffer_put(out, "): ");
        buffer_markdown(out, json_text(w, "reason"));
        buffer_put(out, "\n");
    }
}

void signoff_statement(struct buffer *out, const struct signoff *s)
{
    head(out, s);
    devices(out, s->report);
    coverage(out, s->report);
    not_run(out, s->report);
    waivers(out, s->gate);
    cells(out, s->gate);
    buffer_put(out,
               "\nThe report itself is report.json, for people report.html; SHA256SUMS has the "
               "sums of all files\nhere (`sha256sum -c SHA256SUMS`).\n");
}
