/* Why a product of a matrix and vectors is wrong. */
#include "locate/cause_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The chosen outputs of a product. flat: the whole matrix as one array, or NULL: row by row. */
struct product {
    struct trial *t;
    struct ref_weight w;
    const double *x; /* (tokens, n_in) */
    float *row;      /* (n_in) */
    uint8_t *blocks; /* a row's bytes */
    size_t row_bytes;
};

static double *guess_at(struct trial *t, size_t r, size_t c)
{
    return &t->guess[r * t->n_cols + c];
}

static double finished(const struct suspect *s, double y)
{
    return ref_site_finish(s->m->ref, s->site, y);
}

/* guess = product with the row now in p->row, for column c. */
static void fill_column(struct product *p, size_t c, const float *row, const double *x)
{
    struct trial *t = p->t;
    for (size_t r = 0; r < t->n_rows; r++) {
        const double *in = x + t->rows[r] * p->w.n_in;
        double sum = 0;
        for (size_t k = 0; k < p->w.n_in; k++) sum += (double)row[k] * in[k];
        const double bias = p->w.bias ? (double)p->w.bias[t->cols[c]] : 0;
        *guess_at(t, r, c) = finished(t->s, p->w.scale * sum + bias);
    }
}

static const uint8_t *row_of(const struct product *p, size_t i)
{
    return p->w.data + i * p->row_bytes;
}

/* ---- blocks decoded wrongly ------------------------------------------------------------------ */

/* Blocks stored one row after the other, but taken as if one column of them followed the other. */
static void try_block_columns(struct product *p, const struct type_spec *own)
{
    const size_t n_blocks = p->w.n_in / own->block_elems, bytes = own->block_bytes;
    if (own->block_elems == 1 || n_blocks < 2) return;
    for (size_t c = 0; c < p->t->n_cols; c++) {
        for (size_t b = 0; b < n_blocks; b++)
            memcpy(p->blocks + b * bytes, p->w.data + (b * p->w.n_out + p->t->cols[c]) * bytes,
                   bytes);
        ref_decode(p->w.type, p->blocks, p->w.n_in, p->row);
        fill_column(p, c, p->row, p->x);
    }
    cause_try(p->t, "%s blocks taken column by column, not row by row", own->name);
}

static void try_decoders(struct product *p)
{
    struct trial *t = p->t;
    const struct type_spec *own = type_by_id(p->w.type);
    try_block_columns(p, own);
    for (const struct type_spec *o = type_next(NULL); o; o = type_next(o)) {
        if (o == own || !type_decodes(o) || o->block_bytes != own->block_bytes ||
            o->block_elems != own->block_elems)
            continue;
        for (size_t c = 0; c < t->n_cols; c++) {
            ref_decode(o->id, row_of(p, t->cols[c]), p->w.n_in, p->row);
            fill_column(p, c, p->row, p->x);
        }
        cause_try(t, "blocks look decoded as %s", o->name);
    }
    for (size_t f = 0; f < cause_n_block_faults; f++) {
        bool can = true;
        for (size_t c = 0; c < t->n_cols && can; c++) {
            memcpy(p->blocks, row_of(p, t->cols[c]), p->row_bytes);
            can = cause_block_faults[f].damage(p->w.type, p->blocks, p->w.n_in / own->block_elems);
            if (!can) break;
            ref_decode(p->w.type, p->blocks, p->w.n_in, p->row);
            fill_column(p, c, p->row, p->x);
        }
        if (can) cause_try(t, "%s decoder: %s", own->name, cause_block_faults[f].what);
    }
}

/* ---- the matrix read wrongly ----------------------------------------------------------------- */

/* A product told that n_out is n_in and the other way round: rows of the weights and of x are n_out
 * values long, rows of the result n_in. What lies behind the end of x is not known. */
static void try_arguments(struct product *p, const float *flat)
{
    struct trial *t = p->t;
    const size_t n_in = p->w.n_in, n_out = p->w.n_out, n_x = t->s->n_tokens * n_in;
    for (size_t r = 0; r < t->n_rows; r++)
        for (size_t c = 0; c < t->n_cols; c++) {
            const size_t place = t->rows[r] * n_out + t->cols[c];
            const size_t row = place / n_in, i = place % n_in;
            double sum = (row + 1) * n_out <= n_x ? 0 : NAN;
            for (size_t k = 0; k < n_out && !isnan(sum); k++)
                sum += (double)flat[i * n_out + k] * p->x[row * n_out + k];
            *guess_at(t, r, c) = finished(t->s, p->w.scale * sum);
        }
    cause_try(t, "arguments swapped: a product of %zu inputs and %zu outputs", n_out, n_in);
}

static void try_flat(struct product *p)
{
    struct trial *t = p->t;
    const size_t n = p->w.n_in * p->w.n_out, n_in = p->w.n_in, n_out = p->w.n_out;
    float *flat = n <= (size_t)1 << 28 ? alloc_array(n, sizeof *flat) : NULL;
    if (!flat) return;
    ref_decode(p->w.type, p->w.data, n, flat);
    for (size_t c = 0; c < t->n_cols; c++) {
        for (size_t k = 0; k < n_in; k++) p->row[k] = flat[k * n_out + t->cols[c]];
        fill_column(p, c, p->row, p->x);
    }
    cause_try(t, "rows look transposed");
    for (size_t c = 0; c < t->n_cols && n_in != n_out; c++) {
        for (size_t k = 0; k < n_in; k++) p->row[k] = flat[(t->cols[c] * n_out + k) % n];
        fill_column(p, c, p->row, p->x);
    }
    if (n_in != n_out) cause_try(t, "sizes swapped: rows taken as %zu values long", n_out);
    if (n_in != n_out) try_arguments(p, flat);
    free(flat);
}

/* How many of the inputs are summed. */
static void try_cut(struct product *p)
{
    struct trial *t = p->t;
    const size_t step = 32, n_steps = p->w.n_in / step;
    double *left = alloc_array(n_steps + 1, sizeof *left);
    for (size_t c = 0; left && c < t->n_cols && c < 16; c++) {
        ref_decode(p->w.type, row_of(p, t->cols[c]), p->w.n_in, p->row);
        for (size_t r = 0; r < t->n_rows; r++) {
            const double *x = p->x + t->rows[r] * p->w.n_in;
            double sum = p->w.bias ? (double)p->w.bias[t->cols[c]] : 0;
            for (size_t k = 0; k < n_steps * step; k++) {
                sum += p->w.scale * (double)p->row[k] * x[k];
                if ((k + 1) % step) continue;
                const double miss = t->got[r * t->n_cols + c] - sum;
                left[(k + 1) / step] += miss * miss;
            }
        }
    }
    size_t best = 1;
    for (size_t i = 2; left && i < n_steps; i++)
        if (left[i] < left[best]) best = i;
    for (size_t c = 0; left && best < n_steps && c < t->n_cols; c++) {
        ref_decode(p->w.type, row_of(p, t->cols[c]), p->w.n_in, p->row);
        for (size_t k = best * step; k < p->w.n_in; k++) p->row[k] = 0;
        fill_column(p, c, p->row, p->x);
    }
    if (left && best < n_steps)
        cause_try(t, "only the first %zu of %zu inputs are summed", best * step, p->w.n_in);
    free(left);
}

/* Outputs beyond a size that was not read from the file. */
static void try_short_output(struct product *p)
{
    struct trial *t = p->t;
    size_t from = t->n_cols_all;
    for (size_t c = 0; c < t->n_cols; c++)
        for (size_t r = 0; r < t->n_rows; r++)
            if (t->got[r * t->n_cols + c] == 0 && t->cols[c] < from) from = t->cols[c];
    if (from == 0 || from >= t->n_cols_all) return;
    for (size_t c = 0; c < t->n_cols; c++)
        for (size_t r = 0; r < t->n_rows; r++)
            *guess_at(t, r, c) = t->cols[c] < from ? t->want[r * t->n_cols + c] : 0;
    cause_try(t, "outputs from %zu on are zero: a size of %zu is not the file's %zu", from, from,
              t->n_cols_all);
}

/* ---- other operands -------------------------------------------------------------------------- */

static void try_weights(struct product *p, enum site site, uint32_t layer, const char *fmt)
{
    struct trial *t = p->t;
    struct product o = *p;
    o.w = ref_site_of(t->s->m->ref, site, layer).weight;
    if (!o.w.data || o.w.n_in != p->w.n_in || o.w.n_out < p->w.n_out || o.w.data == p->w.data)
        return;
    o.row_bytes = type_bytes(type_by_id(o.w.type), o.w.n_in);
    for (size_t c = 0; c < t->n_cols; c++) {
        ref_decode(o.w.type, row_of(&o, t->cols[c]), o.w.n_in, o.row);
        fill_column(&o, c, o.row, o.x);
    }
    cause_try(t, fmt, o.w.name);
}

static void try_operands(struct product *p)
{
    const struct suspect *s = p->t->s;
    static const enum site places[] = {SITE_Q,    SITE_K,  SITE_V,      SITE_ATTN_OUT,
                                       SITE_GATE, SITE_UP, SITE_FFN_OUT};
    if (s->site == SITE_LOGITS) {
        try_weights(p, SITE_EMBD, 0, "product with %s");
    } else {
        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            if (places[i] != s->site) try_weights(p, places[i], s->layer, "product with %s");
        for (uint32_t l = 0; l < s->m->shape.n_layers; l++)
            if (l != s->layer) try_weights(p, s->site, l, "product with %s");
    }
    const enum site from = ref_site_of(s->m->ref, s->site, s->layer).in[0];
    static const enum site inputs[] = {SITE_ATTN_NORM, SITE_RESID_1, SITE_FFN_NORM, SITE_ATTN,
                                       SITE_GATE,      SITE_UP,      SITE_RESID_2};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        const double *x = cause_value(p->t, inputs[i]);
        if (!x || x == p->x || ref_site_columns(s->m->ref, inputs[i], 1) != p->w.n_in) continue;
        for (size_t c = 0; c < p->t->n_cols; c++) {
            ref_decode(p->w.type, row_of(p, p->t->cols[c]), p->w.n_in, p->row);
            fill_column(p, c, p->row, x);
        }
        cause_try(p->t, "product with %s in place of %s", site_table[inputs[i]].name,
                  site_table[from].name);
    }
    const float *bias = p->w.bias;
    if (bias) {
        for (size_t i = 0; i < p->t->n_rows * p->t->n_cols; i++)
            p->t->guess[i] = p->t->want[i] - (double)bias[p->t->cols[i % p->t->n_cols]];
        cause_try(p->t, "bias missing");
    }
}

/* ---- precision ------------------------------------------------------------------------------- */

static float half(float x)
{
    return ref_f16_to_f32(ref_f32_to_f16(x));
}

static void try_half_sums(struct product *p)
{
    struct trial *t = p->t;
    for (size_t c = 0; c < t->n_cols; c++) {
        ref_decode(p->w.type, row_of(p, t->cols[c]), p->w.n_in, p->row);
        for (size_t r = 0; r < t->n_rows; r++) {
            const double *x = p->x + t->rows[r] * p->w.n_in;
            float sum = 0;
            for (size_t k = 0; k < p->w.n_in; k++) sum = half(sum + half(p->row[k] * (float)x[k]));
            const double bias = p->w.bias ? (double)p->w.bias[t->cols[c]] : 0;
            *guess_at(t, r, c) = finished(t->s, p->w.scale * (double)sum + bias);
        }
    }
    cause_try(t, "accumulation in half precision");
}

static void try_rounded_inputs(struct product *p)
{
    struct trial *t = p->t;
    const size_t n = t->s->n_tokens * p->w.n_in;
    static const struct {
        enum tensor_type type;
        const char *what;
    } ways[] = {{TYPE_F16, "inputs rounded to f16"},
                {TYPE_BF16, "inputs rounded to bf16"},
                {TYPE_Q8_0, "inputs rounded to 8 bits (q8_0)"},
                {TYPE_Q8_K, "inputs rounded to 8 bits (q8_K)"}};
    double *x = alloc_array(n, sizeof *x);
    for (size_t i = 0; x && i < sizeof ways / sizeof *ways; i++) {
        const struct precision how = {ways[i].type, SUM_F64, TYPE_F32};
        memcpy(x, p->x, n * sizeof *x);
        precision_round(&how, p->w.type, x, t->s->n_tokens, p->w.n_in);
        for (size_t c = 0; c < t->n_cols; c++) {
            ref_decode(p->w.type, row_of(p, t->cols[c]), p->w.n_in, p->row);
            fill_column(p, c, p->row, x);
        }
        cause_try(t, "%s", ways[i].what);
    }
    free(x);
}

void cause_linear(struct trial *t)
{
    struct product p = {.t = t,
                        .x = cause_input(t, 0),
                        .w = ref_site_of(t->s->m->ref, t->s->site, t->s->layer).weight};
    if (!p.x || !p.w.data) return;
    p.row_bytes = type_bytes(type_by_id(p.w.type), p.w.n_in);
    p.row = alloc_array(p.w.n_in, sizeof *p.row);
    p.blocks = alloc_array(p.row_bytes, 1);
    if (p.row && p.blocks) {
        try_flat(&p);
        try_decoders(&p);
        try_cut(&p);
        try_short_output(&p);
        try_operands(&p);
        try_half_sums(&p);
        try_rounded_inputs(&p);
    }
    free(p.row);
    free(p.blocks);
}

/* ---- lookups --------------------------------------------------------------------------------- */

void cause_lookup(struct trial *t)
{
    const struct ref_weight w = ref_site_of(t->s->m->ref, SITE_EMBD, 0).weight;
    const struct type_spec *type = type_by_id(w.type);
    const size_t bytes = type_bytes(type, w.n_in);
    const double factor = w.scale * t->s->m->hyper.embd_scale;
    float *row = alloc_array(2 * w.n_in, sizeof *row), *right = row + w.n_in;
    uint8_t *blocks = alloc_array(bytes, 1);
    for (size_t f = 0; row && blocks && f < cause_n_block_faults; f++) {
        bool can = true;
        for (size_t r = 0; r < t->n_rows && can; r++) {
            memcpy(blocks, w.data + (size_t)t->s->tokens[t->rows[r]] * bytes, bytes);
            ref_decode(w.type, blocks, w.n_in, right);
            can = cause_block_faults[f].damage(w.type, blocks, w.n_in / type->block_elems);
            if (can) ref_decode(w.type, blocks, w.n_in, row);
            for (size_t c = 0; can && c < t->n_cols; c++)
                *guess_at(t, r, c) = t->want[r * t->n_cols + c] +
                                     factor * ((double)row[t->cols[c]] - (double)right[t->cols[c]]);
        }
        if (can) cause_try(t, "%s decoder: %s", type->name, cause_block_faults[f].what);
    }
    free(row);
    free(blocks);
}
