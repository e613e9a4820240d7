/* A classic fault, to see what Assay says of it: the engine of plain.c, but the Q weights of layer
 * 3 are read transposed. The matrix is square, so nothing crashes; the engine answers, just
 * wrongly.
 *
 *     cc -std=c17 -shared -fPIC -Isuites/plugins -o transposed.so suites/plugins/transposed.c -lm
 *     assay locate vectors/models/primer-4m-f16.gguf.gz --subject plugin:./transposed.so
 */
#include "assay_subject.h"

#define assay_subject(abi) plain_subject(abi)
#include "plain.c"
#undef assay_subject

/* A layer's products come in this order: Q, K, V, attention's output, gate, up, down. */
enum { N_PRODUCTS = 7, Q = 0, WRONG_LAYER = 3 };

static int n_products; /* since the embedding, the look-up with which a pass begins */

static int count_from_here(void *ctx, const struct assay_get_rows *a)
{
    n_products = 0;
    return plain_get_rows(ctx, a);
}

static int transposed_matmul(void *ctx, const struct assay_matmul *a)
{
    const size_t n = a->w.n_in;
    const int at = n_products++;
    if (at != WRONG_LAYER * N_PRODUCTS + Q || a->w.n_out != n || !is_plain(a->w.type))
        return plain_matmul(ctx, a);
    for (size_t c = 0; c < a->n_cols; c++)
        for (size_t i = 0; i < n; i++) {
            float sum = a->bias ? a->bias[i] : 0;
            for (size_t k = 0; k < n; k++) /* right: i * n + k */
                sum += load(a->w.type, a->w.data, k * n + i) * a->x[c * n + k];
            a->out[c * n + i] = sum;
        }
    return ASSAY_OK;
}

__attribute__((visibility("default"))) const struct assay_subject *assay_subject(uint32_t abi)
{
    static struct assay_subject transposed;
    static struct assay_ops transposed_ops;
    if (abi != ASSAY_SUBJECT_ABI) return NULL;
    transposed = *plain_subject(abi);
    transposed.name = "plain C, with a transposed matrix";
    transposed_ops = *transposed.ops;
    transposed_ops.get_rows = count_from_here;
    transposed_ops.matvec = transposed_ops.matmul = transposed_matmul;
    transposed.ops = &transposed_ops;
    return &transposed;
}
