/* llama: LLaMA 1-3, Mistral 7B, Mixtral and the many models converted to the same form. RMSNorm,
 * NORM pairing, SwiGLU or experts; biases where the file has them. */
#include "engine/arch/arch.h"

enum status load_llama(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_RMS, e));
    TRY(model_load_rope(m, ROPE_NORM, ROPE_TABLES_LLAMA, e));
    TRY(model_rope_whole(m, e));
    TRY(load_ends(m, e));
    return load_layers_mixtral(m, e);
}
