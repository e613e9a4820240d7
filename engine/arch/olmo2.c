/* olmo2: norms of results only, and of whole rows of queries and keys; SwiGLU. With a window
 * (olmo3) three layers of four are windowed, and rotate without scaling. */
#include "engine/arch/arch.h"

enum status load_olmo2(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NEOX, ROPE_TABLES_NONE, e));
    TRY(model_plain_windowed_rope(m, m->h.rope.freq_base, e));
    TRY(model_load_windows(m, 0, 4, e));
    TRY(load_ends(m, e));
    for (int i = 0; i < (int)m->h.n_layers; i++) {
        TRY(load_attention(m, i, BIAS_MAYBE, BIAS_MAYBE, e));
        TRY(load_qk_norms_of_rows(m, i, e));
        TRY(load_post_norms(m, i, e));
        TRY(load_ffn_gated(m, i, ACT_SILU, e));
    }
    return ST_OK;
}
