/* gptneox: LayerNorm, partial rotation, biases everywhere, plain GELU; attention and feed-forward
 * each read a norm of their own of the same x, or one after the other. */
#include "engine/arch/arch.h"

enum status load_gptneox(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(model_key_bool(m, "use_parallel_residual", &m->h.parallel, e));
    TRY(load_ends(m, e));
    return load_layers_biased(m, e);
}
