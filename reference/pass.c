/* What every part of a forward pass stands on: memory, the sites, and when to stop. */
#include "reference/forward_priv.h"

#include <math.h>
#include <stdlib.h>

double *ref_pass_place(struct ref_pass *p, size_t cols)
{
    const size_t n = cols > 0 && p->rows > SIZE_MAX / cols ? SIZE_MAX : p->rows * cols;
    double *values = ref_blocks_alloc(&p->blocks, n, sizeof *values);
    if (!values) ref_fail(p->e, "out of memory: activations of %zu tokens x %zu", p->rows, cols);
    return values;
}

static void free_bounds(struct ref_pass *p)
{
    free(p->local);
    free(p->dev);
    free(p->entering);
    free(p->noise);
}

bool ref_pass_widen(struct ref_pass *p, size_t cols)
{
    const size_t n = p->rows * cols;
    if (n <= p->capacity || !p->track) return true;
    free_bounds(p);
    p->local = calloc(n, sizeof *p->local);
    p->dev = calloc(n, sizeof *p->dev);
    p->entering = calloc(n, sizeof *p->entering);
    p->noise = calloc(n, sizeof *p->noise);
    p->capacity = n;
    if (p->local && p->dev && p->entering && p->noise) return true;
    return ref_fail(p->e, "out of memory: bounds of %zu tokens x %zu", p->rows, cols);
}

bool ref_pass_alloc(struct ref_pass *p, size_t cols, struct ref_vals *out)
{
    *out = (struct ref_vals){.x = ref_pass_place(p, cols), .cols = cols};
    if (out->x && p->track) out->var = ref_pass_place(p, cols);
    return out->x && (out->var || !p->track) && ref_pass_widen(p, cols);
}

struct ref_blocks ref_pass_begin(struct ref_pass *p)
{
    const struct ref_blocks outer = p->blocks;
    p->blocks = (struct ref_blocks){0};
    return outer;
}

void ref_pass_end(struct ref_pass *p, struct ref_blocks outer)
{
    ref_blocks_free(&p->blocks);
    p->blocks = outer;
}

bool ref_pass_cancelled(struct ref_pass *p, uint32_t layer)
{
    if (!p->f->cancel || !p->f->cancel(p->f->ctx)) return false;
    ref_fail(p->e, "cancelled before layer %u", layer);
    return true;
}

bool ref_pass_wants(const struct ref_pass *p, enum site site, uint32_t layer)
{
    return !p->quiet && p->f->take && (!p->f->want || p->f->want(p->f->ctx, site, layer));
}

bool ref_pass_exact(struct ref_pass *p, const struct ref_vals *in, struct ref_vals *out)
{
    *out = (struct ref_vals){.x = in->x, .var = ref_pass_place(p, in->cols), .cols = in->cols};
    return out->var != NULL;
}

void ref_pass_roots(const struct ref_pass *p, const double *var, size_t cols, double *dev)
{
    for (size_t i = 0; i < p->rows * cols; i++)
        dev[i] = p->uncertain[i / cols] ? INFINITY : sqrt(var[i]);
}

void ref_pass_site(struct ref_pass *p, enum site site, uint32_t layer, const struct ref_vals *v)
{
    if (!ref_pass_wants(p, site, layer)) return;
    ref_pass_roots(p, v->var, v->cols, p->dev);
    p->f->take(p->f->ctx, &(struct ref_values){.site = site,
                                               .layer = layer,
                                               .value = v->x,
                                               .local = p->local,
                                               .dev = p->dev,
                                               .rows = p->rows,
                                               .cols = v->cols});
}

void ref_pass_site_local(struct ref_pass *p, enum site site, uint32_t layer,
                         const struct ref_vals *v, const struct ref_vals *exact)
{
    if (!ref_pass_wants(p, site, layer)) return;
    for (size_t i = 0; i < p->rows * v->cols; i++) p->local[i] = sqrt(exact->var[i]);
    ref_pass_site(p, site, layer, v);
}

void ref_pass_free(struct ref_pass *p)
{
    ref_blocks_free(&p->blocks);
    free_bounds(p);
}
