/* Gathering what `assay info` shows. */
#include "models/info.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *info_escape(struct gguf_str s, bool quote, size_t max)
{
    return text_escape(s.data, s.len, quote, max);
}

/* As few digits as give the same value back. */
static struct number_text real_text(double v, bool single)
{
    struct number_text t;
    if (v == floor(v) && fabs(v) < 1e15) {
        snprintf(t.text, sizeof t.text, "%.0f", v);
        return t;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(t.text, sizeof t.text, "%.*g", digits, v);
        double back = strtod(t.text, NULL);
        if (single ? (float)back == (float)v : back == v) break;
    }
    return t;
}

struct number_text info_number(struct gguf_kv *kv, uint64_t i)
{
    struct number_text t;
    int64_t whole;
    double real = 0;
    if (gguf_value_i64(kv, i, &whole)) {
        if (kv->elem == GGUF_BOOL)
            snprintf(t.text, sizeof t.text, "%s", whole ? "true" : "false");
        else
            snprintf(t.text, sizeof t.text, "%lld", (long long)whole);
        return t;
    }
    if (kv->elem == GGUF_U64) { /* above what an int64_t holds */
        uint64_t v = 0;
        for (size_t b = 0; b < 8; b++) v |= (uint64_t)kv->data[8 * (size_t)i + b] << (8 * b);
        snprintf(t.text, sizeof t.text, "%llu", (unsigned long long)v);
        return t;
    }
    gguf_value_f64(kv, i, &real);
    return real_text(real, kv->elem == GGUF_F32);
}

const char *info_token_type(size_t type)
{
    static const char *const names[TOKEN_TYPES] = {"undefined",    "normal", "unknown", "control",
                                                   "user-defined", "unused", "byte"};
    return names[type];
}

double info_bits_per_weight(uint64_t bytes, uint64_t elems)
{
    return elems ? 8.0 * (double)bytes / (double)elems : 0;
}

double info_bits_of_matrices(const struct gguf *g)
{
    uint64_t bytes = 0, elems = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        if (g->tensors[i].n_dims < 2) continue;
        bytes += g->tensors[i].bytes;
        elems += g->tensors[i].n_elems;
    }
    return info_bits_per_weight(bytes, elems);
}

/* ---- keys -------------------------------------------------------------------------------- */

static bool begins(struct gguf_str s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && memcmp(s.data, with, n) == 0;
}

static bool ends(struct gguf_str s, const char *with)
{
    size_t n = strlen(with);
    return s.len >= n && memcmp(s.data + s.len - n, with, n) == 0;
}

/* Keys for people and other programs, by the format's own division. */
static bool informational(struct gguf_str key)
{
    static const char *const prefixes[] = {"general.", "quantize.", "tokenizer.chat_template",
                                           "tokenizer.huggingface.json"};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (begins(key, prefixes[i])) return true;
    return false;
}

static enum key_use use_of(const struct info *i, const struct gguf_kv *kv)
{
    if (kv->used) return KEY_USED;
    if (informational(kv->key)) return KEY_INFORMATIONAL;
    return i->engine_opens ? KEY_UNUSED : KEY_UNKNOWN;
}

/* Lets the engine open the model, which marks the keys that it reads. */
static enum status try_engine(struct info *out, struct err *e)
{
    struct engine_model *m;
    out->engine_opens = engine_model_from_gguf(&m, out->g, &out->engine_reason) == ST_OK;
    if (!out->engine_opens) return ST_OK;
    out->shape = engine_model_shape(m);
    out->shape.arch = arena_strdup(&out->arena, out->shape.arch, strlen(out->shape.arch));
    const char *why = engine_tokenizer(m) ? "" : engine_tokenizer_why(m);
    snprintf(out->tokenizer_why, sizeof out->tokenizer_why, "%s", why);
    engine_model_close(m);
    return out->shape.arch ? ST_OK : fail(e, ST_NOMEM, "no memory");
}

/* ---- tokenizer --------------------------------------------------------------------------- */

static const char prefix[] = "tokenizer.ggml.", suffix[] = "_token_id";

static uint64_t count_of(const struct gguf *g, const char *key)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    return kv && kv->type == GGUF_ARRAY ? kv->count : 0;
}

/* Ids with their texts, in the order of the file. */
static enum status gather_specials(struct info *out, struct err *e)
{
    const struct gguf *g = out->g;
    struct tokenizer_info *t = &out->tokenizer;
    struct gguf_kv *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (tokens && tokens->elem != GGUF_STRING) tokens = NULL;
    size_t n = tokens ? (size_t)tokens->count : 0;
    t->specials = arena_alloc(&out->arena, g->n_kv, sizeof *t->specials);
    struct gguf_str *texts = alloc_array(n, sizeof *texts);
    if (!t->specials || !texts) {
        free(texts);
        return fail(e, ST_NOMEM, "no memory for %zu tokens", n);
    }
    if (tokens) gguf_value_strings(tokens, texts);
    for (size_t i = 0; i < g->n_kv; i++) {
        struct gguf_kv *kv = &g->kv[i];
        struct special_token *s = &t->specials[t->n_specials];
        if (!begins(kv->key, prefix) || !ends(kv->key, suffix) || kv->type == GGUF_ARRAY ||
            !gguf_value_i64(kv, 0, &s->id))
            continue;
        s->role = (struct gguf_str){kv->key.data + strlen(prefix),
                                    kv->key.len - strlen(prefix) - strlen(suffix)};
        s->in_range = s->id >= 0 && (uint64_t)s->id < n;
        if (s->in_range) s->text = texts[s->id];
        t->n_specials++;
    }
    free(texts);
    return ST_OK;
}

static enum status gather_tokenizer(struct info *out, struct err *e)
{
    const struct gguf *g = out->g;
    struct tokenizer_info *t = &out->tokenizer;
    for (size_t i = 0; i < g->n_kv && !t->present; i++) t->present = begins(g->kv[i].key, prefix);
    if (!t->present) return ST_OK;
    /* Absent or of another type: they stay empty. */
    (void)gguf_get_str(g, "tokenizer.ggml.model", &t->model, NULL);
    (void)gguf_get_str(g, "tokenizer.ggml.pre", &t->pre, NULL);
    struct gguf_str template;
    if (gguf_get_str(g, "tokenizer.chat_template", &template, NULL) == ST_OK)
        t->template_bytes = template.len;
    t->n_tokens = count_of(g, "tokenizer.ggml.tokens");
    t->n_scores = count_of(g, "tokenizer.ggml.scores");
    t->n_types = count_of(g, "tokenizer.ggml.token_type");
    t->n_merges = count_of(g, "tokenizer.ggml.merges");
    struct gguf_kv *types = gguf_find(g, "tokenizer.ggml.token_type");
    for (uint64_t i = 0; i < t->n_types; i++) {
        int64_t v;
        if (gguf_value_i64(types, i, &v) && v >= 0 && v < TOKEN_TYPES) t->by_type[v]++;
    }
    return gather_specials(out, e);
}

/* ---- all --------------------------------------------------------------------------------- */

static void gather_types(struct info *out)
{
    for (size_t i = 0; i < out->g->n_tensors; i++) {
        const struct gguf_tensor *x = &out->g->tensors[i];
        struct type_total *both[] = {&out->types[x->type->id], &out->total};
        for (int k = 0; k < 2; k++) {
            both[k]->tensors++;
            both[k]->elems += x->n_elems;
            both[k]->bytes += x->bytes;
        }
    }
}

enum status info_gather(struct info *out, struct gguf *g, const char *path, bool all, struct err *e)
{
    *out = (struct info){.path = path, .g = g, .all = all};
    out->use = arena_alloc(&out->arena, g->n_kv, sizeof *out->use);
    enum status st =
        out->use ? try_engine(out, e) : fail(e, ST_NOMEM, "no memory for %zu keys", g->n_kv);
    /* Before anything below reads values and so marks their keys too. */
    for (size_t i = 0; i < g->n_kv && !st; i++) out->use[i] = use_of(out, &g->kv[i]);
    if (!st) st = gather_tokenizer(out, e);
    if (!st) gather_types(out);
    if (st) info_free(out);
    return st;
}

void info_free(struct info *i)
{
    arena_free(&i->arena);
    *i = (struct info){0};
}
