/* starcoder2: LayerNorm, NEOX pairing, biases everywhere, plain GELU. */
#include "engine/arch/arch.h"

enum status load_starcoder2(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(load_ends(m, e));
    return load_layers_biased(m, e);
}
