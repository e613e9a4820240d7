/* Every cause that localisation can name: the fault is made in the values of one site and must be
 * found there, and named. See locate_causes.h. */
#include "selftest/locate_cause.h"
#include "harness/files.h"
#include "engine/gguf/gguf.h"
#include "locate/run.h"
#include "selftest/locate.h"
#include "models/source.h"
#include "models/synth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOKENS = 12 };

static const struct cause {
    const char *name;
    const char *model, *type; /* architecture of a random model, or a vector "forward/..." */
    enum site site;
    fault_maker *make;
    int way;
    const char *words; /* the sentence holds them */
} causes[] = {
    {"transposed", "llama", "F16", SITE_Q, break_matrix, MATRIX_TRANSPOSED, "transposed"},
    {"transposed-k", "llama", "F16", SITE_K, break_matrix, MATRIX_TRANSPOSED, "transposed"},
    {"sizes-swapped", "llama", "F16", SITE_GATE, break_matrix, MATRIX_ROWS_AS_LONG_AS_COLUMNS,
     "sizes swapped"},
    {"arguments-swapped", "llama", "F16", SITE_GATE, break_matrix, MATRIX_ARGUMENTS_SWAPPED,
     "arguments swapped"},
    {"arguments-swapped-k", "llama", "F16", SITE_K, break_matrix, MATRIX_ARGUMENTS_SWAPPED,
     "arguments swapped"},
    {"row-after", "llama", "F16", SITE_V, break_matrix, MATRIX_ROW_AFTER,
     "rows of the weights shifted by +1"},
    {"row-before", "llama", "F16", SITE_V, break_matrix, MATRIX_ROW_BEFORE,
     "rows of the weights shifted by -1"},
    {"not-permuted", "llama", "F16", SITE_Q, break_matrix, MATRIX_NEOX_ORDER,
     "not permuted for NORM pairing"},
    {"permuted-twice", "llama", "F16", SITE_K, break_matrix, MATRIX_NORM_ORDER,
     "permuted for NORM pairing twice"},
    {"permuted-neox", "qwen3", "F16", SITE_Q, break_matrix, MATRIX_NORM_ORDER,
     "permuted for NORM pairing, where the model has NEOX"},
    {"heads-reversed", "llama", "F16", SITE_Q, break_matrix, MATRIX_HEADS_REVERSED,
     "heads in reverse order"},
    {"cut", "llama", "F16", SITE_FFN_OUT, break_matrix, MATRIX_CUT, "only the first 384 of 768"},
    {"short", "llama", "F16", SITE_GATE, break_matrix, MATRIX_SHORT, "a size of 728"},
    {"no-bias", "qwen2", "F16", SITE_K, break_matrix, MATRIX_NO_BIAS, "bias missing"},
    {"other-input", "llama", "F16", SITE_GATE, break_matrix, MATRIX_OTHER_INPUT,
     "product with ffn_inp in place of ffn_norm"},
    {"other-layer", "llama", "F16", SITE_UP, break_matrix, MATRIX_OTHER_LAYER,
     "product with blk.0.ffn_up.weight"},
    {"as-bf16", "llama", "F16", SITE_K, break_block, BLOCK_AS_BF16, "decoded as bf16"},
    {"as-iq4-nl", "llama", "Q4_0", SITE_K, break_block, BLOCK_AS_IQ4_NL, "decoded as iq4_nl"},
    {"nibbles-swapped", "llama", "Q4_0", SITE_K, break_block, BLOCK_NIBBLES_SWAPPED,
     "nibbles swapped"},
    {"nibbles-paired", "llama", "Q4_0", SITE_K, break_block, BLOCK_NIBBLES_PAIRED, "as neighbours"},
    {"nibbles-embedding", "llama", "Q4_0", SITE_EMBD, break_block, BLOCK_NIBBLES_SWAPPED,
     "nibbles swapped"},
    {"minimum-ignored", "llama", "Q4_1", SITE_K, break_block, BLOCK_NO_MINIMUM, "minimum ignored"},
    {"minimum-sign", "llama", "Q4_1", SITE_K, break_block, BLOCK_MINIMUM_SIGN,
     "minimum with the wrong sign"},
    {"minimum-for-scale", "llama", "Q4_1", SITE_K, break_block, BLOCK_SCALE_FOR_MINIMUM,
     "scale d and minimum dmin swapped"},
    {"scale-ignored", "llama", "Q4_0", SITE_K, break_block, BLOCK_NO_SCALE, "scale d ignored"},
    {"scale-bytes", "llama", "Q4_0", SITE_K, break_block, BLOCK_SCALE_BYTES,
     "bytes of the scale d swapped"},
    {"scale-before", "llama", "Q4_0", SITE_K, break_block, BLOCK_SCALE_BEFORE,
     "scale d of the block before"},
    {"high-bits", "llama", "Q5_0", SITE_K, break_block, BLOCK_NO_HIGH_BITS, "high bits"},
    {"blocks-reversed", "llama", "Q4_0", SITE_K, break_block, BLOCK_REVERSED, "reverse order"},
    {"blocks-by-columns", "llama", "Q8_0", SITE_K, break_block, BLOCK_BY_COLUMNS,
     "blocks taken column by column"},
    {"scale-bits", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_LOW_BITS,
     "top bits of the 6-bit scales and minima dropped"},
    {"scale-bits-only", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_LOW_BITS_OF_SCALES,
     "top bits of the 6-bit scales dropped"},
    {"scales-consecutive", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_CONSECUTIVE,
     "consecutive bytes"},
    {"scales-crossed", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_CROSSED, "crossed"},
    {"scales-of-next", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_NEXT,
     "scale of the next sub-block"},
    {"scales-swapped", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_SWAPPED,
     "scales and minima of sub-blocks swapped"},
    {"dmin-ignored", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_NO_MINIMUM, "minimum ignored"},
    {"nibbles-q4-k", "llama", "Q4_K", SITE_K, break_q4_k, Q4K_NIBBLES, "nibbles swapped"},
    {"half-sums", "llama", "F16", SITE_GATE, break_rounded, SUM_OF_HALVES,
     "accumulation in half precision"},
    {"input-f16", "llama", "F16", SITE_GATE, break_rounded, INPUT_F16, "inputs rounded to f16"},
    {"input-bf16", "llama", "F16", SITE_GATE, break_rounded, INPUT_BF16, "inputs rounded to bf16"},
    {"input-q8-0", "llama", "F16", SITE_GATE, break_rounded, INPUT_Q8_0, "(q8_0)"},
    {"input-q8-k", "llama", "F16", SITE_GATE, break_rounded, INPUT_Q8_K, "(q8_K)"},
    {"norm-no-weight", "llama", "F16", SITE_FFN_NORM, break_norm, NORM_WITHOUT_WEIGHT,
     "norm weight missing"},
    {"norm-weight-twice", "llama", "F16", SITE_ATTN_NORM, break_norm, NORM_WEIGHT_TWICE,
     "norm weight applied twice"},
    {"norm-one-more", "gemma2", "F16", SITE_ATTN_NORM, break_norm, NORM_ONE_MORE, "1 added"},
    {"norm-epsilon", "llama", "F16", SITE_ATTN_NORM, break_norm, NORM_EPSILON, "epsilon is 0.01"},
    {"norm-epsilon-layer", "gpt2", "F16", SITE_ATTN_NORM, break_norm, NORM_EPSILON,
     "epsilon is 0.01"},
    {"norm-outside", "forward/llama-tiny-eps-small-x", "", SITE_ATTN_NORM, break_norm,
     NORM_EPSILON_OUTSIDE, "epsilon outside the root"},
    {"norm-not-done", "llama", "F16", SITE_FFN_NORM, break_norm, NORM_NOT_DONE, "not normalised"},
    {"norm-centred", "llama", "F16", SITE_FFN_NORM, break_norm, NORM_MEAN_TOO, "mean subtracted"},
    {"norm-not-centred", "gpt2", "F16", SITE_FFN_NORM, break_norm, NORM_MEAN_TOO,
     "mean not subtracted"},
    {"norm-of-sum", "llama", "F16", SITE_FFN_NORM, break_norm, NORM_OF_SUM, "sum in place of mean"},
    {"norm-no-bias", "gpt2", "F16", SITE_FFN_NORM, break_norm, NORM_WITHOUT_BIAS, "bias missing"},
    {"rope-none", "llama", "F16", SITE_Q_ROPE, break_rope, ROPE_NONE, "not rotated"},
    {"rope-neox", "llama", "F16", SITE_Q_ROPE, break_rope, ROPE_PAIRS, "pairs as NEOX"},
    {"rope-norm", "qwen2", "F16", SITE_K_ROPE, break_rope, ROPE_PAIRS, "pairs as NORM"},
    {"rope-after", "llama", "F16", SITE_K_ROPE, break_rope, ROPE_AFTER, "position shifted by +1"},
    {"rope-before", "llama", "F16", SITE_K_ROPE, break_rope, ROPE_BEFORE, "position shifted by -1"},
    {"rope-backwards", "llama", "F16", SITE_Q_ROPE, break_rope, ROPE_BACKWARDS, "backwards"},
    {"rope-half", "llama", "F16", SITE_Q_ROPE, break_rope, ROPE_HALF, "only half"},
    {"rope-base", "llama", "F16", SITE_Q_ROPE, break_rope, ROPE_BASE, "base 54321"},
    {"rope-factors", "forward/llama-rope-freqs", "", SITE_Q_ROPE, break_rope, ROPE_NO_FACTORS,
     "factors ignored"},
    {"rope-scale", "forward/llama-rope-linear-4", "", SITE_Q_ROPE, break_rope, ROPE_NO_SCALE,
     "scale ignored"},
    {"gqa-modulo", "llama", "F16", SITE_SCORES, break_attention, ATTN_MODULO, "h % n_kv_heads"},
    {"k-far", "llama", "F16", SITE_SCORES, break_attention, ATTN_K_FAR, "one cell too far"},
    {"k-near", "llama", "F16", SITE_SCORES, break_attention, ATTN_K_NEAR, "one cell too near"},
    {"v-far", "llama", "F16", SITE_ATTN, break_attention, ATTN_V_FAR, "V one cell too far"},
    {"mask-next", "llama", "F16", SITE_SCORES, break_attention, ATTN_SEES_NEXT,
     "a token sees the one after it"},
    {"mask-itself", "llama", "F16", SITE_SCORES, break_attention, ATTN_NOT_ITSELF,
     "does not see itself"},
    {"mask-none", "llama", "F16", SITE_ATTN, break_attention, ATTN_NO_MASK, "no causal mask"},
    {"uniform", "llama", "F16", SITE_WEIGHTS, break_attention, ATTN_UNIFORM,
     "collapsed to uniform"},
    {"uniform-all", "llama", "F16", SITE_WEIGHTS, break_attention, ATTN_UNIFORM_ALL,
     "uniform over all cells"},
    {"uniform-attention", "llama", "F16", SITE_ATTN, break_attention, ATTN_UNIFORM,
     "collapsed to uniform"},
    {"scale-missing", "llama", "F16", SITE_SCORES, break_attention, ATTN_NO_SCALE,
     "scale 1/sqrt(head_dim) missing"},
    {"scale-twice", "llama", "F16", SITE_ATTN, break_attention, ATTN_SCALE_TWICE,
     "scale 1/sqrt(head_dim) applied twice"},
    {"k-unturned", "llama", "F16", SITE_SCORES, break_attention, ATTN_K_UNTURNED, "K not rotated"},
    {"q-unturned", "llama", "F16", SITE_ATTN, break_attention, ATTN_Q_UNTURNED, "Q not rotated"},
    {"half-cache", "llama", "F16", SITE_SCORES, break_attention, ATTN_HALF_CACHE,
     "a cache of f16, where f32 is declared"},
    {"no-window", "gemma2", "F16", SITE_SCORES, break_attention, ATTN_NO_WINDOW,
     "sliding window ignored"},
    {"no-cap", "gemma2", "F16", SITE_SCORES, break_attention, ATTN_NO_CAP, "soft cap"},
    {"no-sinks", "gpt-oss", "F16", SITE_WEIGHTS, break_attention, ATTN_NO_SINKS, "sinks ignored"},
    {"residual-dropped", "llama", "F16", SITE_RESID_1, break_sum, SUM_NO_RESIDUAL,
     "residual dropped"},
    {"branch-dropped", "llama", "F16", SITE_RESID_2, break_sum, SUM_NO_BRANCH,
     "the branch is not added"},
    {"branch-twice", "llama", "F16", SITE_RESID_1, break_sum, SUM_BRANCH_TWICE,
     "the branch is added twice"},
    {"residual-twice", "llama", "F16", SITE_RESID_2, break_sum, SUM_RESIDUAL_TWICE,
     "the residual is added twice"},
    {"branch-subtracted", "llama", "F16", SITE_RESID_1, break_sum, SUM_SUBTRACTED, "subtracted"},
    {"residual-after-norm", "llama", "F16", SITE_RESID_2, break_sum, SUM_AFTER_NORM,
     "residual taken after the norm"},
    {"residual-unscaled", "granite", "F16", SITE_RESID_1, break_sum, SUM_UNSCALED,
     "residual scale ignored"},
    {"gate-for-up", "llama", "F16", SITE_ACT, break_act, ACT_SWAPPED, "gate and up swapped"},
    {"gelu-for-silu", "llama", "F16", SITE_ACT, break_act, ACT_OTHER, "GELU in place of SiLU"},
    {"silu-for-gelu", "gemma2", "F16", SITE_ACT, break_act, ACT_OTHER, "SiLU in place of GELU"},
    {"silu-for-gelu-plain", "gpt2", "F16", SITE_ACT, break_act, ACT_OTHER, "SiLU in place of GELU"},
    {"relu", "llama", "F16", SITE_ACT, break_act, ACT_RELU, "ReLU in place of SiLU"},
    {"relu-plain", "gpt2", "F16", SITE_ACT, break_act, ACT_RELU, "ReLU in place of GELU"},
    {"no-activation", "llama", "F16", SITE_ACT, break_act, ACT_NONE, "SiLU missing"},
    {"no-activation-plain", "gpt2", "F16", SITE_ACT, break_act, ACT_NONE, "activation missing"},
    {"gelu-table", "gemma2", "F16", SITE_ACT, break_act, ACT_TABLE, "GELU from a table in f16"},
    {"gelu-table-plain", "gpt2", "F16", SITE_ACT, break_act, ACT_TABLE, "GELU from a table in f16"},
    {"no-up", "llama", "F16", SITE_ACT, break_act, ACT_NO_UP, "not multiplied by up"},
    {"no-up-gelu", "gemma2", "F16", SITE_ACT, break_act, ACT_NO_UP, "not multiplied by up"},
    {"clipped", "llama", "F16", SITE_K, break_values, VALUES_CLIPPED, "values clipped at +-0.5"},
    {"zero", "llama", "F16", SITE_V, break_values, VALUES_ZERO, "every value is zero"},
    {"scaled", "llama", "F16", SITE_ATTN_OUT, break_values, VALUES_SCALED, "0.75 times"},
    {"nan", "llama", "F16", SITE_UP, break_values, VALUES_NAN, "not written, or overflow"},
    {"result-f16", "llama", "F32", SITE_UP, break_values, VALUES_F16, "results rounded to f16"},
    {"result-bf16", "llama", "F32", SITE_UP, break_values, VALUES_BF16, "results rounded to bf16"},
    /* of what sums nothing up, no cause */
    {"other-f16", "llama", "F32", SITE_EMBD, break_values, VALUES_OTHER_F16,
     "where equality is due; every column"},
    {"next-token", "llama", "F16", SITE_FFN_NORM, break_values, VALUES_OF_NEXT_TOKEN,
     "tokens shifted by +1"},
    {"token-before", "llama", "F16", SITE_FFN_NORM, break_values, VALUES_OF_TOKEN_BEFORE,
     "tokens shifted by -1"},
    {"first-token", "llama", "F16", SITE_LOGITS, break_values, VALUES_OF_FIRST_TOKEN,
     "every token has the values of the first one"},
    {"id-after", "llama", "F16", SITE_EMBD, break_embedding, EMBD_ID_AFTER, "row of token id +1"},
    {"id-before", "llama", "F16", SITE_EMBD, break_embedding, EMBD_ID_BEFORE, "row of token id -1"},
    {"bos-missing", "llama", "F16", SITE_EMBD, break_embedding, EMBD_NO_BOS, "BOS missing"},
    {"bos-twice", "llama", "F16", SITE_EMBD, break_embedding, EMBD_TWO_BOS, "BOS twice"},
};

const double *scene_value(const struct scene *s, enum site site)
{
    const struct record_site *r = record_find(&s->truth, site, s->layer);
    return r ? r->value : NULL;
}

const double *scene_input(const struct scene *s, size_t i)
{
    const struct ref_site site = ref_site_of(s->m.ref, s->site, s->layer);
    if (i >= site.n_in) return NULL;
    const struct record_site *r = record_find(&s->truth, site.in[i], site.in_layer[i]);
    return r ? r->value : NULL;
}

static enum status find_model(struct test *t, const struct cause *k, const char *path,
                              struct scene *s, struct err *e)
{
    char golden[4096];
    struct synth_done done;
    const struct synth_options o = {
        .arch = k->model, .shape = "tiny", .type = type_by_name(k->type), .out = path, .seed = 1};
    if (strchr(k->model, '/')) {
        snprintf(golden, sizeof golden, "%s/%s.gguf.gz", t->options->vectors, k->model);
        return gguf_open(&s->g, golden, e);
    }
    enum status st = synth_write(&o, &done, e);
    return st == ST_OK ? gguf_open(&s->g, path, e) : st;
}

static enum status open_scene(struct test *t, const struct cause *k, const char *path,
                              struct scene *s, struct err *e)
{
    static const size_t lengths[] = {N_TOKENS};
    enum status st = find_model(t, k, path, s, e);
    if (st == ST_OK) st = source_open(&s->ref, &s->g, e);
    if (st != ST_OK) return st;
    s->m = site_model_of(&s->g, s->ref);
    st = prompts_random(&s->prompts, 3, lengths, 1, s->m.shape.n_vocab, e);
    s->how = (struct compare_options){
        .tokens = s->prompts.tokens, .n_tokens = N_TOKENS, .precision = precision_exact};
    if (st == ST_OK) st = foreign_truth(&s->truth, &s->m, &s->how, false, e);
    return st == ST_OK ? locate_record_rounded(&s->got, &s->truth, e) : st;
}

/* Keeps what belongs to the last three tokens, as of an engine that computes no more of its last
 * layer. */
static void keep_last(struct record_site *r)
{
    const size_t hidden = r->rows - 3;
    memmove(r->got, r->got + hidden * r->cols, 3 * r->cols * sizeof *r->got);
    r->first_row = hidden;
    r->rows = 3;
}

static void judge(struct test *t, struct scene *s, const struct cause *k)
{
    struct locate l = {.model = s->m};
    struct err e = {0};
    if (test_ok(t, foreign_recording(&l, &s->truth, &s->got, &s->how, &e), &e)) {
        const struct finding *f = &l.variants[0].findings[l.fault.finding];
        test_check(t, l.fault.kind == LOCATED_SITE && f->site == s->site && f->layer == s->layer,
                   "%s was judged: %.400s", k->name, l.verdict);
        test_check(t, strstr(l.verdict, k->words) != NULL, "not said: '%s', but: %.400s", k->words,
                   l.verdict);
    }
    locate_free(&l);
}

/* Layer 1, or 0 where that one has a window and layer 1 has none. */
static uint32_t layer_of(const struct scene *s)
{
    if (site_table[s->site].scope == SITE_MODEL) return 0;
    return ref_model_hyper(s->ref, 1).window || !ref_model_hyper(s->ref, 0).window;
}

void locate_cause_case(struct test *t, const struct test_case *c)
{
    const struct cause *k = &causes[c->index];
    struct scene s = {.truth = {.fd = -1}, .got = {.fd = -1}, .site = k->site};
    struct err e = {0};
    const char *dir = temp_dir(t), *path = dir ? dir_path(t, dir, "model") : NULL;
    if (!path) return;
    if (test_ok(t, open_scene(t, k, path, &s, &e), &e)) {
        s.layer = layer_of(&s);
        struct record_site *r = record_find(&s.got, k->site, s.layer);
        if (test_check(t, r != NULL, "the model has no such site")) {
            s.n = r->rows;
            s.cols = r->cols;
            s.y = r->got;
            if (test_check(t, k->make(&s, k->way), "the fault cannot be made here")) {
                judge(t, &s, k);
                keep_last(r);
                if (k->make == break_matrix && k->way == MATRIX_TRANSPOSED) judge(t, &s, k);
            }
        }
    }
    record_close(&s.truth);
    record_close(&s.got);
    prompts_free(&s.prompts);
    ref_model_close(s.ref);
    if (s.g.n_tensors) gguf_close(&s.g);
    temp_remove(dir);
}

const char *locate_cause(size_t i)
{
    return i < sizeof causes / sizeof *causes ? causes[i].name : NULL;
}
