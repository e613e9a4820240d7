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

struct counts {
    long long bad, good, waived, skipped; /* cases, by what their status means */
};

static struct counts counts_of(const json_t *report)
{
    const json_t *sum = json_object_get(report, "summary");
    return (struct counts){.bad = (long long)(json_count(sum, "fail") + json_count(sum, "crash") +
                                              json_count(sum, "timeout")),
                           .good =
                               (long long)(json_count(sum, "pass") + json_count(sum, "marginal")),
                           .waived = (long long)json_count(sum, "waived"),
                           .skipped = (long long)json_count(sum, "skip")};
}

/* The verdict of the first localisation that found something; "" if none did. */
static const char *first_finding(const json_t *report)
{
    size_t i;
    json_t *l;
    json_array_foreach(json_object_get(report, "locate"), i, l)
    {
        if (strcmp(json_text(l, "status"), "pass") == 0) continue;
        if (*json_text(l, "verdict")) return json_text(l, "verdict");
    }
    return "";
}

static void say_failures(struct buffer *out, const json_t *report, const struct counts *n)
{
    size_t defects = count_in_models(report, "defect");
    buffer_print(out, "%lld of %lld cases fail", n->bad, n->bad + n->good + n->waived);
    subjects_that_ran(out, report);
    if (defects)
        buffer_print(out, ", %zu top token%s wrong beyond rounding", defects,
                     defects == 1 ? " is" : "s are");
}

static void say_conformance(struct buffer *out, const json_t *report, const struct counts *n)
{
    buffer_print(
        out, n->good == 1 ? "The one case that ran conforms" : "All %lld cases that ran conform",
        n->good);
    subjects_that_ran(out, report);
}

/* What follows the sentence: the finding of a localisation, and what did not take part. */
static void say_remarks(struct buffer *out, const json_t *report, const struct counts *n,
                        const char *found)
{
    size_t len = strlen(found), survived = count_mutants(report, "survived");
    if (len && found[len - 1] == '.') len--;
    if (len) buffer_print(out, "%s%.*s", n->bad || n->good ? "; " : "", (int)len, found);
    if (survived)
        buffer_print(out, "; %zu fault%s found by nothing", survived,
                     survived == 1 ? " was" : "s were");
    if (n->waived) buffer_print(out, "; %lld waived", n->waived);
    if (n->skipped) buffer_print(out, "; %lld skipped", n->skipped);
    if (out->n && out->data[out->n - 1] != '.') buffer_put(out, ".");
}

bool report_verdict(struct buffer *out, const json_t *report)
{
    const struct counts n = counts_of(report);
    const char *found = first_finding(report);
    bool complete = json_is_true(json_object_get(report, "complete"));
    if (!complete) buffer_put(out, "Not complete: ");
    if (n.bad)
        say_failures(out, report, &n);
    else if (n.good || n.waived)
        say_conformance(out, report, &n);
    else if (!*found)
        other_contents(out, report);
    say_remarks(out, report, &n, found);
    bool judged = n.good || json_array_size(json_object_get(report, "locate")) ||
                  count_mutants(report, "killed");
    return complete && !n.bad && !*found && !count_mutants(report, "survived") && judged;
}
