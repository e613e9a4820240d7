/* The operations of single sites, in double precision or less; see site.h. */
#include "trace/site.h"
#include "judge/bounds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- precision ----------------------------------------------------------------------------- */

enum tensor_type precision_type(const struct precision *p, enum tensor_type w)
{
    return p->activations == TYPE_ID_END ? type_by_id(w)->act : p->activations;
}

void precision_round(const struct precision *p, enum tensor_type w, double *x, size_t rows,
                     size_t n)
{
    const enum tensor_type act = precision_type(p, w);
    if (act != TYPE_F64) ref_round_activations(act, x, rows, n);
}

static float half(float x)
{
    return ref_f16_to_f32(ref_f32_to_f16(x));
}

static double dot_f32(const float *w, const double *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum += w[i] * (float)x[i];
    return (double)sum;
}

static double dot_f16(const float *w, const double *x, size_t n)
{
    float sum = 0;
    for (size_t i = 0; i < n; i++) sum = half(sum + half(w[i] * (float)x[i]));
    return (double)sum;
}

/* ---- borders ------------------------------------------------------------------------------- */

struct border_work {
    const struct ref_weight *w;
    enum tensor_type act;
    size_t rows;
    const double *x, *step; /* (rows, n_in) */
    double *border;         /* (rows, n_out) */
};

/* What else an engine's rounding of x may add to the product with one row of weights: x that lies
 * at the border of two steps; and in Q8_1 the sum of a block. */
static double border_of(const struct border_work *k, const float *row, const double *x,
                        const double *step)
{
    const size_t n = k->w->n_in, size = type_by_id(k->act)->block_elems;
    double sum = 0;
    for (size_t c = 0; c < n; c++) sum += fabs((double)row[c]) * step[c];
    for (size_t at = 0; k->act == TYPE_Q8_1 && at + size <= n; at += size) {
        double top = 0, block = 0;
        for (size_t c = at; c < at + size; c++) {
            top = fmax(top, fabs((double)row[c]));
            block += x[c];
        }
        sum += bound_q8_1_sum(top, block);
    }
    return fabs(k->w->scale) * sum;
}

static void border_row(void *ctx, size_t i)
{
    const struct border_work *k = ctx;
    const struct ref_weight *w = k->w;
    const uint8_t *data = w->data + i * type_bytes(type_by_id(w->type), w->n_in);
    float *row = malloc(w->n_in * sizeof *row);
    if (row && ref_decode(w->type, data, w->n_in, row))
        for (size_t r = 0; r < k->rows; r++)
            k->border[r * w->n_out + i] =
                border_of(k, row, k->x + r * w->n_in, k->step + r * w->n_in);
    free(row);
}

/* ---- inputs as the operation takes them ---------------------------------------------------- */

/* The vectors of a product, rounded, in a copy that the caller frees; and what their rounding may
 * add to its result. */
static double *product_inputs(const struct site_job *j, const struct ref_weight *w)
{
    const enum tensor_type act = precision_type(&j->precision, w->type);
    const size_t n = j->rows * w->n_in;
    double *x = alloc_array(2 * n, sizeof *x), *step = x + n;
    if (!x) return NULL;
    memcpy(x, j->in[0], n * sizeof *x);
    const bool borders = j->border && act != TYPE_F64;
    if (borders) ref_round_borders(act, x, j->rows, w->n_in, step);
    precision_round(&j->precision, w->type, x, j->rows, w->n_in);
    struct border_work k = {w, act, j->rows, x, step, j->border};
    if (borders) ref_parallel(w->n_out, border_row, &k);
    return x;
}

bool site_cached(enum tensor_type t, double *x, size_t n)
{
    const struct type_spec *type = type_by_id(t);
    float values[256];
    uint8_t bytes[sizeof values];
    if (t == TYPE_F32) return true;
    if (n % type->block_elems != 0) return false;
    for (size_t i = 0; i < n; i += type->block_elems) {
        for (size_t k = 0; k < type->block_elems; k++) values[k] = (float)x[i + k];
        if (!ref_cache_encode(t, values, type->block_elems, bytes)) return false;
        ref_decode(t, bytes, type->block_elems, values);
        for (size_t k = 0; k < type->block_elems; k++) x[i + k] = (double)values[k];
    }
    return true;
}

static double *cached(const struct site_job *j, const double *x)
{
    const size_t n = j->n_tokens * j->m->shape.n_kv_heads * j->m->shape.head_dim;
    double *copy = alloc_array(n, sizeof *copy);
    if (!copy) return NULL;
    memcpy(copy, x, n * sizeof *copy);
    if (site_cached(j->precision.kv, copy, n)) return copy;
    free(copy);
    return NULL;
}

/* ---- the site ------------------------------------------------------------------------------ */

static bool compute_linear(const struct site_job *j, const struct ref_weight *w,
                           struct ref_site_job *r, double *out, double *mag)
{
    enum site_accumulate sum = j->precision.sum;
    if (sum == SUM_OWN) sum = w->type == TYPE_F16 ? SUM_F16 : SUM_F64;
    r->dot = sum == SUM_F16 ? dot_f16 : sum == SUM_F32 ? dot_f32 : NULL;
    double *x = w->data ? product_inputs(j, w) : NULL;
    r->in[0] = x;
    const bool ok = x && ref_site_value(r, out, mag);
    free(x);
    return ok;
}

static bool compute_attention(const struct site_job *j, size_t n_in, struct ref_site_job *r,
                              double *out, double *mag)
{
    double *k = cached(j, j->in[1]), *v = n_in == 3 ? cached(j, j->in[2]) : NULL;
    r->in[1] = k;
    r->in[2] = v;
    const bool ok = k && (v || n_in < 3) && ref_site_value(r, out, mag);
    free(k);
    free(v);
    return ok;
}

bool site_compute(const struct site_job *j, double *out, double *mag)
{
    const struct ref_site site = ref_site_of(j->m->ref, j->site, j->layer);
    struct ref_site_job r = {.m = j->m->ref,
                             .site = j->site,
                             .layer = j->layer,
                             .tokens = j->tokens,
                             .n_tokens = j->n_tokens,
                             .rows = j->rows,
                             .in = {j->in[0], j->in[1], j->in[2]},
                             .show_hidden = j->show_hidden};
    if (site.kind == REF_SITE_LINEAR) return compute_linear(j, &site.weight, &r, out, mag);
    if (site.kind == REF_SITE_SCORES || site.kind == REF_SITE_ATTENTION)
        return compute_attention(j, site.n_in, &r, out, mag);
    return ref_site_value(&r, out, mag);
}
