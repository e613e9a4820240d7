/* Vocabulary, encoding and decoding as far as all kinds of tokenizers share them. */
#include "engine/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_is(struct gguf_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* ---- vocabulary ------------------------------------------------------------------------------ */

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

static enum status load_flag(const struct gguf *g, const char *key, bool absent, bool *out,
                             struct err *e)
{
    *out = absent;
    return gguf_find(g, key) ? gguf_get_bool(g, key, out, e) : ST_OK;
}

/* Kinds by the name of tokenizer.ggml.model, and what holds when a file does not say otherwise. */
static const struct kind_row {
    const char *model;
    enum tokenizer_kind kind;
    int32_t bos, eos, unk, sep;
    bool add_bos, space_prefix, clean_spaces;
} kinds[] = {
    {"llama", TOKENIZER_SPM, 1, 2, 0, NO_TOKEN, true, true, false},
    {"gpt2", TOKENIZER_BPE, 11, 11, NO_TOKEN, NO_TOKEN, false, false, true},
    {"gemma4", TOKENIZER_GEMMA4, NO_TOKEN, NO_TOKEN, NO_TOKEN, NO_TOKEN, true, false, true},
    {"bert", TOKENIZER_WPM, 101, NO_TOKEN, 100, 102, true, false, true},
};

enum { N_KINDS = sizeof kinds / sizeof *kinds };

static enum status load_vocabulary(struct tokenizer *t, const struct gguf *g, struct err *e)
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

static enum status load_settings(struct tokenizer *t, const struct gguf *g,
                                 const struct kind_row *k, unsigned pre_flags, struct err *e)
{
    const bool bpe = t->kind == TOKENIZER_BPE;
    const struct {
        const char *key;
        int32_t absent, *out;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", pre_flags & PRE_NO_DEFAULT_BOS ? NO_TOKEN : k->bos,
         &t->bos},
        {"tokenizer.ggml.eos_token_id", k->eos, &t->eos},
        {"tokenizer.ggml.unknown_token_id", k->unk, &t->unk},
        {"tokenizer.ggml.seperator_token_id", k->sep, &t->sep}, /* spelt so in all files */
    };
    const struct {
        const char *key;
        bool absent, *out;
    } flags[] = {
        {"tokenizer.ggml.add_bos_token", bpe ? (pre_flags & PRE_BOS) != 0 : k->add_bos,
         &t->add_bos},
        {"tokenizer.ggml.add_eos_token", false, &t->add_eos},
        {"tokenizer.ggml.add_space_prefix", k->space_prefix, &t->add_space_prefix},
        {"tokenizer.ggml.normalizer.lowercase", true, &t->lower_case},
    };
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < sizeof ids / sizeof *ids; i++)
        st = tokenizer_load_id(t, g, ids[i].key, ids[i].absent, ids[i].out, e);
    for (size_t i = 0; st == ST_OK && i < sizeof flags / sizeof *flags; i++)
        st = load_flag(g, flags[i].key, flags[i].absent, flags[i].out, e);
    if (st == ST_OK)
        st = load_flag(g, "tokenizer.ggml.normalizer.strip_accents", t->lower_case,
                       &t->strip_accents, e);
    t->clean_spaces = bpe ? (pre_flags & PRE_CLEAN_SPACES) != 0 : k->clean_spaces;
    if (t->kind == TOKENIZER_GEMMA4) t->add_bos = true; /* whatever the file says */
    return st;
}

/* The pre-tokenizer that the file names; "default" if it names none. *why is filled if it is not
 * known. */
static enum status load_pre(struct tokenizer *t, const struct gguf *g, struct pre *pre, char *why,
                            size_t why_cap, struct err *e)
{
    struct gguf_str name = {"default", 7};
    bool known = true;
    enum status st = ST_OK;
    *pre = (struct pre){0};
    if (t->kind == TOKENIZER_GEMMA4) return pre_open_lines(pre, &t->arena, e);
    if (t->kind != TOKENIZER_BPE) return ST_OK;
    if (gguf_find(g, "tokenizer.ggml.pre")) st = gguf_get_str(g, "tokenizer.ggml.pre", &name, e);
    if (st == ST_OK) st = pre_open(pre, &t->arena, name, &known, e);
    if (st != ST_OK || known) return st;
    char list[TOKENIZER_WHY];
    pre_list(list, sizeof list);
    snprintf(why, why_cap, "pre-tokenizer \"%.*s\" is not supported (supported: %s and kin)",
             (int)(name.len < 40 ? name.len : 40), name.data, list);
    return ST_OK;
}

static enum status load(struct tokenizer *t, const struct gguf *g, const struct kind_row *k,
                        char *why, size_t why_cap, struct err *e)
{
    struct pre pre;
    t->kind = k->kind;
    enum status st = load_pre(t, g, &pre, why, why_cap, e);
    if (st != ST_OK || *why) return st;
    st = load_vocabulary(t, g, e);
    if (st == ST_OK) st = load_settings(t, g, k, pre.flags, e);
    if (st == ST_OK) st = tokenizer_mark_special(t, g, pre.flags, e);
    if (st == ST_OK && k->kind == TOKENIZER_SPM) spm_open(t);
    if (st == ST_OK && k->kind == TOKENIZER_WPM) st = wpm_open(t, e);
    if (st == ST_OK && (k->kind == TOKENIZER_BPE || k->kind == TOKENIZER_GEMMA4))
        st = bpe_open(t, g, &pre, e);
    return st;
}

enum status tokenizer_open(struct tokenizer **out, const struct gguf *g, char *why, size_t why_cap,
                           struct err *e)
{
    struct gguf_str model;
    const struct kind_row *k = NULL;
    *out = NULL;
    snprintf(why, why_cap, "the file holds no tokenizer (no key tokenizer.ggml.model)");
    if (!gguf_find(g, "tokenizer.ggml.model")) return ST_OK;
    enum status st = gguf_get_str(g, "tokenizer.ggml.model", &model, e);
    if (st != ST_OK) return st;
    for (size_t i = 0; i < N_KINDS; i++)
        if (text_is(model, kinds[i].model)) k = &kinds[i];
    snprintf(why, why_cap, "the file holds no tokenizer (tokenizer.ggml.model is %.*s)",
             (int)(model.len < 40 ? model.len : 40), model.data);
    if (text_is(model, "no_vocab") || text_is(model, "none")) return ST_OK;
    snprintf(why, why_cap,
             "tokenizer model \"%.*s\" is not supported (supported: llama, gpt2, gemma4, bert)",
             (int)(model.len < 40 ? model.len : 40), model.data);
    if (!k) return ST_OK;

    struct tokenizer *t = alloc_array(1, sizeof *t);
    if (!t) return fail(e, ST_NOMEM, "out of memory for a tokenizer");
    why[0] = '\0';
    st = load(t, g, k, why, why_cap, e);
    if (st != ST_OK || *why) {
        tokenizer_close(t);
        return st;
    }
    *out = t;
    return ST_OK;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t) return;
    bpe_close(t->bpe);
    text_index_free(&t->index);
    arena_free(&t->arena);
    free(t);
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

/* ---- encoding -------------------------------------------------------------------------------- */

enum status id_push(struct id_list *l, int32_t id, struct err *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 32;
        int32_t *grown = realloc(l->ids, cap * sizeof *grown);
        if (!grown) return fail(e, ST_NOMEM, "out of memory for %zu tokens", cap);
        l->ids = grown;
        l->cap = cap;
    }
    l->ids[l->n++] = id;
    return ST_OK;
}

static enum status encode_raw(const struct tokenizer *t, const char *text, size_t len,
                              bool after_special, struct id_list *out, struct err *e)
{
    if (len > TOKENIZER_MAX_TEXT)
        return fail(e, ST_RANGE, "a text of %zu bytes is too long (most: %d)", len,
                    (int)TOKENIZER_MAX_TEXT);
    switch (t->kind) {
    case TOKENIZER_SPM:
        return spm_encode(t, text, len, t->add_space_prefix && after_special, out, e);
    case TOKENIZER_WPM:
        return wpm_encode(t, text, len, out, e);
    default:
        return bpe_encode(t, text, len, out, e);
    }
}

static enum status encode_fragments(const struct tokenizer *t, const char *text,
                                    const struct fragment_list *f, struct id_list *out,
                                    struct err *e)
{
    bool after_special = true;
    for (size_t i = 0; f->n > 0;) {
        const struct fragment *at = &f->at[i];
        enum status st = at->id != NO_TOKEN
                             ? id_push(out, at->id, e)
                             : encode_raw(t, text + at->off, at->len, after_special, out, e);
        if (st != ST_OK) return st;
        after_special = at->id != NO_TOKEN;
        i = at->next;
        if (i == 0) break;
    }
    return ST_OK;
}

enum status tokenize(const struct tokenizer *t, const char *text, size_t len, unsigned flags,
                     int32_t **ids, size_t *n, struct err *e)
{
    struct id_list out = {0};
    struct fragment_list f = {0};
    const bool add = (flags & TOKENIZE_SPECIAL) != 0, wpm = t->kind == TOKENIZER_WPM;
    const int32_t before = add && (t->add_bos || wpm) ? t->bos : NO_TOKEN;
    const int32_t after = !add ? NO_TOKEN : wpm ? t->sep : t->add_eos ? t->eos : NO_TOKEN;
    enum status st = tokenizer_cut(t, text, len, (flags & TOKENIZE_PARSE) != 0, &f, e);
    if (st == ST_OK && before != NO_TOKEN) st = id_push(&out, before, e);
    if (st == ST_OK) st = encode_fragments(t, text, &f, &out, e);
    if (st == ST_OK && after != NO_TOKEN) st = id_push(&out, after, e);
    free(f.at);
    if (st == ST_OK && !out.ids) {
        out.ids = alloc_array(1, sizeof *out.ids); /* an empty list, but one to free */
        if (!out.ids) st = fail(e, ST_NOMEM, "out of memory for tokens");
    }
    if (st != ST_OK) {
        free(out.ids);
        out = (struct id_list){0};
    }
    *ids = out.ids;
    *n = out.n;
    return st;
}
