/* The suite of models that must be refused: a golden model with one thing changed, which makes it
 * another computation than the one that the engine would do. */
#include "engine.h"
#include "gguf_util.h"

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
} flaws[] = {
    {"nothing", NULL, NULL, NULL, 0, NULL, 0, NULL},
    {"tensor-without-a-place", NULL, NULL, "blk.0.mystery.weight", 64, NULL, 0, "mystery"},
    {"tensor-of-no-layer", NULL, NULL, "blk.99.attn_norm.weight", 64, NULL, 0, "blk.99"},
    {"tensor-missing", "blk.0.ffn_up.weight", NULL, NULL, 0, NULL, 0, "blk.0.ffn_up.weight"},
    {"norm-missing", "output_norm.weight", NULL, NULL, 0, NULL, 0, "output_norm.weight"},
    {"norm-too-short", "output_norm.weight", NULL, "output_norm.weight", 32, NULL, 0,
     "output_norm.weight"},
    {"matrix-is-vector", "blk.1.attn_q.weight", NULL, "blk.1.attn_q.weight", 64, NULL, 0,
     "blk.1.attn_q.weight"},
    {"layers-missing", NULL, "llama.block_count", NULL, 0, NULL, 0, "block_count"},
    {"one-layer-less", NULL, "llama.block_count", NULL, 0, "llama.block_count", 1, "blk.1"},
    {"no-layers", NULL, "llama.block_count", NULL, 0, "llama.block_count", 0, "block_count"},
    {"no-heads", NULL, "llama.attention.head_count", NULL, 0, "llama.attention.head_count", 0,
     "head_count"},
    {"eps-missing", NULL, "llama.attention.layer_norm_rms_epsilon", NULL, 0, NULL, 0, "epsilon"},
    {"size-missing", NULL, "llama.embedding_length", NULL, 0, NULL, 0, "embedding_length"},
    {"unknown-architecture", NULL, "general.architecture", NULL, 0, NULL, 0, "architecture"},
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
    check_message(t, &e);
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
    snprintf(source, sizeof source, "%s/forward/llama-plain.gguf.gz", t->options->vectors);
    if (!test_ok(t, gguf_open(&g, source, &e), &e)) return;
    const char *dir = temp_dir(t);
    if (dir) {
        const char *path = path_in(t, dir, "model.gguf");
        enum status st = gguf_writer_open(&w, &e);
        if (st == ST_OK) st = put_all(w, &g, f, zeros, &e);
        if (st == ST_OK) st = gguf_writer_save(w, path, false, &e);
        if (test_ok(t, st, &e)) judge(t, f, path);
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
