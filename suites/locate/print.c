/* The table, the variants and the verdict as text. */
#include "locate/locate.h"
#include "base/terminal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void percent(char *out, size_t cap, double used)
{
    if (!(used < 10))
        snprintf(out, cap, "%.1ex", used);
    else
        snprintf(out, cap, used >= 0.0995 ? "%.0f%%" : "%.2g%%", 100 * used);
}

static bool is_bad(const struct finding *f)
{
    return (f->has_local && f->local.bad) || (f->has_free && !(f->free_used <= 1));
}

static bool magnitudes_differ(const struct finding *f)
{
    return f->got.nonfinite != f->want.nonfinite ||
           fabs(f->got.rms - f->want.rms) > 1e-3 * f->want.rms ||
           fabs(f->got.max_abs - f->want.max_abs) > 1e-3 * f->want.max_abs;
}

static void print_details(const struct finding *f)
{
    if (magnitudes_differ(f)) {
        printf("      subject has rms %.4g, max %.4g", f->got.rms, f->got.max_abs);
        if (f->got.nonfinite) printf(", %zu values not finite", f->got.nonfinite);
        printf(" (reference: %.4g, %.4g)\n", f->want.rms, f->want.max_abs);
    }
    if (!f->has_local || !f->local.bad) return;
    const size_t i = f->local.first_bad;
    printf("      %zu of %zu wrong, first at token %zu, index %zu; %s\n", f->local.bad,
           f->local.total, i / f->cols, i % f->cols, f->local.pattern);
}

static void print_finding(const struct finding *f)
{
    char layer[16] = "", of_free[24] = "-", of_local[24] = "-", free_error[24] = "-",
         error[24] = "-", bound[24] = "-";
    if (site_table[f->site].scope == SITE_LAYER) snprintf(layer, sizeof layer, "%u", f->layer);
    if (f->has_free) {
        percent(of_free, sizeof of_free, f->free_used);
        snprintf(free_error, sizeof free_error, "%.1e", f->free_error);
    }
    if (f->has_local) {
        percent(of_local, sizeof of_local, f->local.used);
        snprintf(error, sizeof error, "%.1e", f->local.error);
        snprintf(bound, sizeof bound, "%.1e", f->local.bound);
    }
    const char *paint = f->has_local && f->local.bad ? "red" : is_bad(f) ? "yellow" : "";
    printf("%s%5s %-13s %8s %8s %8s %8s %8s %7.3g %7.3g%s\n", *paint ? terminal_color(paint) : "",
           layer, site_table[f->site].name, free_error, of_free, error, bound, of_local,
           f->want.rms, f->want.max_abs, *paint ? terminal_color("reset") : "");
    if (is_bad(f)) print_details(f);
}

static void print_header(void)
{
    printf("%s%5s %-13s %8s %8s %8s %8s %8s %7s %7s%s\n", terminal_color("bold"), "layer", "site",
           "free err", "of dev", "local", "bound", "used", "rms", "max", terminal_color("reset"));
}

static double weight_of(const struct finding *f)
{
    double used = f->has_local ? f->local.used : 0;
    return f->has_free && !(f->free_used <= used) ? f->free_used : used;
}

/* One line per layer: the site that uses most of its bound; all sites of a layer with a defect. */
static bool is_shown(const struct variant_result *v, size_t i, bool all)
{
    const struct finding *f = &v->findings[i];
    if (all || site_table[f->site].scope == SITE_MODEL) return true;
    if (v->located != LOCATED_NOTHING && v->findings[v->first].layer == f->layer &&
        site_table[v->findings[v->first].site].scope == SITE_LAYER)
        return true;
    for (size_t k = 0; k < v->n; k++) {
        const struct finding *o = &v->findings[k];
        if (o->layer != f->layer || site_table[o->site].scope == SITE_MODEL) continue;
        if (weight_of(o) > weight_of(f) || (weight_of(o) >= weight_of(f) && k < i)) return false;
    }
    return true;
}

static void print_table(const struct variant_result *v, bool all)
{
    printf("\n%s%s%s: %s\n", terminal_color("bold"), v->variant->name, terminal_color("reset"),
           v->variant->what);
    print_header();
    for (size_t i = 0; i < v->n; i++)
        if (is_shown(v, i, all)) print_finding(&v->findings[i]);
}

static double relative(const struct finding *f)
{
    return f->want.rms > 0 ? f->free_error / f->want.rms : 0;
}

/* How the error of the free run grows along the residual stream. */
static void print_growth(const struct variant_result *v)
{
    const struct finding *first = NULL, *last = NULL;
    for (size_t i = 0; i < v->n; i++) {
        if (!v->findings[i].has_free) continue;
        if (v->findings[i].site == SITE_RESID_2 && !first) first = &v->findings[i];
        if (v->findings[i].site == SITE_LOGITS) last = &v->findings[i];
    }
    if (!first || !last || !(last->free_used > 0)) return;
    printf("\naccumulated rounding: %.1e of the rms after the first layer, %.1e at the logits,\n"
           "where %.2g times as much is to be expected at most\n",
           relative(first), relative(last), 1 / last->free_used);
}

static void print_variants(const struct locate *l)
{
    printf("\n");
    for (size_t i = 0; i < l->n_variants; i++) {
        const struct variant_result *v = &l->variants[i];
        char place[96] = "";
        if (v->ran && v->located != LOCATED_NOTHING)
            locate_describe_place(&l->model, &v->findings[v->first], place, sizeof place);
        printf("%-8s %-48s ", v->variant->name, v->variant->what);
        if (!v->ran)
            printf("%snot run%s: %s\n", terminal_color("dim"), terminal_color("reset"), v->reason);
        else if (v->located == LOCATED_NOTHING)
            printf("%sno defect%s\n", terminal_color("green"), terminal_color("reset"));
        else
            printf("%s%s%s\n", terminal_color("red"), place, terminal_color("reset"));
    }
}

void locate_print(const struct locate *l, bool all_sites)
{
    const size_t shown = l->fault.kind == LOCATED_NOTHING ? 0 : l->fault.variant;
    for (size_t i = 0; i < l->n_variants; i++)
        if (l->variants[i].ran && (i < 2 || i == shown)) print_table(&l->variants[i], all_sites);
    if (l->n_variants && l->variants[shown].ran && l->fault.kind == LOCATED_NOTHING)
        print_growth(&l->variants[shown]);
    if (l->n_variants > 1) print_variants(l);
    if (*l->fault.cause)
        printf("\ncause: %s (leaves %.1e of the error unexplained)\n", l->fault.cause,
               l->fault.unexplained);
    const bool bad = l->fault.kind != LOCATED_NOTHING;
    printf("\n%s%s%s\n", terminal_color(bad ? "red" : "green"), l->verdict,
           terminal_color("reset"));
}
