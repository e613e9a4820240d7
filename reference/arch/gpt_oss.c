/* Architecture gpt-oss: RMSNorm, NEOX RoPE, biases everywhere, attention sinks, windows in every
 * other layer, experts with a clamped activation and softmax over the chosen, pre-norm layers. */
#include "reference/model_load.h"

static void gpt_oss_load(struct ref_loader *l)
{
    const struct ref_shape *s = &l->m->shape;
    struct ref_rope *windowed = &l->m->rope_windowed;
    ref_load_shape(l);
    ref_load_rope(l, REF_TABLES_NONE);
    windowed->freq_base = ref_load_number_or(l, "rope.freq_base_swa", windowed->freq_base);
    ref_load_windows(l, ref_load_count(l, "attention.sliding_window"), 2);
    ref_load_embedding(l);
    if (l->m->output.data == l->m->embd.data) ref_load_missing(l, REF_OF_MODEL, "output", "weight");
    const struct ref_router router = ref_load_router(l, REF_GATING_SOFTMAX_CHOSEN, false);
    const size_t n_ff = ref_load_count(l, "expert_feed_forward_length");
    for (int i = 0; ref_load_layer(l, i); i++) {
        struct ref_layer *layer = &l->m->layers[i];
        layer->attn_norm = ref_load_norm(l, i, "attn_norm", s->n_embd, 1);
        ref_load_attention(l, i, REF_BIAS_ALL);
        layer->sinks = ref_load_vector(l, i, "attn_sinks", s->n_heads);
        layer->ffn_norm = ref_load_norm(l, i, "post_attention_norm", s->n_embd, 1);
        ref_load_experts(l, i, &router, REF_ACT_CLAMPED, n_ff, false);
        ref_load_experts_biased(l, i);
    }
}

const struct ref_arch ref_arch_gpt_oss = {
    .norm = REF_NORM_RMS,
    .pairing = REF_ROPE_NEOX,
    .load = gpt_oss_load,
    .attention = ref_self_attention,
};
