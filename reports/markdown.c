/* A report as Markdown, for the summary page of a pipeline. */
#include "reports/formats.h"
#include "reports/matrix.h"
#include "reports/report_json.h"

#include <math.h>
#include <string.h>

/* GitHub refuses a summary above 1 MiB, and nobody reads the hundredth failure. */
enum { MAX_FAILURES = 50, MAX_ROWS = 200 };

static void percent(struct buffer *out, const json_t *used)
{
    if (json_is_number(used))
        buffer_print(out, "%.2g %%", 100 * json_number_value(used));
    else if (json_is_string(used))
        buffer_put(out, json_string_value(used));
}

static void matrix_cell(struct buffer *out, const json_t *cell)
{
    if (!cell) {
        buffer_put(out, " |");
        return;
    }
    long long run = (long long)json_count(cell, "run"),
              failed = (long long)json_count(cell, "failed");
    if (failed)
        buffer_print(out, " ❌ **%lld of %lld fail** |", failed, run);
    else if (run) {
        double used = json_real_at(cell, "used");
        buffer_print(out, " %s %lld", used > 0.5 ? "⚠️" : "✅", run);
        if (used > 0) {
            buffer_put(out, ", ");
            percent(out, json_object_get(cell, "used"));
        }
        buffer_put(out, " |");
    } else
        buffer_put(out, " skipped |");
}

static void matrix(struct buffer *out, const json_t *report)
{
    json_t *m = matrix_make(report), *subjects = json_object_get(m, "subjects"), *t, *s;
    size_t i, k;
    if (json_array_size(subjects)) {
        buffer_put(out, "\n### Conformance\n\nCases that ran, and the largest share of an error "
                        "bound that one of them used.\n\n| type |");
        json_array_foreach(subjects, i, s)
        {
            buffer_put(out, " ");
            buffer_markdown(out, json_string_value(s));
            buffer_put(out, " |");
        }
        buffer_put(out, "\n|---|");
        for (i = 0; i < json_array_size(subjects); i++) buffer_put(out, "---|");
        buffer_put(out, "\n");
        json_array_foreach(json_object_get(m, "types"), i, t)
        {
            if (i == MAX_ROWS) break;
            buffer_put(out, "| ");
            buffer_markdown(out, json_string_value(t));
            buffer_put(out, " |");
            json_t *row = json_object_get(json_object_get(m, "cells"), json_string_value(t));
            json_array_foreach(subjects, k, s)
                matrix_cell(out, json_object_get(row, json_string_value(s)));
            buffer_put(out, "\n");
        }
    }
    json_decref(m);
}

static void type_row(struct buffer *out, const json_t *type)
{
    size_t i;
    json_t *top, *s;
    const char *name;
    buffer_put(out, "| ");
    buffer_markdown(out, json_text(type, "type"));
    buffer_print(out, " | %.2f | ", json_real_at(type, "bits_per_weight"));
    json_array_foreach(json_object_get(type, "top"), i, top)
    {
        if (i) buffer_put(out, ", ");
        buffer_put(out, "“");
        buffer_markdown(out, json_text(top, "text"));
        buffer_print(out, "” %.2f", json_real_at(top, "logit"));
    }
    buffer_put(out, " | ");
    buffer_number(out, json_object_get(type, "kl_mean"));
    buffer_print(out, " | %lld/%lld |", (long long)json_count(type, "same_top"),
                 (long long)json_count(type, "prompts"));
    json_object_foreach(json_object_get(type, "subjects"), name, s)
    {
        const char *status = json_text(s, "status");
        buffer_put(out, " ");
        buffer_markdown(out, name);
        buffer_print(out, ": %s", status);
        if (strcmp(json_text(s, "verdict"), "agree") != 0 && strcmp(status, "skip") != 0)
            buffer_print(out, " (%s)", json_text(s, "verdict"));
        if (json_is_number(json_object_get(s, "used"))) {
            buffer_put(out, " ");
            percent(out, json_object_get(s, "used"));
        }
    }
    buffer_put(out, " |\n");
}

static void models(struct buffer *out, const json_t *report)
{
    size_t i, k;
    json_t *model, *type;
    json_array_foreach(json_object_get(report, "models"), i, model)
    {
        buffer_put(out, "\n### Tensor types of ");
        buffer_markdown(out, json_text(model, "name"));
        buffer_put(out, "\n\nTop tokens with their logits after “");
        buffer_markdown(out, json_text(model, "prompt"));
        buffer_put(out, "”, by the reference; what the type costs against the master; and what "
                        "each subject makes of the same bytes.\n\n| type | bits | top tokens | "
                        "KL (nats) | same top | subjects |\n|---|---|---|---|---|---|\n");
        json_array_foreach(json_object_get(model, "types"), k, type) if (k < MAX_ROWS)
            type_row(out, type);
    }
}

static void failures(struct buffer *out, const json_t *report)
{
    size_t i, n = 0;
    json_t *c;
    json_array_foreach(json_object_get(report, "cases"), i, c)
    {
        if (!report_status_is_bad(json_text(c, "status"))) continue;
        if (n == 0) buffer_put(out, "\n### Failures\n\n");
        if (n++ >= MAX_FAILURES) continue;
        buffer_put(out, "- **");
        buffer_markdown(out, json_text(c, "name"));
        buffer_print(out, "** %s", json_text(c, "status"));
        if (json_count(c, "bad")) {
            buffer_put(out, ", uses ");
            buffer_number(out, json_object_get(c, "used"));
            buffer_print(out, " of its bound; %lld elements", (long long)json_count(c, "bad"));
        }
        if (*json_text(c, "message")) {
            buffer_put(out, ": ");
            buffer_markdown(out, json_text(c, "message"));
        }
        if (*json_text(c, "pattern")) {
            buffer_put(out, "; ");
            buffer_markdown(out, json_text(c, "pattern"));
        }
        if (*json_text(c, "rerun")) {
            buffer_put(out, "  \n  ");
            buffer_code(out, json_text(c, "rerun"));
        }
        buffer_put(out, "\n");
    }
    if (n > MAX_FAILURES) buffer_print(out, "- and %zu more\n", n - MAX_FAILURES);
}

static void not_run(struct buffer *out, const json_t *report)
{
    json_t *reasons = json_object(), *cell, *n;
    const char *reason;
    size_t i;
    json_array_foreach(json_object_get(report, "coverage"), i, cell)
    {
        if (!json_count(cell, "skipped")) continue;
        reason = *json_text(cell, "reason") ? json_text(cell, "reason") : "no reason given";
        json_object_set_new(reasons, reason,
                            json_integer(json_count(cell, "skipped") +
                                         json_integer_value(json_object_get(reasons, reason))));
    }
    if (json_object_size(reasons)) buffer_put(out, "\n### Not run\n\n");
    json_object_foreach(reasons, reason, n)
    {
        buffer_print(out, "- %lld cases: ", (long long)json_integer_value(n));
        buffer_markdown(out, reason);
        buffer_put(out, "\n");
    }
    json_decref(reasons);
}

enum status format_markdown(struct buffer *out, const json_t *report, struct err *e)
{
    struct buffer verdict = {0};
    bool good = report_verdict(&verdict, report);
    size_t i;
    json_t *d;
    buffer_print(out, "## %s Assay\n\n", good ? "✅" : "❌");
    buffer_markdown(out, verdict.data ? verdict.data : "");
    buffer_free(&verdict);
    buffer_put(out, "\n");
    failures(out, report);
    matrix(out, report);
    models(out, report);
    not_run(out, report);
    buffer_print(out, "\nassay %s (%s%s), %s, %.1f s", json_text(report, "tool.version"),
                 json_text(report, "tool.git"),
                 json_is_true(json_at(report, "tool.dirty")) ? ", changed" : "",
                 json_text(report, "started"), json_real_at(report, "seconds"));
    json_array_foreach(json_at(report, "environment.devices"), i, d)
    {
        buffer_put(out, i ? "; " : ". Devices: ");
        buffer_markdown(out, json_text(d, "subject"));
        buffer_put(out, ": ");
        buffer_markdown(out, json_text(d, "name"));
        buffer_put(out, " (");
        buffer_markdown(out, json_text(d, "driver"));
        buffer_put(out, ")");
    }
    buffer_put(out, ".\n");
    return out->failed ? fail(e, ST_NOMEM, "no memory for the text") : ST_OK;
}
