/* Making the inputs of cases; see inputs.h. */
#include "harness/inputs.h"
#include "harness/layout.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <math.h>
#include <string.h>

static float special_value(enum input_kind kind, struct rng *r, size_t row, size_t col, size_t cols)
{
    double g = rng_gauss(r);
    switch (kind) {
    case INPUT_same_sign:
        return (float)fabs(g);
    case INPUT_ramp:
        return (float)((double)(col % 1000) + 1000 * (double)(row % 16)) * 0x1p-10f;
    case INPUT_alternating:
        return (float)(col % 2 ? -fabs(g) : fabs(g));
    case INPUT_large:
        return (float)(g * 2500);
    case INPUT_rms_1e_3:
        return (float)(g * 1e-3);
    case INPUT_rms_1e3:
        return (float)(g * 1e3);
    case INPUT_deep:
        return (col ^ row) % 2 ? -INFINITY : -6e4f + (float)g;
    case INPUT_equal:
        return 0.25f + 3 * (float)row;
    case INPUT_small:
        return (float)(g * 1e-4);
    case INPUT_zero:
        return (row + col) % 2 ? -0.0f : 0.0f;
    case INPUT_masked:
        return (col ^ row) % 2 ? -INFINITY : (float)g;
    case INPUT_huge:
        return g > 0 ? 1e4f + (float)g : -1e4f + (float)g;
    case INPUT_nothing:
        return row == 0 ? -INFINITY : row == 1 ? (col == cols / 2 ? 3.0f : -INFINITY) : 0.25f;
    case INPUT_offset:
        return (float)(300 + g);
    case INPUT_ties:
        return (float)rng_below(r, 5);
    case INPUT_wide:
        return (float)fmax(-100, fmin(100, (row + col) % 3 ? g * 12 : g * g * g));
    default:
        return (float)g;
    }
}

void input_fill(enum input_kind kind, struct rng *r, float *x, size_t rows, size_t cols)
{
    for (size_t row = 0; row < rows; row++) {
        float *y = x + row * cols;
        for (size_t col = 0; col < cols; col++) {
            uint16_t bits = (uint16_t)(row * cols + col);
            if (kind == INPUT_one_hot)
                y[col] = 0;
            else if (kind == INPUT_all_f16)
                y[col] = (bits & 0x7c00) == 0x7c00 ? 0 : ref_f16_to_f32(bits);
            else
                y[col] = special_value(kind, r, row, col, cols);
        }
        if (kind == INPUT_one_hot) y[rng_below(r, cols)] = 1;
        if (kind == INPUT_outlier) y[rng_below(r, cols)] *= 1000;
    }
}

static bool encode_block(struct test *t, const struct type_spec *spec, struct rng *r, double scale,
                         uint8_t *block)
{
    float x[256];
    for (size_t k = 0; k < spec->block_elems; k++) x[k] = (float)(scale * rng_gauss(r));
    return test_check(t, ref_encode(spec->id, x, spec->block_elems, NULL, block),
                      "the reference has no encoder for %s", spec->name);
}

/* Block i of the pool. */
static bool make_block(struct test *t, const struct type_spec *spec, struct rng *r,
                       enum weight_kind kind, size_t i, uint8_t *block)
{
    static const enum scale_kind scales[] = {[WEIGHTS_bits] = SCALE_normal,
                                             [WEIGHTS_subnormal] = SCALE_subnormal,
                                             [WEIGHTS_zero] = SCALE_zero,
                                             [WEIGHTS_negative] = SCALE_negative};
    bool encoded = kind == WEIGHTS_encoded || (kind == WEIGHTS_zero && i % 3 != 0);
    if (encoded)
        return encode_block(t, spec, r, kind == WEIGHTS_zero && i % 3 == 1 ? 0 : 0.05, block);
    layout_random(r, spec->id, scales[kind], block);
    return true;
}

uint8_t *input_weights(struct test *t, struct rng *r, enum tensor_type type, enum weight_kind kind,
                       size_t n_out, size_t n_in)
{
    const struct type_spec *spec = type_by_id(type);
    size_t n_units = n_out * n_in / spec->block_elems, bytes = spec->block_bytes;
    size_t most = spec->block_elems == 1 ? n_units : 24, pool = n_units < most ? n_units : most;
    uint8_t *w = test_alloc(t, n_units, bytes), *blocks = test_alloc(t, pool, bytes);
    if (!w || !blocks) return NULL;
    for (size_t i = 0; i < pool; i++)
        if (!make_block(t, spec, r, kind, i, blocks + i * bytes)) return NULL;
    for (size_t i = 0; i < n_units; i++) {
        size_t from = spec->block_elems == 1 ? i : rng_below(r, pool);
        memcpy(w + i * bytes, blocks + from * bytes, bytes);
    }
    return w;
}
