/* The trial of a site; see hypotheses.h. */
#include "locate/cause_priv.h"
#include "judge/bounds.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double EXPLAINED = 0.01; /* of the error's energy may stay unexplained */

enum ref_site_kind cause_kind(const struct suspect *s)
{
    return ref_site_of(s->m->ref, s->site, s->layer).kind;
}

const double *cause_input(const struct trial *t, size_t i)
{
    const struct ref_site site = ref_site_of(t->s->m->ref, t->s->site, t->s->layer);
    if (i >= site.n_in) return NULL;
    const struct record_site *r = record_find(t->s->want, site.in[i], site.in_layer[i]);
    return r ? r->value : NULL;
}

const double *cause_value(const struct trial *t, enum site site)
{
    const struct record_site *r = record_find(t->s->want, site, t->s->layer);
    return r ? r->value : NULL;
}

static void judge_guess(struct trial *t, const char *fmt, va_list ap)
{
    double left = 0, error = 0;
    size_t n = 0;
    for (size_t i = 0; i < t->n_rows * t->n_cols; i++) {
        if (isnan(t->guess[i])) continue;
        n++;
        const double miss = t->got[i] == t->guess[i] ? 0 : t->got[i] - t->guess[i];
        const double was = t->got[i] == t->want[i] ? 0 : t->got[i] - t->want[i];
        left += isfinite(miss) ? miss * miss : INFINITY;
        error += isfinite(was) ? was * was : 1e30;
    }
    const double share = n > 0 && error > 0 ? left / error : INFINITY;
    if (!(share < 0.1 * t->best)) return; /* the first of equally good ones */
    t->best = share;
    vsnprintf(t->cause, sizeof t->cause, fmt, ap);
}

void cause_try(struct trial *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    judge_guess(t, fmt, ap);
    va_end(ap);
}

void cause_try_whole(struct trial *t, const double *values, const char *fmt, ...)
{
    va_list ap;
    if (!values) return;
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t c = 0; c < t->n_cols; c++)
            t->guess[r * t->n_cols + c] = values[t->rows[r] * t->n_cols_all + t->cols[c]];
    va_start(ap, fmt);
    judge_guess(t, fmt, ap);
    va_end(ap);
}

/* ---- faults that any operation can have ------------------------------------------------------ */

static void try_factor(struct trial *t)
{
    const double root = sqrt((double)t->s->m->shape.head_dim);
    double both = 0, own = 0;
    for (size_t i = 0; i < t->n_rows * t->n_cols; i++) {
        if (!isfinite(t->want[i]) || !isfinite(t->got[i])) continue;
        both += t->want[i] * t->got[i];
        own += t->want[i] * t->want[i];
    }
    const double f = own > 0 ? both / own : 0;
    for (size_t i = 0; i < t->n_rows * t->n_cols; i++)
        t->guess[i] = isfinite(t->want[i]) ? f * t->want[i] : t->want[i];
    if (f == 0)
        cause_try(t, "every value is zero: nothing was computed");
    else if (t->s->site == SITE_SCORES && fabs(f / root - 1) < 1e-4)
        cause_try(t, "scale 1/sqrt(head_dim) missing");
    else if (t->s->site == SITE_SCORES && fabs(f * root - 1) < 1e-4)
        cause_try(t, "scale 1/sqrt(head_dim) applied twice");
    else
        cause_try(t, "every value is %.6g times what it should be", f);
}

static void try_clip(struct trial *t)
{
    double top = 0, want_top = 0;
    for (size_t i = 0; i < t->n_rows * t->n_cols; i++) {
        if (isfinite(t->got[i])) top = fmax(top, fabs(t->got[i]));
        if (isfinite(t->want[i])) want_top = fmax(want_top, fabs(t->want[i]));
    }
    if (!(top < want_top) || top == 0) return;
    for (size_t i = 0; i < t->n_rows * t->n_cols; i++)
        t->guess[i] = fmin(fmax(t->want[i], -top), top);
    cause_try(t, "values clipped at +-%.6g", top);
}

/* Rows and columns of the right result at other places. */
static void try_shifts(struct trial *t, const double *all)
{
    const bool linear = cause_kind(t->s) == REF_SITE_LINEAR;
    for (int d = -1; d <= 1; d += 2) {
        for (size_t r = 0; r < t->n_rows; r++)
            for (size_t c = 0; c < t->n_cols; c++) {
                const size_t to = t->cols[c] + (size_t)d;
                t->guess[r * t->n_cols + c] =
                    to < t->n_cols_all ? all[t->rows[r] * t->n_cols_all + to] : NAN;
            }
        cause_try(t, "%s shifted by %+d", linear ? "rows of the weights" : "values", d);
        for (size_t r = 0; r < t->n_rows; r++)
            for (size_t c = 0; c < t->n_cols; c++) {
                const size_t to = t->rows[r] + (size_t)d;
                t->guess[r * t->n_cols + c] =
                    to < t->s->n_tokens ? all[to * t->n_cols_all + t->cols[c]] : NAN;
            }
        if (t->n_rows > 1 && t->s->site == SITE_EMBD)
            cause_try(t, d > 0 ? "BOS missing: every token is one place too early"
                               : "BOS twice: every token is one place too late");
        else if (t->n_rows > 1)
            cause_try(t, "tokens shifted by %+d: BOS or a position is off", d);
    }
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t c = 0; c < t->n_cols; c++) t->guess[r * t->n_cols + c] = all[t->cols[c]];
    if (t->n_rows > 1) cause_try(t, "every token has the values of the first one");
}

static size_t heads_of(const struct trial *t)
{
    const struct ref_shape *s = &t->s->m->shape;
    const enum site site = t->s->site;
    if (t->s->m->hyper.latent) return 0;
    if (site == SITE_Q || site == SITE_Q_NORM || site == SITE_Q_ROPE || site == SITE_ATTN)
        return s->n_heads;
    if (site == SITE_K || site == SITE_V || site == SITE_K_NORM || site == SITE_K_ROPE)
        return s->n_kv_heads;
    return 0;
}

static size_t norm_of_neox(size_t i, size_t d)
{
    return i % 2 * (d / 2) + i / 2;
}
static size_t neox_of_norm(size_t i, size_t d)
{
    return i % (d / 2) * 2 + i / (d / 2);
}

static void try_permutations(struct trial *t, const double *all)
{
    static const char *const words[2][2] = {
        {"rows of each head permuted for NORM pairing twice",
         "rows of each head in NEOX order: not permuted for NORM pairing"},
        {"rows of each head permuted for NORM pairing, where the model has NEOX",
         "rows of each head permuted back from NORM pairing, where the model has NEOX"}};
    const size_t n = heads_of(t), d = t->s->m->shape.head_dim;
    for (int way = 0; n > 0 && way < 2; way++) {
        for (size_t r = 0; r < t->n_rows; r++)
            for (size_t c = 0; c < t->n_cols; c++) {
                const size_t col = t->cols[c], i = col % d;
                const size_t from = col - i + (way ? neox_of_norm(i, d) : norm_of_neox(i, d));
                t->guess[r * t->n_cols + c] = all[t->rows[r] * t->n_cols_all + from];
            }
        cause_try(t, "%s", words[t->s->m->hyper.rope.pairing == REF_ROPE_NEOX][way]);
    }
    if (n < 2) return;
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t c = 0; c < t->n_cols; c++) {
            const size_t col = t->cols[c], head = col / d, i = col % d;
            t->guess[r * t->n_cols + c] = all[t->rows[r] * t->n_cols_all + (n - 1 - head) * d + i];
        }
    cause_try(t, "heads in reverse order");
}

static bool sums_up(enum ref_site_kind kind)
{
    return kind == REF_SITE_LINEAR || kind == REF_SITE_SCORES || kind == REF_SITE_ATTENTION;
}

/* The nearest number of a format. */
static void try_formats(struct trial *t)
{
    size_t halves = 0, wanted = 0, n = t->n_rows * t->n_cols;
    for (size_t i = 0; i < n; i++) {
        t->guess[i] = (double)ref_f16_to_f32(ref_f32_to_f16((float)t->want[i]));
        halves += (double)ref_f16_to_f32(ref_f32_to_f16((float)t->got[i])) == t->got[i];
        wanted += t->guess[i] == (double)(float)t->want[i];
    }
    cause_try(t, "results rounded to f16");
    for (size_t i = 0; i < n; i++)
        t->guess[i] = (double)ref_bf16_to_f32(ref_f32_to_bf16((float)t->want[i]));
    cause_try(t, "results rounded to bf16");
    if (!sums_up(cause_kind(t->s)) || t->best < EXPLAINED || halves < n || wanted * 2 > n) return;
    t->best = EXPLAINED / 2;
    snprintf(t->cause, sizeof t->cause,
             "accumulation in half precision: every result is an f16 number");
}

static void try_nonfinite(struct trial *t)
{
    size_t bad = 0;
    for (size_t i = 0; i < t->n_rows * t->n_cols; i++)
        bad += !isfinite(t->got[i]) && isfinite(t->want[i]);
    if (bad == 0 || t->best < EXPLAINED) return;
    t->best = EXPLAINED / 2;
    snprintf(t->cause, sizeof t->cause,
             "%zu of %zu values are not finite: not written, or overflow", bad,
             t->n_rows * t->n_cols);
}

/* ---- the trial ------------------------------------------------------------------------------- */

enum { MAX_ROWS = 4, MAX_COLS = 192 };

struct choice {
    size_t *rows, *cols, n_rows, n_cols;
};

static bool differs(const struct record_site *want, size_t at, float got)
{
    const double bound = want->local ? want->local[at] : bound_unknown(want->value[at]);
    return !((double)got == want->value[at]) && !(fabs((double)got - want->value[at]) <= bound);
}

/* Rows (tokens) and columns of which something is wrong first, then others, in ascending order. */
static bool choose(struct choice *k, const struct suspect *s, const struct record_site *want,
                   size_t max_rows, size_t max_cols)
{
    const size_t rows = s->got->rows, first = s->got->first_row, cols = want->cols;
    bool *hit = alloc_array(rows + cols, sizeof *hit);
    k->rows = alloc_array(rows, sizeof *k->rows);
    k->cols = alloc_array(cols, sizeof *k->cols);
    if (!hit || !k->rows || !k->cols) {
        free(hit);
        return false;
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++)
            if (differs(want, (first + r) * cols + c, s->got->got[r * cols + c]))
                hit[r] = hit[rows + c] = true;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t r = 0; r < rows && k->n_rows < max_rows; r++)
            if (hit[r] == (pass == 0)) k->rows[k->n_rows++] = first + r;
        size_t n_hit = 0, step;
        for (size_t c = 0; c < cols; c++) n_hit += hit[rows + c] == (pass == 0);
        const size_t room = pass == 0 ? max_cols * 2 / 3 : max_cols - k->n_cols;
        step = n_hit > room && room ? (n_hit + room - 1) / room : 1;
        size_t seen = 0, taken = 0;
        for (size_t c = 0; c < cols && taken < room; c++) {
            if (hit[rows + c] != (pass == 0) || seen++ % step != 0) continue;
            k->cols[k->n_cols++] = c;
            taken++;
        }
    }
    free(hit);
    return true;
}

static void try_all(struct trial *t, const struct record_site *want)
{
    const double *all = want->value;
    switch (cause_kind(t->s)) {
    case REF_SITE_LINEAR:
        cause_linear(t);
        break;
    case REF_SITE_NORM:
        cause_norm(t);
        break;
    case REF_SITE_ROPE:
        cause_rope(t);
        break;
    case REF_SITE_SCORES:
    case REF_SITE_SOFTMAX:
    case REF_SITE_ATTENTION:
        cause_attention(t);
        break;
    case REF_SITE_SEVERAL:
        break;
    case REF_SITE_EMBED:
    case REF_SITE_ADD:
    case REF_SITE_ACT:
        cause_simple(t);
        break;
    }
    try_permutations(t, all);
    try_factor(t);
    try_clip(t);
    try_shifts(t, all);
    try_formats(t);
    try_nonfinite(t);
}

void cause_explain(const struct suspect *s, char *out, size_t cap, double *unexplained)
{
    const struct record_site *want = record_find(s->want, s->site, s->layer);
    const bool linear = cause_kind(s) == REF_SITE_LINEAR;
    struct choice k = {0};
    *out = 0;
    *unexplained = 1;
    if (!want || !s->got) return;
    double *room = NULL;
    if (choose(&k, s, want, linear ? MAX_ROWS : 64, linear ? MAX_COLS : SIZE_MAX / 2)) {
        const size_t n = k.n_rows * k.n_cols;
        room = alloc_array(3 * n, sizeof *room);
        struct trial t = {.s = s,
                          .n_cols_all = want->cols,
                          .rows = k.rows,
                          .cols = k.cols,
                          .n_rows = k.n_rows,
                          .n_cols = k.n_cols,
                          .want = room,
                          .got = room + n,
                          .guess = room + 2 * n,
                          .best = INFINITY};
        for (size_t i = 0; room && i < n; i++) {
            const size_t at = k.rows[i / k.n_cols] * want->cols + k.cols[i % k.n_cols];
            room[i] = want->value[at];
            room[n + i] = (double)s->got->got[at - s->got->first_row * want->cols];
        }
        if (room) try_all(&t, want);
        if (t.best < EXPLAINED) {
            snprintf(out, cap, "%s", t.cause);
            *unexplained = t.best;
        }
    }
    free(room);
    free(k.rows);
    free(k.cols);
}
