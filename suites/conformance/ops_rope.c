/* Cases of RoPE. */
#include "conformance/ops.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <math.h>

static const int32_t positions[] = {0, 1, 2, 7, 63, 511, 4095, 32767, 131071};
enum { N_POSITIONS = sizeof positions / sizeof *positions };

/* The divisors of Llama 3.1, which its files hold as rope_freqs: factor 8, low and high frequency
 * factors 1 and 4, trained on 8192 positions. */
static double llama3_factor(double base, size_t pair, size_t n_dims)
{
    double wave = 6.283185307179586 * pow(base, 2 * (double)pair / (double)n_dims);
    double low = 8192.0 / 1, high = 8192.0 / 4;
    if (wave < high) return 1;
    if (wave > low) return 8;
    double smooth = (8192 / wave - 1) / 3;
    return 1 / ((1 - smooth) / 8 + smooth);
}

static struct ref_rope rope_of(const struct op_row *row, struct rng *rng, float *factors)
{
    struct ref_rope r = {.pairing = row->pairing == ROPE_NORM ? REF_ROPE_NORM : REF_ROPE_NEOX,
                         .n_dims = row->n_dims,
                         .freq_base = (double)row->base,
                         .freq_scale = 1,
                         .attn_factor = 1,
                         .beta_fast = 32,
                         .beta_slow = 1,
                         .magnitude = 1,
                         .n_ctx_orig = 4096};
    for (size_t p = 0; p < row->n_dims / 2; p++)
        factors[p] = row->scaling == SCALING_llama3
                         ? (float)llama3_factor((double)row->base, p, row->n_dims)
                         : (float)(1 + 7 * rng_uniform(rng));
    if (row->scaling == SCALING_factors || row->scaling == SCALING_llama3) r.factors = factors;
    if (row->scaling == SCALING_linear || row->scaling == SCALING_yarn) r.freq_scale = 0.25;
    if (row->scaling == SCALING_yarn) {
        r.ext_factor = 1;
        r.magnitude = 1 + 0.1 * log(4);
    }
    return r;
}

/* The rotated part of each head, from row->first on, as heads of its own. */
static bool rotate(struct test *t, const struct ref_rope *rope, const struct op_row *row, double *y,
                   double *mag)
{
    size_t heads = N_POSITIONS * (size_t)row->heads, d = row->head_dim, part = row->n_dims;
    double *x = test_alloc(t, heads * part, sizeof *x);
    double *part_mag = test_alloc(t, heads * part, sizeof *part_mag);
    if (!x || !part_mag) return false;
    for (size_t i = 0; i < heads * part; i++) x[i] = y[i / part * d + row->first + i % part];
    ref_rope(rope, x, positions, N_POSITIONS, row->heads, part, part_mag);
    for (size_t i = 0; i < heads * d; i++) mag[i] = 0; /* the rest is not touched: exact */
    for (size_t i = 0; i < heads * part; i++) {
        const size_t at = i / part * d + row->first + i % part;
        y[at] = x[i];
        mag[at] = part_mag[i];
    }
    return true;
}

void ops_run_rope(struct test *t, const struct test_case *c)
{
    const struct op_row *row = c->arg;
    size_t width = (size_t)row->heads * row->head_dim, n = N_POSITIONS * width;
    size_t pairs = row->n_dims / 2;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, n, sizeof *x), *factors = test_alloc(t, pairs, sizeof *factors);
    float *table = test_alloc(t, N_POSITIONS * pairs * 2, sizeof *table);
    double *mag = test_alloc(t, n, sizeof *mag);
    if (!x || !factors || !table || !mag) return;
    input_fill(row->input, &r, x, N_POSITIONS, width);
    struct ref_rope rope = rope_of(row, &r, factors);
    struct axes axes = {"position", "dimension", row->head_dim, "head"};
    for (size_t i = 0; i < N_POSITIONS; i++)
        for (size_t p = 0; p < pairs; p++) {
            double cs, sn;
            ref_rope_angle(&rope, positions[i], (uint32_t)p, &cs, &sn);
            table[2 * (i * pairs + p)] = (float)cs;
            table[2 * (i * pairs + p) + 1] = (float)sn;
        }
    double *y = ops_widen(t, x, n);
    if (!y) return;
    if (!rotate(t, &rope, row, y, mag)) return;
    struct rig g;
    if (!rig_open(&g, t, c)) return;
    struct op_rope a = {.x = rig_inout(&g, x, n * sizeof *x),
                        .table = rig_input(&g, table, N_POSITIONS * pairs * 2 * sizeof *table),
                        .n_tokens = N_POSITIONS,
                        .n_heads = row->heads,
                        .head_dim = row->head_dim,
                        .first = row->first,
                        .n_dims = row->n_dims,
                        .pairing = row->pairing};
    if (rig_has(&g, g.ops->rope, c->op)) rig_did(&g, g.ops->rope(g.b, &a, &g.e));
    float *got = rig_get(&g, a.x, n);
    if (got)
        compare(&t->result, &(struct comparison){.cls = TOL_REDUCE,
                                                 .got = got,
                                                 .want = y,
                                                 .mag = mag,
                                                 .rows = N_POSITIONS,
                                                 .cols = width,
                                                 .n = 1,
                                                 .axes = &axes});
    rig_close(&g);
}
