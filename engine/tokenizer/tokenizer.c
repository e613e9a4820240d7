/* Opening a tokenizer of any kind, and encoding as far as all kinds share it. */
#include "engine/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool text_is(struct gguf_str s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

/* ---- settings
 * ---------------------------------------------------------------------------------- */

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
    st = tokenizer_load_vocabulary(t, g, e);
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

/* ---- encoding -------------------------------------------------------------------------------- */

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
