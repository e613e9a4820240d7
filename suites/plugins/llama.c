/* llama.cpp as a subject: its own library behind Assay's interface. Built with -DASSAY_LLAMA=ON
 * where llama.h and libllama are; used as --subject plugin:.../assay-llama.so. Whole prompts, the
 * sites of the pass, and values in their place.
 *
 * It runs on the processor alone, without flash attention and with a cache in f32, and declares
 * what it rounds activations to. ASSAY_LLAMA_EXACT=1: declares nothing, and is held to the bounds
 * of an engine that rounds nothing. ASSAY_LLAMA_THREADS: threads (default 2). */
#include "assay_subject.h"

#include <ggml-backend.h>
#include <ggml.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char last[512];

static int failed(const char *what, const char *where)
{
    snprintf(last, sizeof last, "llama.cpp: %s: %s", what, where);
    return ASSAY_FAILED;
}

/* ---- sites ----------------------------------------------------------------------------------- */

/* Its names of the values at a site; what is computed by op if one is given. Where several tensors
 * have the name or the site (a product, then the sum with its bias), the last one is the site. The
 * rows of suites/trace/names.def that are the same for every architecture. */
static const struct place {
    const char *llama, *site;
    enum ggml_op op; /* GGML_OP_NONE: any that computes */
} places[] = {
    {"embd", "embd", GGML_OP_NONE},
    {"inp_embd", "embd", GGML_OP_NONE},
    {"inp_scaled", "embd", GGML_OP_NONE},
    {"inpL", "embd", GGML_OP_NONE},
    {"attn_norm", "attn_norm", GGML_OP_NONE},
    {"attn_norm_2", "attn_norm", GGML_OP_NONE},
    {"Qcur_attn_temp_scaled", "q_rope", GGML_OP_NONE},
    {"Qcur", "q_rope", GGML_OP_ROPE},
    {"Kcur", "k_rope", GGML_OP_ROPE},
    {"Qcur", "q", GGML_OP_NONE},
    {"Kcur", "k", GGML_OP_NONE},
    {"Vcur", "v", GGML_OP_NONE},
    {"Qcur_normed", "q_norm", GGML_OP_NONE},
    {"Kcur_normed", "k_norm", GGML_OP_NONE},
    {"kq_soft_max", "kq_soft_max", GGML_OP_NONE},
    {"kqv_out", "kqv", GGML_OP_NONE},
    {"attn_out", "attn_out", GGML_OP_NONE},
    {"attn_post_norm", "attn_post_norm", GGML_OP_NONE},
    {"ffn_inp", "ffn_inp", GGML_OP_NONE},
    {"sa_out", "ffn_inp", GGML_OP_NONE},
    {"ffn_norm", "ffn_norm", GGML_OP_NONE},
    {"ffn_moe_logits", "ffn_router", GGML_OP_NONE},
    {"ffn_moe_logits_biased", "ffn_router", GGML_OP_NONE},
    {"ffn_moe_probs", "ffn_router", GGML_OP_ADD}, /* gpt-oss: the same tensor, named once more */
    {"ffn_gate", "ffn_gate", GGML_OP_NONE},
    {"ffn_gate_b", "ffn_gate", GGML_OP_NONE},
    {"ffn_up", "ffn_up", GGML_OP_NONE},
    {"ffn_up_b", "ffn_up", GGML_OP_NONE},
    {"ffn_swiglu", "ffn_act", GGML_OP_NONE},
    {"ffn_gate_par", "ffn_act", GGML_OP_NONE},
    {"ffn_geglu", "ffn_act", GGML_OP_NONE},
    {"ffn_gelu", "ffn_act", GGML_OP_NONE},
    {"ffn_moe_out", "ffn_out", GGML_OP_NONE},
    {"ffn_out", "ffn_out", GGML_OP_NONE},
    {"ffn_post_norm", "ffn_post_norm", GGML_OP_NONE},
    {"l_out", "l_out", GGML_OP_NONE},
    {"result_norm", "result_norm", GGML_OP_NONE},
    {"result_output", "result_output", GGML_OP_NONE},
};
enum { N_PLACES = sizeof places / sizeof *places, MAX_LAYERS = 512 };

static bool computes(const struct ggml_tensor *t)
{
    return t->op != GGML_OP_RESHAPE && t->op != GGML_OP_VIEW && t->op != GGML_OP_PERMUTE &&
           t->op != GGML_OP_TRANSPOSE && t->op != GGML_OP_NONE;
}

/* "embd", and what begins with "result_", are of the model; all others are of a layer. */
static bool is_layered(const char *site)
{
    return strcmp(site, "embd") != 0 && strncmp(site, "result_", 7) != 0;
}

/* "Qcur-3" computed by a product: the place of q, layer 3. NULL: no site. Some tensors of layers
 * are named without one: which they are of cannot be told. */
static const struct place *place_of(const struct ggml_tensor *t, uint32_t *layer)
{
    const char *dash = strrchr(t->name, '-');
    const size_t n = dash ? (size_t)(dash - t->name) : strlen(t->name);
    *layer = dash ? (uint32_t)strtoul(dash + 1, NULL, 10) : 0;
    if (!computes(t) || *layer >= MAX_LAYERS) return NULL;
    for (size_t i = 0; i < N_PLACES; i++) {
        const struct place *p = &places[i];
        if (strlen(p->llama) != n || memcmp(p->llama, t->name, n) != 0) continue;
        if (is_layered(p->site) != (dash != NULL)) continue;
        if (strcmp(p->site, "q") == 0 && t->op == GGML_OP_SCALE) continue; /* after RoPE */
        if (p->op == GGML_OP_NONE || p->op == t->op) return p;
    }
    return NULL;
}

/* ---- the pass -------------------------------------------------------------------------------- */

struct pass {
    const struct assay_probe *probe;
    uint64_t n; /* tokens */
    int64_t n_ff;
    bool acts; /* the second run: shows and replaces; the first one only counts */
    uint32_t node;
    uint32_t last[N_PLACES][MAX_LAYERS]; /* 1 + the node that a place is at; 0: nowhere */
    bool second[MAX_LAYERS]; /* attn_norm_2 is there: the site, whatever the order of the nodes */
    const char *trouble;
};

/* Where there are attn_norm and attn_norm_2, the site is the second. Gate and up in one product
 * (phi3) are two sites. */
static bool is_other(struct pass *p, const struct place *place, uint32_t layer,
                     const struct ggml_tensor *t)
{
    if (strcmp(place->llama, "attn_norm_2") == 0) p->second[layer] = true;
    return (strcmp(place->llama, "attn_norm") == 0 && p->second[layer]) ||
           (strcmp(place->llama, "ffn_up") == 0 && p->n_ff > 0 && t->ne[0] == 2 * p->n_ff);
}

static uint32_t *last_of(struct pass *p, const struct place *place, uint32_t layer)
{
    size_t i = 0;
    while (strcmp(places[i].site, place->site) != 0) i++; /* one entry for all names of a site */
    return &p->last[i][layer];
}

/* Attention weights lie as (heads, tokens, padded cells), Assay's as (tokens, heads, cells). */
static void weights_in(float *ours, const float *theirs, const struct ggml_tensor *t, uint64_t n)
{
    const uint64_t padded = (uint64_t)t->ne[0], heads = (uint64_t)t->ne[2];
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t h = 0; h < heads; h++)
            memcpy(ours + (i * heads + h) * n, theirs + (h * n + i) * padded, n * sizeof *ours);
}

static void weights_out(float *theirs, const float *ours, const struct ggml_tensor *t, uint64_t n)
{
    const uint64_t padded = (uint64_t)t->ne[0], heads = (uint64_t)t->ne[2];
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t h = 0; h < heads; h++)
            memcpy(theirs + (h * n + i) * padded, ours + (i * heads + h) * n, n * sizeof *ours);
}

static void exchange(struct pass *p, const char *site, uint32_t layer, struct ggml_tensor *t)
{
    const uint64_t all = (uint64_t)ggml_nelements(t);
    const bool weights = strcmp(site, "kq_soft_max") == 0;
    float *theirs = malloc(all * sizeof *theirs), *ours = theirs;
    uint64_t cols = all / p->n;
    if (weights) {
        cols = (uint64_t)t->ne[2] * p->n;
        ours = calloc(p->n * cols, sizeof *ours);
    }
    if (!theirs || !ours) {
        p->trouble = "out of memory for a site";
    } else {
        ggml_backend_tensor_get(t, theirs, 0, all * sizeof *theirs);
        if (weights) weights_in(ours, theirs, t, p->n);
        p->probe->take(p->probe->ctx, site, layer, ours, p->n, cols);
        const float *given = p->probe->give(p->probe->ctx, site, layer, p->n, cols);
        if (given && weights) weights_out(theirs, given, t, p->n);
        if (given) ggml_backend_tensor_set(t, weights ? theirs : given, 0, all * sizeof *theirs);
    }
    if (ours != theirs) free(ours);
    free(theirs);
}

static bool each_node(struct ggml_tensor *t, bool ask, void *ctx)
{
    struct pass *p = ctx;
    uint32_t layer;
    const struct place *place = place_of(t, &layer);
    if (ask) p->node++;
    if (!place || is_other(p, place, layer, t)) return !ask;
    uint32_t *at = last_of(p, place, layer);
    if (!p->acts) {
        if (ask) *at = p->node;
        return !ask;
    }
    /* Asked of all sites, for values may be given where none are wanted. */
    const bool here = *at == p->node && t->type == GGML_TYPE_F32 && ggml_is_contiguous(t) &&
                      (uint64_t)ggml_nelements(t) % p->n == 0;
    if (!ask && here) exchange(p, place->site, layer, t);
    return ask ? here : p->trouble == NULL;
}

static int decode_all(struct llama_context *c, const int32_t *tokens, int32_t n)
{
    struct llama_batch b = llama_batch_init(n, 0, 1);
    llama_memory_clear(llama_get_memory(c), true);
    b.n_tokens = n;
    for (int32_t i = 0; i < n; i++) {
        b.token[i] = tokens[i];
        b.pos[i] = i;
        b.n_seq_id[i] = 1;
        b.seq_id[i][0] = 0;
        b.logits[i] = 1;
    }
    const int code = llama_decode(c, b);
    llama_batch_free(b);
    return code;
}

static int evaluate(struct llama_context *c, const int32_t *tokens, uint64_t n, uint64_t n_vocab,
                    float *logits, struct pass *p, const char *path)
{
    if (decode_all(c, tokens, (int32_t)n) != 0)
        return failed("it cannot evaluate the prompt", path);
    p->acts = true;
    p->node = 0;
    if (decode_all(c, tokens, (int32_t)n) != 0 || p->trouble)
        return failed(p->trouble ? p->trouble : "it cannot evaluate the prompt", path);
    for (uint64_t i = 0; i < n; i++) {
        const float *row = llama_get_logits_ith(c, (int32_t)i);
        if (!row) return failed("it gives no logits", path);
        memcpy(logits + i * n_vocab, row, n_vocab * sizeof *row);
    }
    return ASSAY_OK;
}

static struct llama_context *context_for(struct llama_model *m, uint64_t n, struct pass *p)
{
    const char *threads = getenv("ASSAY_LLAMA_THREADS");
    struct llama_context_params c = llama_context_default_params();
    c.n_ctx = c.n_batch = c.n_ubatch = (uint32_t)n;
    c.n_threads = c.n_threads_batch = threads && atoi(threads) > 0 ? atoi(threads) : 2;
    c.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    c.type_k = c.type_v = GGML_TYPE_F32;
    c.cb_eval = each_node;
    c.cb_eval_user_data = p;
    return llama_init_from_model(m, c);
}

/* The width of the feed-forward blocks; 0: it differs from layer to layer. */
static int64_t width_of(const struct llama_model *m)
{
    char arch[64], key[96], value[32] = "0";
    if (llama_model_meta_val_str(m, "general.architecture", arch, sizeof arch) < 0) return 0;
    snprintf(key, sizeof key, "%s.feed_forward_length", arch);
    llama_model_meta_val_str(m, key, value, sizeof value);
    return strtoll(value, NULL, 10);
}

/* ---- the interface --------------------------------------------------------------------------- */

static int llama_eval(void *ctx, const char *path, const int32_t *tokens, uint64_t n,
                      uint64_t n_vocab, float *logits, const struct assay_probe *probe)
{
    static struct llama_model *model; /* the same in every call */
    struct pass *p = calloc(1, sizeof *p);
    (void)ctx;
    if (!p) return failed("out of memory", path);
    p->probe = probe;
    p->n = n;
    if (!model) {
        struct llama_model_params m = llama_model_default_params();
        m.n_gpu_layers = 0;
        m.use_extra_bufts = false; /* repacked weights have other kernels */
        model = llama_model_load_from_file(path, m);
    }
    int code = ASSAY_OK;
    if (model) p->n_ff = width_of(model);
    struct llama_context *c = model ? context_for(model, n, p) : NULL;
    if (!model)
        code = failed("it cannot load the model", path);
    else if (!c)
        code = failed("it cannot make a context", path);
    else if ((uint64_t)llama_vocab_n_tokens(llama_model_get_vocab(model)) != n_vocab)
        code = failed("it has another number of tokens", path);
    else
        code = evaluate(c, tokens, n, n_vocab, logits, p, path);
    llama_free(c);
    free(p);
    return code;
}

static const char *llama_error(void *ctx)
{
    (void)ctx;
    return *last ? last : NULL;
}

/* Its messages go nowhere but the last error, which is the reason of a failure. */
static void keep_errors(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    if (level == GGML_LOG_LEVEL_ERROR) fprintf(stderr, "llama.cpp: %s", text);
}

__attribute__((visibility("default"))) const struct assay_subject *assay_subject(uint32_t abi)
{
    static struct assay_subject subject = {
        .abi = ASSAY_SUBJECT_ABI,
        .flags = ASSAY_GIVES,
        .name = "llama.cpp",
        .error = llama_error,
        .eval = llama_eval,
        .activations = "q8",
    };
    if (abi != ASSAY_SUBJECT_ABI) return NULL;
    llama_log_set(keep_errors, NULL);
    ggml_backend_load_all();
    llama_backend_init();
    if (getenv("ASSAY_LLAMA_EXACT")) subject.activations = NULL;
    return &subject;
}
