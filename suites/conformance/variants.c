/* The suite of what the golden models leave out: other layouts of tensors, keys and tensors that
 * some files of an architecture have, and keys that must be ignored. The engine against the
 * reference, as in the forward suite; and the change must do something, or nothing, to what the
 * reference computes. */
#include "conformance/conformance.h"
#include "conformance/variants.h"
#include "models/golden.h"
#include "harness/files.h"
#include "engine/gguf/gguf.h"
#include "judge/logits.h"
#include "models/source.h"
#include "subject/subject.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DROP(k)                                                                                    \
    {                                                                                              \
        .key = k, .kind = VARIANT_DROP                                                             \
    }
#define U32(k, v)                                                                                  \
    {                                                                                              \
        .key = k, .kind = VARIANT_U32, .number = v                                                 \
    }
#define F32(k, v)                                                                                  \
    {                                                                                              \
        .key = k, .kind = VARIANT_F32, .number = v                                                 \
    }
#define BOOL(k, v)                                                                                 \
    {                                                                                              \
        .key = k, .kind = VARIANT_BOOL, .number = v                                                \
    }
#define TEXT(k, v)                                                                                 \
    {                                                                                              \
        .key = k, .kind = VARIANT_TEXT, .text = v                                                  \
    }
#define I32S(k, ...)                                                                               \
    {                                                                                              \
        .key = k, .kind = VARIANT_I32S, .values = {__VA_ARGS__},                                   \
        .n = sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)                                    \
    }
#define YARN(f, l0)                                                                                \
    TEXT("rope.scaling.type", "yarn"), F32("rope.scaling.factor", f),                              \
        U32("rope.scaling.original_context_length", l0)
#define MULTIPLIER "rope.scaling.yarn_log_multiplier"
#define PATTERN    "attention.sliding_window_pattern"
#define WINDOW     "attention.sliding_window"
#define SWA_BASE   "rope.freq_base_swa"

static const struct variant variants[] = {
    /* Layouts: the same model. */
    {"qwen2-fused-qkv", "qwen2-plain", .layout = LAYOUT_FUSED_QKV, .same = true},
    {"phi3-split-qkv", "phi3-short", .layout = LAYOUT_SPLIT_QKV, .rows = {64, 32}, .same = true},
    {"gpt2-split-qkv", "gpt2-plain", .layout = LAYOUT_SPLIT_QKV, .rows = {64, 64}, .same = true},
    {"mixtral-split", "llama-mixtral", .layout = LAYOUT_SPLIT_EXPERTS, .same = true},
    {"deepseek2-fused-experts", "deepseek2-v3", .layout = LAYOUT_FUSED_EXPERTS, .same = true},
    /* Factors of products. */
    {"scale", "llama-bias-qkvo",
     .tensors = {{"blk.%d.attn_q.scale", 1, 0, 0.7f, 0.2f},
                 {"blk.%d.ffn_up.scale", 1, 0, 1.3f, 0},
                 {"output.scale", 1, 0, 0.5f, 0}}},
    {"scale-fused", "llama-fused-qkv", .tensors = {{"blk.%d.attn_qkv.scale", 1, 0, 0.8f, 0.1f}}},
    {"scale-experts", "qwen3moe-plain",
     .tensors = {{"blk.%d.ffn_gate_exps.scale", 1, 0, 1.4f, 0},
                 {"blk.%d.ffn_up_exps.scale", 8, 0, 0.9f, 0.4f}}},
    {"scale-experts-biased", "gpt-oss-plain",
     .tensors = {{"blk.%d.ffn_down_exps.scale", 6, 0, 0.9f, 0.4f}}},
    {"scale-heads", "deepseek2-mla-v3",
     .tensors = {{"blk.%d.attn_k_b.scale", 4, 0, 0.9f, 0.3f},
                 {"blk.%d.attn_v_b.scale", 4, 0, 1.1f, 0.3f}}},
    /* Biases and norms that some files have. */
    {"llama-bias-shared", "granite-plain",
     .tensors = {{"blk.%d.attn_q.bias", 64, 0, 0, 0.3f},
                 {"blk.%d.attn_output.bias", 64, 0, 0, 0.3f},
                 {"blk.%d.ffn_gate.bias", 96, 0, 0, 0.3f}}},
    {"mistral3-bias", "mistral3-temp",
     .tensors = {{"blk.%d.attn_k.bias", 32, 0, 0, 0.3f}, {"blk.%d.ffn_down.bias", 64, 0, 0, 0.3f}}},
    {"stablelm-parallel", "stablelm-3b", .drop = "ffn_norm"},
    {"stablelm-12b", "stablelm-3b", .drop = "ffn_norm",
     .tensors = {{"blk.%d.attn_q_norm.weight", 16, 4, 1, 0.6f},
                 {"blk.%d.attn_k_norm.weight", 16, 4, 1, 0.6f}}},
    {"command-r-norms", "command-r-plain",
     .tensors = {{"blk.%d.attn_q_norm.weight", 16, 4, 1, 0.6f},
                 {"blk.%d.attn_k_norm.weight", 16, 4, 1, 0.6f}}},
    {"stablelm-bias", "stablelm-3b", .drop = "attn_q.bias",
     .tensors = {{"blk.%d.attn_q.bias", 64, 0, 0, 0.3f}}},
    {"phi3-tied", "phi3-short", .drop = "output.weight"},
    {"qwen3-tied", "qwen3-plain", .drop = "output.weight"},
    {"falcon-tied", "falcon-7b", .drop = "output.weight"},
    {"phi2-tied", "phi2-plain", .drop = "output.weight"},
    /* One architecture's file under the name of another that computes the same. */
    {"mistral3-experts", "llama-mixtral", .arch = "mistral3", .same = true},
    {"mistral3-bias-ffn", "llama-bias-ffn", .arch = "mistral3", .same = true},
    {"granite-like-llama", "llama-plain", .arch = "granite", .same = true,
     .keys = {F32("logit_scale", 1)}},
    {"granite-bias-qkvo", "llama-bias-qkvo", .arch = "granite", .same = true,
     .keys = {F32("logit_scale", 1)}},
    {"granitemoe-like-mixtral", "llama-mixtral", .arch = "granitemoe", .same = true,
     .keys = {F32("logit_scale", 1)}},
    /* Keys that have defaults, and counts per layer. */
    {"default-keys", "llama-mha", .same = true,
     .keys = {DROP("attention.head_count_kv"), DROP("rope.dimension_count"),
              DROP("rope.freq_base")}},
    {"default-rotation-of-heads", "gemma-plain", .same = true,
     .keys = {DROP("rope.dimension_count")}},
    {"counts-per-layer", "llama-plain", .same = true,
     .keys = {I32S("attention.head_count_kv", 2, 2), I32S("feed_forward_length", 96, 96)}},
    {"default-expert-length", "qwen3moe-plain", .same = true,
     .keys = {DROP("expert_feed_forward_length")}},
    {"no-dense-length", "qwen3moe-plain", .same = true, .keys = {DROP("feed_forward_length")}},
    {"qwen2moe-default-length", "qwen2moe-plain", .same = true,
     .keys = {DROP("expert_feed_forward_length"), U32("feed_forward_length", 64)}},
    {"qwen2moe-default-shared", "qwen2moe-plain", .same = true,
     .keys = {DROP("expert_shared_feed_forward_length"), U32("feed_forward_length", 48)}},
    /* Windows. Of most architectures they are ignored. */
    {"window-of-qwen2", "qwen2-plain", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-qwen3", "qwen3-plain", .same = true, .keys = {U32(WINDOW, 4), U32(PATTERN, 2)}},
    {"window-of-qwen3moe", "qwen3moe-plain", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-mistral3", "mistral3-temp", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-granite", "granite-plain", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-command-r", "command-r-plain", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-stablelm", "stablelm-3b", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-falcon", "falcon-40b", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-gptneox", "gptneox-serial", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-starcoder2", "starcoder2-plain", .same = true, .keys = {U32(WINDOW, 4)}},
    {"window-of-deepseek2", "deepseek2-v2", .same = true, .keys = {U32(WINDOW, 4)}},
    {"gemma2-default-window", "gemma2-plain", .keys = {DROP(WINDOW)}},
    {"gemma2-period-of-one", "gemma2-plain", .keys = {U32(PATTERN, 1)}},
    {"gemma2-pattern", "gemma2-plain", .keys = {U32(PATTERN, 3)}},
    {"gemma2-pattern-array", "gemma2-plain", .keys = {I32S(PATTERN, 0, 1, 1, 0)}},
    {"gemma2-swa-base", "gemma2-plain", .keys = {F32(SWA_BASE, 500)}},
    {"gemma3-swa-base", "gemma3-plain", .keys = {F32(SWA_BASE, 500)}},
    {"gemma3-yarn", "gemma3-plain", .keys = {YARN(4, 32)}},
    {"gemma3-cap", "gemma3-plain", .keys = {F32("final_logit_softcapping", 3)}},
    {"gemma3-pattern-array", "gemma3-plain", .keys = {I32S(PATTERN, 1, 0, 0, 1, 1, 0, 1)}},
    {"gemma2-yarn", "gemma2-plain", .keys = {YARN(4, 32), F32("rope.scaling.attn_factor", 1.2)}},
    {"gemma2-linear", "gemma2-plain", .keys = {F32("rope.scaling.factor", 4)}},
    {"gemma3-attn-factor", "gemma3-plain", .keys = {F32("rope.scaling.attn_factor", 1.3)}},
    {"gpt-oss-swa-base", "gpt-oss-plain", .keys = {F32(SWA_BASE, 500)}},
    {"gpt-oss-pattern", "gpt-oss-plain", .keys = {I32S(PATTERN, 0, 1)}},
    {"olmo3", "olmo2-plain", .keys = {U32(WINDOW, 16), U32(PATTERN, 2), YARN(4, 32)}},
    {"olmo3-period", "olmo2-plain", .keys = {U32(WINDOW, 16)}},
    {"olmo3-swa-base", "olmo2-plain",
     .keys = {U32(WINDOW, 16), U32(PATTERN, 2), F32(SWA_BASE, 500)}},
    {"olmo3-attn-factor", "olmo2-plain",
     .keys = {U32(WINDOW, 16), U32(PATTERN, 2), F32("rope.scaling.attn_factor", 1.3)}},
    {"olmo2-swa-base", "olmo2-plain", .same = true, .keys = {F32(SWA_BASE, 500)}},
    /* Rotation. */
    {"linear-old-key", "llama-plain", .keys = {F32("rope.scale_linear", 4)}},
    {"linear-by-factor", "qwen2-plain", .keys = {F32("rope.scaling.factor", 4)}},
    {"no-scaling", "qwen2-plain", .same = true,
     .keys = {TEXT("rope.scaling.type", "none"), F32("rope.scaling.factor", 4)}},
    {"attn-factor", "qwen3-plain", .keys = {F32("rope.scaling.attn_factor", 1.3)}},
    {"yarn-qwen3", "qwen3-plain", .keys = {YARN(4, 32), F32("rope.scaling.attn_factor", 1.2)}},
    {"yarn-keys-ignored", "llama-rope-yarn-4", .same = true,
     .keys = {F32(MULTIPLIER, 0.5), F32("rope.scaling.yarn_beta_fast", 8),
              F32("rope.scaling.yarn_beta_slow", 2), F32("rope.scaling.yarn_ext_factor", 0.5)}},
    {"yarn-default-context", "qwen2-plain",
     .keys = {TEXT("rope.scaling.type", "yarn"), F32("rope.scaling.factor", 4)}},
    {"granite-partial", "granite-plain", .keys = {U32("rope.dimension_count", 8)}},
    {"phi3-partial", "phi3-window", .keys = {U32("rope.dimension_count", 8)}},
    {"longrope-short", "llama-longrope", .keys = {U32("context_length", 64)}},
    {"longrope-rope-freqs-win", "llama-longrope", .tensors = {{"rope_freqs.weight", 8, 0, 2, 1}}},
    {"phi3-short-by-context", "phi3-long", .keys = {U32("context_length", 64)}},
    {"phi3-long-by-context", "phi3-short", .keys = {U32("context_length", 257)}},
    {"longrope-with-factor", "llama-longrope", .keys = {F32("rope.scaling.factor", 4)}},
    {"rope-freqs-granite", "granite-plain", .tensors = {{"rope_freqs.weight", 8, 0, 2, 1}}},
    {"rope-freqs-mistral3", "mistral3-temp", .tensors = {{"rope_freqs.weight", 8, 0, 2, 1}}},
    {"mistral3-betas", "mistral3-temp",
     .keys = {F32("rope.scaling.yarn_beta_fast", 0.05), F32("rope.scaling.yarn_beta_slow", 0.001)}},
    {"mistral3-half-multiplier", "mistral3-temp", .keys = {F32(MULTIPLIER, 0.5)}},
    {"mistral3-no-multiplier", "mistral3-temp", .keys = {DROP(MULTIPLIER)}},
    {"mistral3-no-yarn", "mistral3-temp",
     .keys = {DROP("rope.scaling.type"), DROP("rope.scaling.factor")}},
    {"mistral3-no-temperature", "mistral3-temp", .keys = {DROP("attention.temperature_scale")}},
    {"phi3-no-factors", "phi3-window", .same = true, .keys = {U32(WINDOW, 4)}},
    /* Scales and residual forms. */
    {"granite-default-scale", "granite-plain", .keys = {F32("attention.scale", 0)}},
    {"granite-no-scales", "granite-plain",
     .keys = {DROP("embedding_scale"), DROP("residual_scale"), DROP("attention.scale")}},
    {"granite-finetuned-elsewhere", "llama-plain", .same = true,
     .keys = {BOOL("rope.scaling.finetuned", 0)}},
    {"gemma2-default-caps", "gemma2-plain",
     .keys = {DROP("attn_logit_softcapping"), DROP("final_logit_softcapping")}},
    {"gemma3-cap-of-scores-ignored", "gemma3-plain", .same = true,
     .keys = {F32("attn_logit_softcapping", 2)}},
    {"llama-attention-scale-ignored", "llama-plain", .same = true,
     .keys = {F32("attention.scale", 0.1), U32(WINDOW, 4)}},
    /* Experts. */
    {"groups-elsewhere", "qwen3moe-plain",
     .keys = {U32("expert_group_count", 4), U32("expert_group_used_count", 2)}},
    {"expert-keys-ignored", "qwen3moe-plain", .same = true,
     .keys = {F32("expert_weights_scale", 3), BOOL("expert_weights_norm", 0),
              U32("expert_gating_func", 2)}},
    {"one-group", "qwen3moe-plain", .same = true,
     .keys = {U32("expert_group_count", 1), U32("expert_group_used_count", 1)}},
    {"gating-softmax", "deepseek2-v3", .keys = {U32("expert_gating_func", 1)}},
    {"weights-not-scaled", "deepseek2-v3", .keys = {F32("expert_weights_scale", 0)}},
    {"deepseek2-dense", "deepseek2-v2", .drop = "ffn_",
     .keys = {U32("leading_dense_block_count", 3), DROP("expert_count"), DROP("expert_used_count"),
              DROP("expert_feed_forward_length"), DROP("expert_shared_count")},
     .tensors = {{"blk.%d.ffn_norm.weight", 64, 0, 1, 0.3f},
                 {"blk.%d.ffn_gate.weight", 64, 96, 0, 0.2f},
                 {"blk.%d.ffn_up.weight", 64, 96, 0, 0.2f},
                 {"blk.%d.ffn_down.weight", 96, 64, 0, 0.2f}}},
    {"gating-default", "deepseek2-v3", .keys = {DROP("expert_gating_func")}},
    {"gating-of-chosen", "deepseek2-v2", .keys = {U32("expert_gating_func", 3)}},
    {"not-normalised", "deepseek2-v3", .keys = {DROP("expert_weights_norm")}},
    /* Latents. */
    {"deepseek2-no-multiplier", "deepseek2-v2", .keys = {DROP(MULTIPLIER)}},
    {"deepseek2-attn-factor", "deepseek2-v2", .keys = {F32("rope.scaling.attn_factor", 1.3)}},
    {"deepseek2-attn-factor-alone", "deepseek2-mla-v3",
     .keys = {F32("rope.scaling.attn_factor", 1.3), DROP(MULTIPLIER)}},
    {"deepseek2-no-yarn", "deepseek2-mla-v3",
     .keys = {DROP("rope.scaling.type"), DROP("rope.scaling.factor"), DROP(MULTIPLIER)}},
    {"deepseek2-betas-ignored", "deepseek2-v2", .same = true,
     .keys = {F32("rope.scaling.yarn_beta_fast", 4)}},
};
enum { N_VARIANTS = sizeof variants / sizeof *variants, N_TOKENS = 48 };

static bool longest_prompt(struct test *t, const struct gguf *g, int32_t *tokens)
{
    struct golden_prompt p;
    struct err e = {0};
    for (size_t i = 0; golden_prompt(g, i, &p, &e); i++)
        if (p.n_tokens >= N_TOKENS) {
            memcpy(tokens, p.tokens, N_TOKENS * sizeof *tokens);
            return true;
        }
    return test_check(t, false, "no prompt has %d tokens: %s", N_TOKENS, e.text);
}

static bool expect(struct test *t, const struct gguf *g, const int32_t *tokens, struct expected *x)
{
    static const size_t length = N_TOKENS;
    struct ref_model *ref = NULL;
    struct err e = {0};
    bool ok =
        test_ok(t, source_open(&ref, g, &e), &e) &&
        test_ok(t, expected_make(x, ref, tokens, &length, 1, TYPE_F32, TYPE_F32, NULL, &e), &e);
    ref_model_close(ref);
    return ok;
}

/* A change that the reference does not notice would prove nothing about the engine. */
static void check_effect(struct test *t, const struct variant *v, const struct expected *x,
                         const struct expected *base)
{
    size_t moved = 0, n = x->n_tokens * x->n_vocab;
    for (size_t i = 0; i < n; i++) {
        const double bound = v->same ? x->dev[i] : 10 * x->dev[i];
        moved += !(fabs(x->logits[i] - base->logits[i]) <= bound);
    }
    if (v->same)
        test_check(t, moved == 0, "%zu of %zu logits of the reference differ from those of %s",
                   moved, n, v->base);
    else
        test_check(t, moved > n / 10, "only %zu of %zu logits of the reference differ from %s's",
                   moved, n, v->base);
}

static void judge_engine(struct test *t, const struct subject *s, struct gguf *g,
                         const struct expected *x)
{
    struct err e = {0};
    struct engine_model *m = NULL;
    struct engine_session *session = NULL;
    struct judged j = {0};
    enum status st = engine_model_from_gguf(&m, g, &e);
    struct engine_session_options o = {.n_batch = 13};
    if (st == ST_OK) st = engine_session_open(&session, m, s->backend, &o, &e);
    if (st == ST_OK) st = judge_session(&j, session, x, JUDGE_AT_ONCE, &e);
    if (test_ok(t, st, &e)) {
        t->result = j.r;
        if (j.worst == VERDICT_DEFECT) test_fail(t, "position %zu: another top token", j.token);
    }
    engine_session_close(session);
    engine_model_close(m);
}

static void run_files(struct test *t, const struct variant *v, const struct subject *s,
                      const struct gguf *base, const char *path)
{
    int32_t tokens[N_TOKENS];
    struct gguf g;
    struct expected x = {0}, before = {0};
    struct err e = {0};
    if (!longest_prompt(t, base, tokens) || !test_ok(t, variant_write(t, v, base, path, &e), &e) ||
        !test_ok(t, gguf_open(&g, path, &e), &e))
        return;
    if (expect(t, base, tokens, &before) && expect(t, &g, tokens, &x)) {
        judge_engine(t, s, &g, &x);
        check_effect(t, v, &x, &before);
    }
    expected_free(&before);
    expected_free(&x);
    gguf_close(&g);
}

static void run_variant(struct test *t, const struct test_case *c)
{
    const struct variant *v = c->arg;
    const struct subject *s;
    struct gguf base;
    struct err e = {0};
    char source[4096];
    if (!test_ok(t, subject_open(&s, c->subject, &e), &e)) return;
    if (!s->backend) {
        test_skip(t, "%s does not evaluate models", c->subject);
        return;
    }
    snprintf(source, sizeof source, "%s/forward/%s.gguf.gz", t->options->vectors, v->base);
    if (!test_ok(t, gguf_open(&base, source, &e), &e)) return;
    const char *dir = temp_dir(t);
    if (dir) {
        struct backend_stats before = {0}, after = {0};
        backend_ops_of(s->backend)->stats(s->backend, &before);
        run_files(t, v, s, &base, dir_path(t, dir, "model.gguf"));
        backend_ops_of(s->backend)->stats(s->backend, &after);
        t->result.dispatches = after.dispatches - before.dispatches;
        temp_remove(dir);
    }
    gguf_close(&base);
}

void suite_variants(struct case_list *l)
{
    char name[SUBJECT_NAME];
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++) {
        const char *subject = case_text(l, "%s", name);
        if (strcmp(subject, "reference") == 0) continue;
        for (size_t i = 0; i < N_VARIANTS; i++) {
            struct test_case c = {.suite = "variants",
                                  .shape = variants[i].name,
                                  .subject = subject,
                                  .quick = strcmp(subject, "cpu") == 0,
                                  .run = run_variant,
                                  .arg = &variants[i]};
            case_add(l, &c);
        }
    }
}
