/* The suite of models that must be refused: a golden model with one thing changed, which makes it
 * another computation than the one that the engine would do. */
#include "selftest/selftest.h"
#include "engine/engine.h"
#include "harness/files.h"
#include "selftest/gguf_shared.h"
#include "models/source.h"

#include <stdio.h>
#include <string.h>

/* What is put in place of, or beside, what the model has. */
static const struct flaw {
    const char *name;
    const char *drop_tensor, *drop_key;
    const char *add_tensor; /* of n values */
    uint32_t n;
    const char *add_key; /* u32 */
    uint32_t value;
    const char *says; /* in the refusal; NULL = must open */
    const char *base; /* file; NULL = llama-plain */
    bool taken;       /* the reference opens it: it looks at what it knows only */
} flaws[] = {
    {"nothing", .says = NULL},
    {"tensor-without-a-place", .add_tensor = "blk.0.mystery.weight", .n = 64, .says = "mystery",
     .taken = true},
    {"tensor-of-no-layer", .add_tensor = "blk.99.attn_norm.weight", .n = 64, .says = "blk.99",
     .taken = true},
    {"tensor-missing", .drop_tensor = "blk.0.ffn_up.weight", .says = "blk.0.ffn_up.weight"},
    {"norm-missing", .drop_tensor = "output_norm.weight", .says = "output_norm.weight"},
    {"norm-too-short", .drop_tensor = "output_norm.weight", .add_tensor = "output_norm.weight",
     .n = 32, .says = "output_norm.weight"},
    {"matrix-is-vector", .drop_tensor = "blk.1.attn_q.weight", .add_tensor = "blk.1.attn_q.weight",
     .n = 64, .says = "blk.1.attn_q.weight"},
    {"layers-missing", .drop_key = "llama.block_count", .says = "block_count"},
    {"one-layer-less", .drop_key = "llama.block_count", .add_key = "llama.block_count", .value = 1,
     .says = "blk.1", .taken = true},
    {"no-layers", .drop_key = "llama.block_count", .add_key = "llama.block_count",
     .says = "block_count"},
    {"no-heads", .drop_key = "llama.attention.head_count", .add_key = "llama.attention.head_count",
     .says = "head_count"},
    {"eps-missing", .drop_key = "llama.attention.layer_norm_rms_epsilon", .says = "epsilon"},
    {"size-missing", .drop_key = "llama.embedding_length", .says = "embedding_length"},
    {"unknown-architecture", .drop_key = "general.architecture", .says = "architecture"},
    {"window-ignored", .add_key = "llama.attention.sliding_window", .value = 4},
    {"values-of-another-size", .add_key = "llama.attention.value_length", .value = 8,
     .says = "value_length"},
    {"rotates-a-part", .drop_key = "llama.rope.dimension_count",
     .add_key = "llama.rope.dimension_count", .value = 8, .says = "dimension_count"},
    {"more-experts-than-there-are", .drop_key = "llama.expert_used_count",
     .add_key = "llama.expert_used_count", .value = 9, .says = "expert_used_count",
     .base = "llama-mixtral"},
    {"expert-groups-uneven", .add_key = "llama.expert_group_count", .value = 4,
     .says = "expert_group_count", .base = "llama-mixtral"},
    {"bias-that-qwen2-has-not", .add_tensor = "blk.0.attn_output.bias", .n = 64,
     .says = "blk.0.attn_output.bias", .base = "qwen2-plain"},
    {"bias-that-qwen2-has", .drop_tensor = "blk.0.attn_k.bias", .says = "blk.0.attn_k.bias",
     .base = "qwen2-plain"},
    {"rope-freqs-of-qwen3", .add_tensor = "rope_freqs.weight", .n = 8, .says = "rope_freqs",
     .base = "qwen3-plain"},
    {"output-of-qwen2moe", .drop_tensor = "output.weight", .says = "output.weight",
     .base = "qwen2moe-plain"},
    {"fused-experts-of-qwen3moe", .drop_tensor = "blk.0.ffn_up_exps.weight",
     .add_tensor = "blk.0.ffn_gate_up_exps.weight", .n = 64, .says = "ffn_up_exps",
     .base = "qwen3moe-plain"},
    {"sinks-missing", .drop_tensor = "blk.1.attn_sinks.weight", .says = "attn_sinks",
     .base = "gpt-oss-plain"},
    {"positions-missing", .drop_tensor = "position_embd.weight", .says = "position_embd",
     .base = "gpt2-plain"},
    {"form-of-gptneox", .drop_key = "gptneox.use_parallel_residual",
     .says = "use_parallel_residual", .base = "gptneox-serial"},
    {"heads-that-share-nothing", .drop_key = "gemma2.attention.head_count",
     .add_key = "gemma2.attention.head_count", .value = 3, .says = "head_count",
     .base = "gemma2-plain"},
    {"logit-scale-missing", .drop_key = "granite.logit_scale", .says = "logit_scale",
     .base = "granite-plain"},
    {"longrope-without-factors", .drop_tensor = "rope_factors_short.weight",
     .says = "rope_factors_short", .base = "llama-longrope"},
    {"latents-of-another-size", .drop_key = "deepseek2.attention.kv_lora_rank",
     .add_key = "deepseek2.attention.kv_lora_rank", .value = 23, .says = "key_length",
     .base = "deepseek2-mla-v3"},
    {"window-of-gpt-oss", .drop_key = "gpt-oss.attention.sliding_window", .says = "sliding_window",
     .base = "gpt-oss-plain"},
    {"output-of-gpt-oss", .drop_tensor = "output.weight", .says = "output.weight",
     .base = "gpt-oss-plain"},
    {"output-bias-of-phi2", .drop_tensor = "output.bias", .says = "output.bias",
     .base = "phi2-plain"},
    {"norm-bias-of-gpt2", .drop_tensor = "blk.1.ffn_norm.bias", .says = "blk.1.ffn_norm.bias",
     .base = "gpt2-plain"},
    {"norm-bias-of-falcon", .drop_tensor = "output_norm.bias", .says = "output_norm.bias",
     .base = "falcon-7b"},
    {"norm-bias-of-stablelm", .drop_tensor = "blk.0.attn_norm.bias", .says = "blk.0.attn_norm.bias",
     .base = "stablelm-3b"},
    {"norms-of-heads", .drop_tensor = "blk.63.attn_k_norm.weight",
     .says = "blk.63.attn_k_norm.weight", .base = "command-r-64-layers"},
    {"period-of-none", .add_key = "gemma2.attention.sliding_window_pattern", .value = 0,
     .says = "sliding_window_pattern", .base = "gemma2-plain"},
    {"length-missing", .drop_key = "llama.feed_forward_length", .says = "feed_forward_length"},
    {"length-of-experts", .drop_key = "gpt-oss.expert_feed_forward_length",
     .says = "expert_feed_forward_length", .base = "gpt-oss-plain"},
    {"values-without-a-length", .drop_key = "llama.attention.value_length", .says = "value_length",
     .base = "llama-head-dim-32"},
    {"experts-used-of-none", .add_key = "llama.expert_used_count", .value = 2,
     .says = "expert_used_count"},
    {"experts-unused", .drop_key = "llama.expert_used_count", .says = "expert_used_count",
     .base = "llama-mixtral"},
    {"tables-without-longrope", .drop_key = "llama.rope.scaling.type", .says = "rope_factors",
     .base = "llama-longrope"},
    {"one-table-of-phi3", .drop_tensor = "rope_factors_short.weight", .says = "rope_factors_short",
     .base = "phi3-long"},
    {"rope-freqs-of-phi3", .add_tensor = "rope_freqs.weight", .n = 8, .says = "rope_freqs",
     .base = "phi3-short"},
    {"rope-freqs-of-command-r", .add_tensor = "rope_freqs.weight", .n = 8, .says = "rope_freqs",
     .base = "command-r-plain"},
    {"gating-unknown", .drop_key = "deepseek2.expert_gating_func",
     .add_key = "deepseek2.expert_gating_func", .value = 7, .says = "expert_gating_func",
     .base = "deepseek2-v3"},
};
enum { N_FLAWS = sizeof flaws / sizeof *flaws };

static bool is_text(struct gguf_str s, const char *text)
{
    return text && s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static enum status put_all(struct gguf_writer *w, const struct gguf *g, const struct flaw *f,
                           const float *zeros, struct err *e)
{
    enum status st = ST_OK;
    for (size_t i = 0; i < g->n_kv && st == ST_OK; i++)
        if (!is_text(g->kv[i].key, f->drop_key)) st = gguf_put_kv(w, &g->kv[i], e);
    if (st == ST_OK && f->add_key) st = gguf_put_u32(w, f->add_key, f->value, e);
    for (size_t i = 0; i < g->n_tensors && st == ST_OK; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        char name[GGUF_MAX_NAME + 1];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.data);
        if (f->drop_tensor && strcmp(name, f->drop_tensor) == 0) continue;
        st = gguf_put_tensor(w, name, t->type->id, t->n_dims, t->dims, t->data, e);
    }
    if (st == ST_OK && f->add_tensor)
        st = gguf_put_tensor(w, f->add_tensor, TYPE_F32, 1, (const uint64_t[]){f->n}, zeros, e);
    return st;
}

/* The reference was written apart: what it opens, it would compute something from. */
static void judge_reference(struct test *t, const struct flaw *f, const char *path)
{
    struct gguf g;
    struct ref_model *m = NULL;
    struct err e = {0};
    if (!test_ok(t, gguf_open(&g, path, &e), &e)) return;
    const enum status st = source_open(&m, &g, &e);
    test_check(t, (st == ST_OK) == (!f->says || f->taken), "the reference: %s",
               st == ST_OK ? "opened" : e.text);
    ref_model_close(m);
    gguf_close(&g);
}

static void judge(struct test *t, const struct flaw *f, const char *path)
{
    struct engine_model *m = NULL;
    struct err e = {0};
    enum status st = engine_model_open(&m, path, &e);
    engine_model_close(m);
    if (!f->says) {
        test_check(t, st == ST_OK, "refused: %s", e.text);
        return;
    }
    if (!test_check(t, st == ST_FORMAT || st == ST_UNSUPPORTED,
                    "opened, or not for its content: %s", e.text))
        return;
    container_check_message(t, &e);
    test_check(t, strstr(e.text, f->says) != NULL, "the refusal does not name %s: %s", f->says,
               e.text);
}

static void run_refuse(struct test *t, const struct test_case *c)
{
    const struct flaw *f = c->arg;
    static const float zeros[64];
    char source[4096];
    struct gguf g;
    struct err e = {0};
    struct gguf_writer *w = NULL;
    snprintf(source, sizeof source, "%s/forward/%s.gguf.gz", t->options->vectors,
             f->base ? f->base : "llama-plain");
    if (!test_ok(t, gguf_open(&g, source, &e), &e)) return;
    const char *dir = temp_dir(t);
    if (dir) {
        const char *path = dir_path(t, dir, "model.gguf");
        enum status st = gguf_writer_open(&w, &e);
        if (st == ST_OK) st = put_all(w, &g, f, zeros, &e);
        if (st == ST_OK) st = gguf_writer_save(w, path, false, &e);
        if (test_ok(t, st, &e)) {
            judge(t, f, path);
            judge_reference(t, f, path);
        }
        gguf_writer_close(w);
        temp_remove(dir);
    }
    gguf_close(&g);
}

void suite_refuse(struct case_list *l)
{
    for (size_t i = 0; i < N_FLAWS; i++) {
        struct test_case c = {.suite = "refuse",
                              .shape = flaws[i].name,
                              .quick = true,
                              .run = run_refuse,
                              .arg = &flaws[i]};
        case_add(l, &c);
    }
}
