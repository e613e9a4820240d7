/* Operations of a forward pass on double precision vectors, as reference/spec/operations.md states
 * them. */
#include "reference/ops_priv.h"

#include <math.h>

/* ---- matrix product ---------------------------------------------------------------------- */

/* A task takes ROWS rows, decodes DEPTH weights of each at a time, and multiplies them with all
 * columns, LANES at a time. Every sum runs over k in ascending order, one column per lane, so the
 * result depends neither on the tiles nor on the number of threads. DEPTH is a multiple of the
 * block of every tensor type; gcc takes a loop over 16 lanes or fewer apart and vectorises it
 * badly, hence 24 (four times faster). */
enum { ROWS = 16, DEPTH = 256, LANES = 24 };

/* The three sums over k of a product, each sum_k f(w_k) g(x_k). */
enum term {
    TERM_VALUE,     /* w x */
    TERM_MAGNITUDE, /* |w| |x| */
    TERM_VARIANCE,  /* w^2 var(x) */
};

static double term_weight(enum term term, double w)
{
    if (term == TERM_VALUE) return w;
    return term == TERM_MAGNITUDE ? fabs(w) : w * w;
}

/* tile(depth, LANES) = the columns from col on of x(n_cols, n_in), inputs from k0 on; 0 beyond. */
static void tile_load(enum term term, const double *x, size_t n_in, size_t n_cols, size_t col,
                      size_t k0, size_t depth, double *tile)
{
    for (size_t lane = 0; lane < LANES; lane++) {
        if (col + lane >= n_cols) {
            for (size_t k = 0; k < depth; k++) tile[k * LANES + lane] = 0;
            continue;
        }
        const double *in = x + (col + lane) * n_in + k0;
        if (term == TERM_MAGNITUDE)
            for (size_t k = 0; k < depth; k++) tile[k * LANES + lane] = fabs(in[k]);
        else
            for (size_t k = 0; k < depth; k++) tile[k * LANES + lane] = in[k];
    }
}

static void tile_sum(const double *restrict w, const double *restrict tile, size_t depth,
                     double *restrict sum)
{
    double s[LANES];
    for (size_t lane = 0; lane < LANES; lane++) s[lane] = sum[lane];
    for (size_t k = 0; k < depth; k++)
        for (size_t lane = 0; lane < LANES; lane++) s[lane] += w[k] * tile[k * LANES + lane];
    for (size_t lane = 0; lane < LANES; lane++) sum[lane] = s[lane];
}

/* out(n_cols, n_out) += one term over inputs k0.. of n_rows rows from row on. */
static void rows_add(const struct ref_product *p, enum term term, const float *weights, size_t row,
                     size_t n_rows, size_t k0, size_t depth, const double *x, double *out)
{
    double w[ROWS * DEPTH], tile[DEPTH * LANES], sum[LANES];
    for (size_t r = 0; r < n_rows; r++)
        for (size_t k = 0; k < depth; k++)
            w[r * DEPTH + k] = term_weight(term, (double)weights[r * DEPTH + k]);
    for (size_t col = 0; col < p->n_cols; col += LANES) {
        const size_t n = p->n_cols - col < LANES ? p->n_cols - col : LANES;
        tile_load(term, x, p->n_in, p->n_cols, col, k0, depth, tile);
        for (size_t r = 0; r < n_rows; r++) {
            double *o = out + col * p->n_out + row + r;
            for (size_t lane = 0; lane < LANES; lane++)
                sum[lane] = lane < n ? o[lane * p->n_out] : 0;
            tile_sum(w + r * DEPTH, tile, depth, sum);
            for (size_t lane = 0; lane < n; lane++) o[lane * p->n_out] = sum[lane];
        }
    }
}

static void rows_set(const struct ref_product *p, double *out, size_t row, size_t n_rows)
{
    for (size_t col = 0; col < p->n_cols; col++)
        for (size_t r = 0; r < n_rows; r++) out[col * p->n_out + row + r] = 0;
}

/* Weights of a type without a decoder are NaN, so that no comparison holds. */
static void row_decode(const struct ref_product *p, size_t row, size_t k0, size_t depth, float *w)
{
    const struct type_spec *type = type_by_id(p->type);
    const uint8_t *at = p->w + row * type_bytes(type, p->n_in) + type_bytes(type, k0);
    if (ref_decode(p->type, at, depth, w)) return;
    for (size_t k = 0; k < depth; k++) w[k] = NAN;
}

static void product_rows(void *ctx, size_t task)
{
    const struct ref_product *p = ctx;
    const size_t row = task * ROWS;
    const size_t n_rows = p->n_out - row < ROWS ? p->n_out - row : ROWS;
    float w[ROWS * DEPTH];

    rows_set(p, p->y, row, n_rows);
    if (p->mag) rows_set(p, p->mag, row, n_rows);
    if (p->var) rows_set(p, p->var, row, n_rows);
    for (size_t k0 = 0; k0 < p->n_in; k0 += DEPTH) {
        const size_t depth = p->n_in - k0 < DEPTH ? p->n_in - k0 : DEPTH;
        for (size_t r = 0; r < n_rows; r++) row_decode(p, row + r, k0, depth, w + r * DEPTH);
        rows_add(p, TERM_VALUE, w, row, n_rows, k0, depth, p->x, p->y);
        if (p->mag) rows_add(p, TERM_MAGNITUDE, w, row, n_rows, k0, depth, p->x, p->mag);
        if (p->var) rows_add(p, TERM_VARIANCE, w, row, n_rows, k0, depth, p->x_var, p->var);
    }
    for (size_t col = 0; p->bias && col < p->n_cols; col++)
        for (size_t i = row; i < row + n_rows; i++) {
            p->y[col * p->n_out + i] += (double)p->bias[i];
            if (p->mag) p->mag[col * p->n_out + i] += fabs((double)p->bias[i]);
        }
}

void ref_product(const struct ref_product *p)
{
    struct ref_product copy = *p;
    ref_parallel((p->n_out + ROWS - 1) / ROWS, product_rows, &copy);
}

void ref_matmul(enum tensor_type t, const uint8_t *w, size_t n_out, size_t n_in, const double *x,
                size_t n_cols, const float *bias, double *y, double *mag)
{
    ref_product(&(struct ref_product){.type = t,
                                      .w = w,
                                      .n_out = n_out,
                                      .n_in = n_in,
                                      .n_cols = n_cols,
                                      .x = x,
                                      .bias = bias,
                                      .y = y,
                                      .mag = mag});
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* Eight partial sums, element k in sum k % 8, added in order: vectorises without leave to
 * reorder. */
double ref_dot(const double *a, const double *b, size_t n)
{
    double s[8] = {0}, sum = 0;
    size_t k = 0;
    for (; k + 8 <= n; k += 8)
        for (size_t j = 0; j < 8; j++) s[j] += a[k + j] * b[k + j];
    for (; k < n; k++) s[k % 8] += a[k] * b[k];
    for (size_t j = 0; j < 8; j++) sum += s[j];
    return sum;
}

double ref_dot_abs(const double *a, const double *b, size_t n)
{
    double s[8] = {0}, sum = 0;
    size_t k = 0;
    for (; k + 8 <= n; k += 8)
        for (size_t j = 0; j < 8; j++) s[j] += fabs(a[k + j] * b[k + j]);
    for (; k < n; k++) s[k % 8] += fabs(a[k] * b[k]);
    for (size_t j = 0; j < 8; j++) sum += s[j];
    return sum;
}

void ref_rms_norm(const double *x, const float *w, size_t rows, size_t n, double eps, double *y,
                  double *mag)
{
    for (size_t row = 0; row < rows; row++, x += n, y += n) {
        const double r = 1 / sqrt(ref_dot(x, x, n) / (double)n + eps);
        for (size_t i = 0; i < n; i++) {
            y[i] = x[i] * r * (double)w[i];
            if (mag) mag[row * n + i] = fabs(y[i]);
        }
    }
}

void ref_layer_norm(const double *x, const float *w, const float *b, size_t rows, size_t n,
                    double eps, double *y, double *mag)
{
    const double size = (double)n;
    for (size_t row = 0; row < rows; row++, x += n, y += n) {
        double mean = 0, mean_abs = 0, square = 0, cross = 0;
        for (size_t i = 0; i < n; i++) {
            mean += x[i] / size;
            mean_abs += fabs(x[i]) / size;
        }
        for (size_t i = 0; i < n; i++) {
            square += (x[i] - mean) * (x[i] - mean);
            cross += fabs((x[i] - mean) * x[i]) / size;
        }
        const double r = 1 / sqrt(square / size + eps);
        for (size_t i = 0; i < n; i++) {
            const double z = x[i] - mean, rw = r * (double)w[i], bias = b ? (double)b[i] : 0;
            if (mag)
                mag[row * n + i] =
                    fabs(rw) * (fabs(x[i]) + mean_abs + fabs(z) * r * r * cross) + fabs(bias);
            y[i] = z * rw + bias;
        }
    }
}

void ref_softmax_sinks(const double *x, const float *sinks, size_t n_sinks, size_t rows, size_t n,
                       double *y)
{
    for (size_t row = 0; row < rows; row++, x += n, y += n) {
        const double sink = sinks ? (double)sinks[row % n_sinks] : -INFINITY;
        double max = sink;
        for (size_t i = 0; i < n; i++)
            if (!(x[i] <= max)) max = x[i]; /* a NaN stays the maximum: its row becomes NaN */
        double sum = sink == -INFINITY ? 0 : exp(sink - max);
        for (size_t i = 0; i < n; i++) {
            y[i] = x[i] == -INFINITY ? 0 : exp(x[i] - max);
            sum += y[i];
        }
        for (size_t i = 0; sum != 0 && i < n; i++) y[i] /= sum;
    }
}

void ref_softmax(const double *x, size_t rows, size_t n, double *y)
{
    ref_softmax_sinks(x, NULL, 1, rows, n, y);
}

double ref_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double ref_silu(double x)
{
    return x / (1 + exp(-x));
}

/* 0.5 (1 + tanh z) = 1 / (1 + exp(-2 z)): nothing cancels where z is negative. */
double ref_gelu(double x)
{
    const double sqrt_2_over_pi = 0.79788456080286535588;
    return x / (1 + exp(-2 * sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
}

/* 1 + erf z = erfc(-z), for the same reason. */
double ref_gelu_erf(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

double ref_softcap(double x, double cap)
{
    return cap * tanh(x / cap);
}

double ref_clamped_swiglu(double gate, double up)
{
    const double g = gate > 7 ? 7 : gate, u = up > 7 ? 7 : up < -7 ? -7 : up; /* NaN stays */
    return g / (1 + exp(-1.702 * g)) * (u + 1);
}

size_t ref_argmax(const double *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best] || (isnan(x[best]) && !isnan(x[i]))) best = i;
    return best;
}
