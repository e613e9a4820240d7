/* Entries of effect[]: what tensor types and steps of precision cost. */
#include "judge/effect.h"
#include "reports/report_json.h"
#include "trace/trace_file.h"

static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static json_t *interval(const struct interval *i)
{
    json_t *j = json_object();
    put(j, "value", report_number(i->value));
    put(j, "low", report_number(i->low));
    put(j, "high", report_number(i->high));
    return j;
}

static json_t *row(const struct effect_row *r)
{
    json_t *j = json_object(), *layers = json_array(), *tensors = json_array();
    put(j, "type", report_text(r->type));
    put(j, "bits_per_weight", report_number(r->bits_per_weight));
    put(j, "positions", json_integer((json_int_t)r->n_positions));
    put(j, "kl_mean", interval(&r->kl));
    put(j, "kl_p99", report_number(r->kl_p99));
    put(j, "kl_max", report_number(r->kl_max));
    put(j, "same_top", interval(&r->top1));
    put(j, "top5_overlap", report_number(r->top5));
    put(j, "perplexity", report_number(r->ppl));
    put(j, "perplexity_ratio", interval(&r->ppl_ratio));
    put(j, "grade", json_string(effect_grade_name(r->grade)));
    for (size_t i = 0; i < r->n_layers; i++) {
        json_t *k = json_object();
        put(k, "layer", json_integer(r->layers[i].layer));
        put(k, "relative_error", report_number(r->layers[i].relative));
        json_array_append_new(layers, k);
    }
    for (size_t i = 0; i < r->n_tensors; i++) {
        json_t *k = json_object();
        put(k, "name", report_text(r->tensors[i].name));
        put(k, "type", report_text(r->tensors[i].type));
        put(k, "kl_mean", report_number(r->tensors[i].kl));
        json_array_append_new(tensors, k);
    }
    put(j, "layers", layers);
    put(j, "tensors", tensors);
    return j;
}

void effect_report(struct report *r, const struct effect_document *d)
{
    json_t *j = json_object(), *types = json_array(), *precisions = json_array();
    put(j, "model", report_text(d->model));
    put(j, "text", report_text(d->text));
    put(j, "tokens", json_integer((json_int_t)d->n_tokens));
    put(j, "partial", json_boolean(d->partial));
    enum tensor_type types_of[TYPE_ID_END];
    const size_t n = effect_quantized(d->master, types_of);
    json_t *quantized = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(quantized, json_string(type_by_id(types_of[i])->name));
    put(j, "master_quantized", quantized);
    for (size_t i = 0; i < d->n_rows; i++) json_array_append_new(types, row(&d->rows[i]));
    for (size_t i = 0; i < d->n_precisions; i++) {
        const struct effect_precision *p = &d->precisions[i];
        json_t *k = json_object();
        put(k, "type", report_text(d->precision_type));
        put(k, "activations", json_string(precision_name(&p->how)));
        put(k, "accumulate", json_string(accumulate_name(p->how.sum)));
        put(k, "kl_mean", report_number(p->kl_mean));
        put(k, "kl_max", report_number(p->kl_max));
        put(k, "same_top", json_integer((json_int_t)p->same_top));
        put(k, "positions", json_integer((json_int_t)p->n_positions));
        json_array_append_new(precisions, k);
    }
    put(j, "types", types);
    put(j, "precision", precisions);
    json_array_append_new(report_list(r, "effect"), j);
    if (d->partial) report_stopped(r, "interrupted");
}
