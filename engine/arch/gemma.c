/* gemma: RMSNorm whose "+1" is in the file, NEOX pairing, GeGLU, embeddings times sqrt(n_embd). */
#include "engine/arch/arch.h"

enum status load_gemma(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    part_gemma_scales(m, 0);
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_pre_norms(m, i, e));
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_ffn_gated(m, i, ACT_GELU, e));
    }
    return ST_OK;
}
