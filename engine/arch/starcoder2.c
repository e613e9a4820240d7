/* starcoder2: LayerNorm, NEOX pairing, biases everywhere, plain GELU. */
#include "arch.h"

enum status load_starcoder2(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(model_load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_REQUIRED, BIAS_REQUIRED, e));
        TRY(load_ffn_plain(m, i, BIAS_REQUIRED, e));
    }
    return ST_OK;
}
