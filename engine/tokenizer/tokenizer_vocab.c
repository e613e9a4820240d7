/* The vocabulary: texts, scores and kinds of tokens, and keys that hold the id of one. */
#include "engine/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t attr_of_type(int64_t type)
{
    static const uint32_t attrs[] = {
        0, ATTR_NORMAL, ATTR_UNKNOWN, ATTR_CONTROL, ATTR_USER_DEFINED, ATTR_UNUSED, ATTR_BYTE};
    return type >= 0 && type < (int64_t)(sizeof attrs / sizeof *attrs) ? attrs[type] : 0;
}

static enum status load_texts(struct tokenizer *t, struct gguf_kv *kv, struct err *e)
{
    struct gguf_str *texts = alloc_array(t->n_tokens, sizeof *texts);
    enum status st = ST_OK;
    if (!texts) return fail(e, ST_NOMEM, "out of memory for %u tokens", t->n_tokens);
    if (!gguf_value_strings(kv, texts))
        st = fail(e, ST_FORMAT, "tokenizer.ggml.tokens is no array of strings");
    for (uint32_t id = 0; st == ST_OK && id < t->n_tokens; id++) {
        char name[24];
        if (texts[id].len == 0) {
            int len = snprintf(name, sizeof name, "[EMPTY_%u]", id);
            texts[id] = (struct gguf_str){arena_strdup(&t->arena, name, (size_t)len), (size_t)len};
            if (!texts[id].data) st = fail(e, ST_NOMEM, "out of memory for %u tokens", t->n_tokens);
        }
        if (st == ST_OK) st = text_index_add(&t->index, texts[id], e);
        if (texts[id].len > t->longest) t->longest = texts[id].len;
    }
    free(texts);
    return st;
}

/* Tokens that stand in for bytes that no other token holds. */
static void find_bytes(struct tokenizer *t)
{
    for (unsigned b = 0; b < 256; b++) {
        char text[8], byte = (char)(unsigned char)b;
        snprintf(text, sizeof text, "<0x%02X>", b);
        t->byte_ids[b] = tokenizer_find(t, text, 6);
        if (t->byte_ids[b] == NO_TOKEN) t->byte_ids[b] = tokenizer_find(t, &byte, 1);
    }
}

/* Scores and types are parallel to the tokens; longer lists are fine, shorter ones are not. */
static enum status load_columns(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    struct gguf_kv *scores = gguf_find(g, "tokenizer.ggml.scores");
    struct gguf_kv *types = gguf_find(g, "tokenizer.ggml.token_type");
    const struct gguf_kv *both[] = {scores, types};
    for (size_t i = 0; i < 2; i++)
        if (both[i] && both[i]->count < t->n_tokens)
            return fail(e, ST_FORMAT, "%.*s has %llu entries for %u tokens", (int)both[i]->key.len,
                        both[i]->key.data, (unsigned long long)both[i]->count, t->n_tokens);
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        double score = 0.0;
        int64_t type = 1;
        if (scores && !gguf_value_f64(scores, id, &score))
            return fail(e, ST_FORMAT, "tokenizer.ggml.scores[%u] is no number", id);
        if (types && !gguf_value_i64(types, id, &type))
            return fail(e, ST_FORMAT, "tokenizer.ggml.token_type[%u] is no integer", id);
        t->tokens[id].score = (float)score;
        t->tokens[id].attr = attr_of_type(type);
    }
    return ST_OK;
}

enum status tokenizer_load_id(const struct tokenizer *t, const struct gguf *g, const char *key,
                              int32_t absent, int32_t *out, struct err *e)
{
    uint32_t id;
    *out = absent >= 0 && (uint32_t)absent < t->n_tokens ? absent : NO_TOKEN;
    if (!gguf_find(g, key)) return ST_OK;
    enum status st = gguf_get_u32(g, key, &id, e);
    if (st == ST_OK && id < t->n_tokens) *out = (int32_t)id;
    return st;
}

enum status tokenizer_load_vocabulary(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    struct gguf_kv *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (!tokens || tokens->type != GGUF_ARRAY || tokens->count == 0)
        return fail(e, ST_FORMAT, "tokenizer.ggml.tokens is missing or no array of strings");
    if (tokens->count > INT32_MAX / 8)
        return fail(e, ST_FORMAT, "tokenizer.ggml.tokens has %llu entries: too many",
                    (unsigned long long)tokens->count);
    t->n_tokens = (uint32_t)tokens->count;
    t->tokens = arena_alloc(&t->arena, t->n_tokens, sizeof *t->tokens);
    if (!t->tokens) return fail(e, ST_NOMEM, "out of memory for %u tokens", t->n_tokens);
    enum status st = load_texts(t, tokens, e);
    if (st == ST_OK) st = load_columns(t, g, e);
    if (st == ST_OK) find_bytes(t);
    return st;
}

const char *token_text(const struct tokenizer *t, int32_t id, size_t *len)
{
    if (id < 0 || (uint32_t)id >= t->n_tokens) {
        *len = 0;
        return "";
    }
    *len = t->index.texts[id].len;
    return t->index.texts[id].data;
}

bool token_ends_generation(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->n_tokens && t->tokens[id].ends_generation;
}
