/* Entries of locate[]: one per run of localisation. */
#include "locate/locate.h"
#include "reports/report_json.h"

static void put(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static json_t *magnitude(const struct magnitude *m)
{
    json_t *j = json_object();
    put(j, "rms", report_number(m->rms));
    put(j, "max_abs", report_number(m->max_abs));
    put(j, "nonfinite", json_integer((json_int_t)m->nonfinite));
    return j;
}

static json_t *finding(const struct finding *f)
{
    json_t *j = json_object();
    put(j, "layer", site_table[f->site].scope == SITE_LAYER ? json_integer(f->layer) : json_null());
    put(j, "site", json_string(site_table[f->site].name));
    put(j, "rows", json_integer((json_int_t)f->rows));
    put(j, "cols", json_integer((json_int_t)f->cols));
    put(j, "kernel", *f->kernel ? report_text(f->kernel) : json_null());
    put(j, "reference", magnitude(&f->want));
    put(j, "subject", magnitude(&f->got));
    if (f->has_free) {
        json_t *k = json_object();
        put(k, "error", report_number(f->free_error));
        put(k, "bound", report_number(f->free_bound));
        put(k, "used", report_number(f->free_used));
        put(j, "free", k);
    }
    if (f->has_local) {
        json_t *k = json_object();
        put(k, "error", report_number(f->local.error));
        put(k, "bound", report_number(f->local.bound));
        put(k, "used", report_number(f->local.used));
        put(k, "bad", json_integer((json_int_t)f->local.bad));
        put(k, "first_bad",
            f->local.bad ? json_integer((json_int_t)f->local.first_bad) : json_null());
        put(k, "pattern", *f->local.pattern ? report_text(f->local.pattern) : json_null());
        put(j, "local", k);
    }
    return j;
}

static json_t *variant(const struct variant_result *v)
{
    json_t *j = json_object(), *sites = json_array();
    put(j, "name", json_string(v->variant->name));
    put(j, "ran", json_boolean(v->ran));
    put(j, "reason", v->ran ? json_null() : report_text(v->reason));
    put(j, "verdict", json_string(verdict_name(v->ran ? v->worst : VERDICT_NOT_RUN)));
    put(j, "defect", json_boolean(v->ran && v->located != LOCATED_NOTHING));
    for (size_t i = 0; i < v->n; i++) json_array_append_new(sites, finding(&v->findings[i]));
    put(j, "sites", sites);
    return j;
}

void locate_report_names(struct report *r, const char *model, const char *subject,
                         const char *verdict, const char *tensor, const char *op)
{
    json_t *j = json_object(), *k = tensor ? json_object() : json_null();
    put(j, "model", report_text(model));
    put(j, "subject", report_text(subject));
    put(j, "status", json_string(tensor ? "fail" : "pass"));
    put(j, "partial", json_false());
    put(j, "verdict", report_text(verdict));
    if (tensor) {
        put(k, "layer", json_null());
        put(k, "site", report_text(tensor));
        put(k, "op", report_text(op));
        put(k, "cause", json_null());
        put(k, "unexplained", json_null());
    }
    put(j, "defect", k);
    put(j, "variants", json_array());
    json_array_append_new(report_list(r, "locate"), j);
}

void locate_report(struct report *r, const struct locate *l, const char *model, const char *subject)
{
    const struct located_fault *d = &l->fault;
    json_t *j = json_object(), *variants = json_array();
    put(j, "model", report_text(model));
    put(j, "subject", report_text(subject));
    put(j, "status",
        json_string(d->kind != LOCATED_NOTHING ? "fail"
                    : l->partial               ? "skip"
                                               : "pass"));
    put(j, "partial", json_boolean(l->partial));
    put(j, "verdict", report_text(l->verdict));
    put(j, "conforms_as", l->conforms_as ? json_string(l->conforms_as) : json_null());
    if (d->kind != LOCATED_NOTHING) {
        const struct finding *f = &l->variants[d->variant].findings[d->finding];
        json_t *k = json_object();
        put(k, "layer",
            site_table[f->site].scope == SITE_LAYER ? json_integer(f->layer) : json_null());
        put(k, "site", json_string(site_table[f->site].name));
        put(k, "op", report_text(d->op));
        put(k, "cause", *d->cause ? report_text(d->cause) : json_null());
        put(k, "unexplained", *d->cause ? report_number(d->unexplained) : json_null());
        put(j, "defect", k);
    } else {
        put(j, "defect", json_null());
    }
    for (size_t i = 0; i < l->n_variants; i++)
        json_array_append_new(variants, variant(&l->variants[i]));
    put(j, "variants", variants);
    json_array_append_new(report_list(r, "locate"), j);
    if (l->partial) report_stopped(r, "interrupted");
}
