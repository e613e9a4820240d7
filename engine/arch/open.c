/* Opening a model: the metadata names an architecture, whose loader does the rest; then the check
 * that nothing in the file that belongs to the model is left out of the computation. This stands
 * with the architectures, not in model/, since it needs their table, and they need model/. */
#include "engine/arch/arch.h"
#include "engine/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum status find_arch(struct engine_model *m, struct err *e)
{
    struct gguf_str s;
    char known[400] = "";
    TRY(gguf_get_str(m->gguf, "general.architecture", &s, e));
    for (size_t i = 0; arch_at(i); i++) {
        const char *name = arch_at(i)->name;
        if (s.len == strlen(name) && memcmp(s.data, name, s.len) == 0) {
            m->arch = arch_at(i);
            return ST_OK;
        }
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", name);
    }
    return fail(e, ST_UNSUPPORTED, "architecture \"%.*s\" is not supported (supported: %s)",
                (int)(s.len < 40 ? s.len : 40), s.data, known);
}

static bool starts_with(struct gguf_str s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.len >= n && memcmp(s.data, prefix, n) == 0;
}

/* A tensor that no role took would make the computation something else than what the file says.
 * Tensors under other names (golden data, say) are nobody's weights. */
static enum status refuse_unused(const struct engine_model *m, struct err *e)
{
    static const char *const prefixes[] = {"blk.", "token_", "output", "rope_", "position_"};
    for (size_t i = 0; i < m->gguf->n_tensors; i++) {
        struct gguf_str name = m->gguf->tensors[i].name;
        for (size_t k = 0; !m->claimed[i] && k < sizeof prefixes / sizeof *prefixes; k++)
            if (starts_with(name, prefixes[k]))
                return fail(e, ST_UNSUPPORTED,
                            "tensor %.*s has no place in architecture %s with "
                            "%u layers",
                            (int)name.len, name.data, m->arch->name, m->h.n_layers);
    }
    return ST_OK;
}

static enum status load(struct engine_model *m, struct err *e)
{
    TRY(find_arch(m, e));
    m->claimed = arena_alloc(&m->arena, m->gguf->n_tensors, sizeof *m->claimed);
    if (!m->claimed && m->gguf->n_tensors > 0)
        return fail(e, ST_NOMEM, "out of memory for %zu tensors", m->gguf->n_tensors);
    m->n_tensors = 1; /* 0 is "absent" */
    TRY(m->arch->load(m, e));
    TRY(refuse_unused(m, e));
    return tokenizer_open(&m->tokenizer, m->gguf, m->tokenizer_why, sizeof m->tokenizer_why, e);
}

enum status engine_model_from_gguf(struct engine_model **out, struct gguf *g, struct err *e)
{
    struct engine_model *m = alloc_array(1, sizeof *m);
    *out = NULL;
    if (!m) return fail(e, ST_NOMEM, "out of memory for a model");
    m->gguf = g;
    enum status st = load(m, e);
    if (st != ST_OK) {
        engine_model_close(m);
        return st;
    }
    *out = m;
    return ST_OK;
}

enum status engine_model_open(struct engine_model **out, const char *path, struct err *e)
{
    struct gguf g;
    *out = NULL;
    TRY(gguf_open(&g, path, e));
    struct engine_model *m = NULL;
    enum status st = engine_model_from_gguf(&m, &g, e);
    if (st != ST_OK) {
        gguf_close(&g);
        return fail_prefix(e, "%s", path);
    }
    m->own = g;
    m->gguf = &m->own;
    m->owns_gguf = true;
    *out = m;
    return ST_OK;
}

void engine_model_close(struct engine_model *m)
{
    if (!m) return;
    tokenizer_close(m->tokenizer);
    if (m->owns_gguf) gguf_close(&m->own);
    arena_free(&m->arena);
    free(m->tensors);
    free(m);
}

struct engine_shape engine_model_shape(const struct engine_model *m)
{
    const struct hyper *h = &m->h;
    uint32_t n_windowed = 0;
    for (uint32_t i = 0; i < h->n_layers; i++) n_windowed += m->layers[i].windowed;
    return (struct engine_shape){.arch = m->arch->name,
                                 .n_layers = h->n_layers,
                                 .n_embd = h->n_embd,
                                 .n_heads = h->n_heads,
                                 .n_kv_heads = h->n_kv_heads,
                                 .head_dim = h->head_dim,
                                 .n_ff = h->n_ff,
                                 .n_vocab = h->n_vocab,
                                 .n_ctx = h->n_ctx,
                                 .window = n_windowed > 0 ? h->window : 0};
}

struct gguf *engine_model_gguf(const struct engine_model *m)
{
    return m->gguf;
}

const struct tokenizer *engine_tokenizer(const struct engine_model *m)
{
    return m->tokenizer;
}

const char *engine_tokenizer_why(const struct engine_model *m)
{
    return m->tokenizer_why;
}
