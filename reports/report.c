/* Building and saving the JSON document; see report.h. */
#include "reports/report.h"
#include "reports/buffer.h"
#include "reports/build_info.h"
#include "reports/environment.h"
#include "reports/report_json.h"
#include "reports/stream.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct report {
    json_t *root;          /* all that is not in the stream's head or cases */
    json_t *model;         /* last of models[], borrowed */
    json_t *cells;         /* coverage by suite, op, type and subject */
    struct stream *stream; /* cases */
    double start;
};

json_t *report_number(double x)
{
    if (isnan(x)) return json_string("nan");
    if (isinf(x)) return json_string(x > 0 ? "inf" : "-inf");
    return json_real(x);
}

/* Token texts and messages need not be UTF-8. Jansson takes valid UTF-8 alone, so it decides which
 * bytes begin a character; a byte that begins none becomes U+FFFD. */
json_t *report_text(const char *s)
{
    if (!s) return json_null();
    json_t *whole = json_string(s);
    if (whole) return whole;
    struct buffer fixed = {0};
    while (*s) {
        size_t n = 1, left = strnlen(s, 4);
        json_t *character = NULL;
        while (n <= left && !(character = json_stringn(s, n))) n++;
        if (character)
            buffer_add(&fixed, s, n);
        else
            buffer_put(&fixed, "\xef\xbf\xbd");
        s += character ? n : 1;
        json_decref(character);
    }
    whole = fixed.failed ? json_null() : json_string(fixed.data);
    buffer_free(&fixed);
    return whole;
}

json_t *report_list(struct report *r, const char *name)
{
    return json_object_get(r->root, name);
}

static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

/* ---- the document without its cases ------------------------------------------------------- */

static json_t *head(uint64_t seed)
{
    time_t t = time(NULL);
    struct tm tm;
    char when[32], digits[24];
    gmtime_r(&t, &tm);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)seed);
    json_t *h = json_object(), *tool = json_object();
    put(tool, "name", json_string("assay"));
    put(tool, "version", json_string(build_info.version));
    put(tool, "git", json_string(build_info.git));
    put(tool, "dirty", json_boolean(build_info.dirty));
    put(h, "schema_version", json_string(REPORT_SCHEMA));
    put(h, "tool", tool);
    put(h, "started", json_string(when));
    /* Readers that keep numbers as doubles would round larger seeds. */
    put(h, "seed", seed >> 53 ? json_string(digits) : json_integer((json_int_t)seed));
    return h;
}

json_t *report_rest(void)
{
    json_t *rest = json_object(), *summary = json_object();
    put(rest, "complete", json_false());
    put(rest, "stopped", json_null());
    put(rest, "seconds", json_real(0));
    for (int s = 0; s <= CASE_WAIVED; s++)
        put(summary, case_status_name((enum case_status)s), json_integer(0));
    put(rest, "summary", summary);
    put(rest, "coverage", json_array());
    static const char *const arrays[] = {"models", "locate",   "effect",
                                         "bench",  "quantize", "mutants"};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) put(rest, arrays[i], json_array());
    return rest;
}

enum status report_open(struct report **out, uint64_t seed, struct err *e)
{
    struct report *r = calloc(1, sizeof *r);
    if (!r) return fail(e, ST_NOMEM, "no memory for the report");
    json_t *h = head(seed);
    enum status st = stream_open(&r->stream, h, e);
    json_decref(h);
    r->root = report_rest();
    put(r->root, "environment", environment_make());
    r->cells = json_object();
    r->start = now_seconds();
    if (st != ST_OK)
        report_close(r);
    else
        *out = r;
    return st;
}

void report_close(struct report *r)
{
    if (!r) return;
    json_decref(r->root);
    json_decref(r->cells);
    stream_close(r->stream);
    free(r);
}

enum status report_stream(struct report *r, const char *path, struct err *e)
{
    return stream_path(r->stream, path, r->root, e);
}

void report_tick(struct report *r)
{
    if (stream_is_due(r->stream)) report_checkpoint(r);
}

void report_checkpoint(struct report *r)
{
    if (!stream_is_live(r->stream)) return;
    put(r->root, "seconds", json_real(now_seconds() - r->start));
    stream_checkpoint(r->stream, r->root, NULL);
}

void report_stopped(struct report *r, const char *why)
{
    put(r->root, "stopped", report_text(why));
}

static json_t *member(const struct report *r, const char *object, const char *key)
{
    return json_object_get(json_object_get(r->root, object), key);
}

/* True if an array of objects has one whose key is value. */
static bool has(json_t *array, const char *key, const char *value)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item)
    {
        const char *v = json_string_value(json_object_get(item, key));
        if (v && strcmp(v, value) == 0) return true;
    }
    return false;
}

void report_device(struct report *r, const char *subject, const char *name, const char *driver,
                   const char *api, const char *features)
{
    json_t *devices = member(r, "environment", "devices");
    if (has(devices, "subject", subject)) return;
    json_t *d = json_object();
    put(d, "subject", report_text(subject));
    put(d, "name", report_text(name));
    put(d, "driver", report_text(driver));
    put(d, "api", report_text(api));
    put(d, "features", report_text(features));
    json_array_append_new(devices, d);
}

void report_model_file(struct report *r, const char *path, const char *sha256)
{
    json_t *models = member(r, "environment", "models");
    if (has(models, "sha256", sha256)) return;
    json_t *m = json_object();
    put(m, "path", report_text(path));
    put(m, "sha256", report_text(sha256));
    json_array_append_new(models, m);
}

void report_vectors(struct report *r, const char *manifest_sha256)
{
    put(json_object_get(r->root, "environment"), "vectors_sha256", report_text(manifest_sha256));
}

/* ---- cases ------------------------------------------------------------------------------- */

static void increment(json_t *object, const char *key, json_int_t by)
{
    put(object, key, json_integer(json_integer_value(json_object_get(object, key)) + by));
}

static json_t *coverage_cell(json_t *coverage, json_t *index, const char *const key[4])
{
    struct buffer name = {0};
    for (size_t i = 0; i < 4; i++)
        buffer_print(&name, key[i] ? "%zu %s " : "- ", key[i] ? strlen(key[i]) : 0, key[i]);
    json_t *cell = json_object_get(index, name.data);
    if (!cell) {
        static const char *const keys[] = {"suite", "op", "type", "subject"};
        static const char *const counts[] = {"asked", "run", "skipped", "failed"};
        cell = json_object();
        for (size_t i = 0; i < 4; i++) put(cell, keys[i], report_text(key[i]));
        for (size_t i = 0; i < 4; i++) put(cell, counts[i], json_integer(0));
        put(cell, "used", json_null());
        put(cell, "reason", json_null());
        json_array_append(coverage, cell);
        put(index, name.data, cell);
    }
    buffer_free(&name);
    return cell;
}

static double used_value(const json_t *j)
{
    if (json_is_number(j)) return json_number_value(j);
    return json_is_string(j) ? (double)INFINITY : -1;
}

bool report_uses_more(const json_t *a, const json_t *b)
{
    const char *t = json_string_value(a);
    return used_value(a) > used_value(b) || (t && strcmp(t, "nan") == 0);
}

void report_count(json_t *coverage, json_t *index, const json_t *c)
{
    static const char *const keys[] = {"suite", "op", "type", "subject"};
    const char *key[4], *status = json_string_value(json_object_get(c, "status"));
    for (size_t i = 0; i < 4; i++) key[i] = json_string_value(json_object_get(c, keys[i]));
    json_t *cell = coverage_cell(coverage, index, key), *used = json_object_get(c, "used");
    increment(cell, "asked", 1);
    if (strcmp(status, "skip") == 0) {
        increment(cell, "skipped", 1);
        if (json_is_null(json_object_get(cell, "reason")))
            json_object_set(cell, "reason", json_object_get(c, "message"));
        return;
    }
    increment(cell, "run", 1);
    increment(cell, "failed", report_status_is_bad(status) ? 1 : 0);
    if (report_uses_more(used, json_object_get(cell, "used"))) json_object_set(cell, "used", used);
}

bool report_status_is_bad(const char *status)
{
    return strcmp(status, "fail") == 0 || strcmp(status, "crash") == 0 ||
           strcmp(status, "timeout") == 0;
}

void report_case(struct report *r, const struct case_id *c, const struct case_result *res,
                 uint64_t seed, const char *rerun)
{
    char name[CASE_NAME], hex[24];
    case_name(c, name, sizeof name);
    snprintf(hex, sizeof hex, "%#llx", (unsigned long long)seed);
    json_t *j = json_object();
    put(j, "name", report_text(name));
    put(j, "suite", report_text(c->suite));
    put(j, "op", report_text(c->op));
    put(j, "type", report_text(c->type));
    put(j, "shape", report_text(c->shape));
    put(j, "subject", report_text(c->subject));
    put(j, "variant", *res->variant ? report_text(res->variant) : json_null());
    put(j, "dispatches", json_integer((json_int_t)res->dispatches));
    put(j, "status", json_string(case_status_name(res->status)));
    put(j, "error", report_number(res->error));
    put(j, "bound", report_number(res->bound));
    put(j, "used", report_number(res->used));
    put(j, "nmse_worst_row",
        isnan(res->nmse_worst_row) ? json_null() : report_number(res->nmse_worst_row));
    put(j, "bad", json_integer((json_int_t)res->bad));
    put(j, "first_bad", res->bad ? json_integer((json_int_t)res->first_bad) : json_null());
    put(j, "pattern", *res->pattern ? report_text(res->pattern) : json_null());
    put(j, "message", *res->message ? report_text(res->message) : json_null());
    put(j, "seed", json_string(hex));
    put(j, "seconds", json_real(res->seconds));
    put(j, "rerun", report_text(rerun));
    increment(json_object_get(r->root, "summary"), case_status_name(res->status), 1);
    report_count(json_object_get(r->root, "coverage"), r->cells, j);
    stream_case(r->stream, j);
    report_tick(r);
}

/* ---- models ------------------------------------------------------------------------------ */

void report_model(struct report *r, const char *name, const char *sha256, const char *prompt)
{
    json_t *m = json_object();
    put(m, "name", report_text(name));
    put(m, "sha256", report_text(sha256));
    put(m, "prompt", report_text(prompt));
    put(m, "types", json_array());
    json_array_append_new(json_object_get(r->root, "models"), m);
    r->model = m;
}

static json_t *verdicts(const struct report_type *t)
{
    json_t *o = json_object();
    for (size_t i = 0; i < t->n_subjects; i++) {
        const struct report_verdict *v = &t->subjects[i];
        json_t *s = json_object();
        bool ran = strcmp(v->verdict, "not_run") != 0;
        put(s, "status", report_text(v->status));
        put(s, "used", ran ? report_number(v->used) : json_null());
        put(s, "top_id", ran ? json_integer(v->top_id) : json_null());
        put(s, "verdict", report_text(v->verdict));
        if (v->reason) put(s, "reason", report_text(v->reason));
        put(o, v->subject, s);
    }
    return o;
}

void report_type_add(struct report *r, const struct report_type *t)
{
    json_t *j = json_object(), *top = json_array(), *layers = json_array();
    for (size_t i = 0; i < t->n_top; i++) {
        json_t *k = json_object();
        put(k, "id", json_integer(t->top[i].id));
        put(k, "text", report_text(t->top[i].text));
        put(k, "logit", report_number(t->top[i].logit));
        json_array_append_new(top, k);
    }
    for (size_t i = 0; i < t->n_layers; i++) {
        const struct report_layer *l = &t->layers[i];
        json_t *k = json_object();
        put(k, "layer", json_integer(l->layer));
        put(k, "site", report_text(l->site));
        put(k, "mean", report_number(l->mean));
        put(k, "rms", report_number(l->rms));
        put(k, "max_abs", report_number(l->max_abs));
        put(k, "nonfinite", json_integer((json_int_t)l->nonfinite));
        json_array_append_new(layers, k);
    }
    put(j, "type", report_text(t->type));
    put(j, "bits_per_weight", report_number(t->bits_per_weight));
    put(j, "bytes", json_integer((json_int_t)t->bytes));
    put(j, "top", top);
    put(j, "margin", report_number(t->margin));
    put(j, "kl_mean", isnan(t->kl_mean) ? json_null() : report_number(t->kl_mean));
    put(j, "kl_max", isnan(t->kl_max) ? json_null() : report_number(t->kl_max));
    put(j, "same_top", json_integer((json_int_t)t->same_top));
    put(j, "prompts", json_integer((json_int_t)t->prompts));
    put(j, "subjects", verdicts(t));
    put(j, "layers", layers);
    json_array_append_new(json_object_get(r->model, "types"), j);
}

void report_bench(struct report *r, const struct report_bench *b)
{
    json_t *j = json_object();
    put(j, "name", report_text(b->name));
    put(j, "subject", report_text(b->subject));
    put(j, "unit", report_text(b->unit));
    put(j, "median", report_number(b->median));
    put(j, "spread", report_number(b->spread));
    put(j, "samples", json_integer((json_int_t)b->samples));
    put(j, "more_is_better", json_boolean(b->more_is_better));
    json_array_append_new(json_object_get(r->root, "bench"), j);
}

void report_quantized(struct report *r, const struct report_quantized *q)
{
    json_t *j = json_object();
    put(j, "file", report_text(q->file));
    put(j, "tensor", report_text(q->tensor));
    put(j, "from", report_text(q->from));
    put(j, "to", report_text(q->to));
    put(j, "elements", json_integer((json_int_t)q->elements));
    put(j, "bytes", json_integer((json_int_t)q->bytes));
    put(j, "nmse", report_number(q->nmse));
    put(j, "max_error", report_number(q->max_error));
    json_array_append_new(json_object_get(r->root, "quantize"), j);
}

/* ---- files ------------------------------------------------------------------------------- */

enum status report_save(struct report *r, const char *path, struct err *e)
{
    enum status st = ST_OK;
    put(r->root, "seconds", json_real(now_seconds() - r->start));
    put(r->root, "complete", json_boolean(json_is_null(json_object_get(r->root, "stopped"))));
    environment_libraries(json_object_get(r->root, "environment"));
    if (!stream_has_path(r->stream)) st = stream_path(r->stream, path, r->root, e);
    return st == ST_OK ? stream_finish(r->stream, r->root, e) : st;
}
