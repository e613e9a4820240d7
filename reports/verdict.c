/* The first sentence of every page. */
#include "reports/formats.h"
#include "reports/report_json.h"

#include <string.h>

static void subjects_that_ran(struct buffer *out, const json_t *report)
{
    json_t *seen = json_object(), *cell;
    size_t i;
    json_array_foreach(json_object_get(report, "coverage"), i, cell)
    {
        const char *s = json_text(cell, "subject");
        if (!*s || json_count(cell, "run") == 0 || json_object_get(seen, s)) continue;
        buffer_print(out, "%s%s", json_object_size(seen) ? ", " : " on ", s);
        json_object_set_new(seen, s, json_true());
    }
    json_decref(seen);
}

static size_t count_in_models(const json_t *report, const char *verdict)
{
    size_t i, k, n = 0;
    json_t *model, *type, *s;
    const char *name;
    json_array_foreach(json_object_get(report, "models"), i, model)
        json_array_foreach(json_object_get(model, "types"), k, type)
            json_object_foreach(json_object_get(type, "subjects"), name, s) n +=
        strcmp(json_text(s, "verdict"), verdict) == 0;
    return n;
}

static size_t count_mutants(const json_t *report, const char *verdict)
{
    size_t i, n = 0;
    json_t *m;
    json_array_foreach(json_object_get(report, "mutants"), i, m) n +=
        strcmp(json_text(m, "verdict"), verdict) == 0;
    return n;
}

/* Of a report without cases. */
static void other_contents(struct buffer *out, const json_t *report)
{
    size_t effects = json_array_size(json_object_get(report, "effect")),
           speeds = json_array_size(json_object_get(report, "bench")),
           tensors = json_array_size(json_object_get(report, "quantize"));
    if (json_array_size(json_object_get(report, "locate")))
        buffer_put(out, "Localisation found no defect");
    else if (json_array_size(json_object_get(report, "mutants")))
        buffer_print(out, "%zu of %zu faults were found", count_mutants(report, "killed"),
                     json_array_size(json_object_get(report, "mutants")));
    else if (effects || speeds)
        buffer_put(out, effects ? "What quantization costs was measured, conformance was not"
                                : "Speed was measured, conformance was not");
    else if (tensors)
        buffer_print(out, "%zu tensors were quantized, conformance was not measured", tensors);
    else
        buffer_put(out, "Nothing was run, which is not success");
}

bool report_verdict(struct buffer *out, const json_t *report)
{
    const json_t *sum = json_object_get(report, "summary");
    long long bad = (long long)(json_count(sum, "fail") + json_count(sum, "crash") +
                                json_count(sum, "timeout"));
    long long good = (long long)(json_count(sum, "pass") + json_count(sum, "marginal"));
    long long skipped = (long long)json_count(sum, "skip"),
              waived = (long long)json_count(sum, "waived");
    size_t defects = count_in_models(report, "defect");
    bool complete = json_is_true(json_object_get(report, "complete"));
    const char *found = "";
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(report, "locate"), i, l)
    {
        if (strcmp(json_text(l, "status"), "pass") == 0) continue;
        found = *found ? found : json_text(l, "verdict");
    }
    if (!complete) buffer_put(out, "Not complete: ");
    if (bad) {
        buffer_print(out, "%lld of %lld cases fail", bad, bad + good + waived);
        subjects_that_ran(out, report);
        if (defects)
            buffer_print(out, ", %zu top token%s wrong beyond rounding", defects,
                         defects == 1 ? " is" : "s are");
    } else if (good || waived) {
        buffer_print(
            out, good == 1 ? "The one case that ran conforms" : "All %lld cases that ran conform",
            good);
        subjects_that_ran(out, report);
    } else if (!*found) {
        other_contents(out, report);
    }
    int len = (int)strlen(found);
    if (len && found[len - 1] == '.') len--;
    if (len) buffer_print(out, "%s%.*s", bad || good ? "; " : "", len, found);
    size_t survived = count_mutants(report, "survived");
    if (survived)
        buffer_print(out, "; %zu fault%s found by nothing", survived,
                     survived == 1 ? " was" : "s were");
    if (waived) buffer_print(out, "; %lld waived", waived);
    if (skipped) buffer_print(out, "; %lld skipped", skipped);
    if (out->n && out->data[out->n - 1] != '.') buffer_put(out, ".");
    bool judged = good || json_array_size(json_object_get(report, "locate")) ||
                  count_mutants(report, "killed");
    return complete && !bad && !*found && !count_mutants(report, "survived") && judged;
}
