/* gpt2: embeddings of positions in place of RoPE, LayerNorm, biases everywhere, plain GELU. */
#include "engine/arch/arch.h"

enum status load_gpt2(struct engine_model *m, struct err *e)
{
    TRY(model_load_sizes(m, NORM_LAYER, e));
    TRY(load_ends(m, e));
    struct tensor_want positions = {
        .layer = NO_LAYER, .role = "position_embd", .n_in = m->h.n_embd, .n_out = m->h.n_ctx};
    TRY(model_load_tensor(m, &positions, &m->pos_embd, e));
    return load_layers_biased(m, e);
}
