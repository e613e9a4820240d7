/* Special tokens: the rules that go by a token's text, and cutting text at them. */
#include "engine/tokenizer/tokenizer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int32_t find_text(const struct tokenizer *t, const char *text)
{
    return tokenizer_find(t, text, strlen(text));
}

/* ---- rules by text --------------------------------------------------------------------------- */

/* Texts that end a generation in some model, whatever type its file declares for them. */
static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<\xef\xbd\x9c"
    "end\xe2\x96\x81"
    "of\xe2\x96\x81"
    "sentence\xef\xbd\x9c>",
};

/* Fill-in-middle roles: keys (new, old name) and the texts that stand in for them. */
static const struct fim_role {
    const char *keys[2];
    bool ends;
    const char *texts[9];
} fim_roles[] = {
    {{"tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"},
     false,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>",
      "<\xef\xbd\x9c"
      "fim\xe2\x96\x81"
      "begin\xef\xbd\x9c>",
      "<PRE>", "\xe2\x96\x81<PRE>", "<|code_prefix|>", "<|prefix|>"}},
    {{"tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"},
     false,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
      "<\xef\xbd\x9c"
      "fim\xe2\x96\x81"
      "hole\xef\xbd\x9c>",
      "<SUF>", "\xe2\x96\x81<SUF>", "<|code_suffix|>", "<|suffix|>"}},
    {{"tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"},
     false,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>",
      "<\xef\xbd\x9c"
      "fim\xe2\x96\x81"
      "end\xef\xbd\x9c>",
      "<MID>", "\xe2\x96\x81<MID>", "<|code_middle|>", "<|middle|>"}},
    {{"tokenizer.ggml.fim_pad_token_id", NULL},
     true,
     {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {{"tokenizer.ggml.fim_rep_token_id", NULL},
     true,
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {{"tokenizer.ggml.fim_sep_token_id", NULL}, true, {"<|file_sep|>"}},
};

static enum status mark_fim(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    for (size_t r = 0; r < sizeof fim_roles / sizeof *fim_roles; r++) {
        const struct fim_role *role = &fim_roles[r];
        int32_t id = NO_TOKEN;
        for (size_t k = 0; k < 2 && role->keys[k] && id == NO_TOKEN; k++) {
            enum status st = tokenizer_load_id(t, g, role->keys[k], NO_TOKEN, &id, e);
            if (st != ST_OK) return st;
        }
        for (size_t k = 0; id == NO_TOKEN && k < 9 && role->texts[k]; k++) {
            id = find_text(t, role->texts[k]);
            if (id != NO_TOKEN) t->tokens[id].attr |= ATTR_CONTROL;
        }
        if (id != NO_TOKEN && role->ends) t->tokens[id].ends_generation = true;
    }
    return ST_OK;
}

static bool ends(const struct tokenizer *t, const char *text)
{
    int32_t id = find_text(t, text);
    return id != NO_TOKEN && t->tokens[id].ends_generation;
}

static void set_attr(struct tokenizer *t, const char *text, uint32_t attr, bool leaves_ends)
{
    int32_t id = find_text(t, text);
    if (id == NO_TOKEN) return;
    t->tokens[id].attr = attr;
    if (leaves_ends) t->tokens[id].ends_generation = false;
}

static enum status mark_ends(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    static const char *const keys[] = {"tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof end_texts / sizeof *end_texts; i++) {
        int32_t id = find_text(t, end_texts[i]);
        if (id == NO_TOKEN) continue;
        t->tokens[id].attr |= ATTR_CONTROL;
        t->tokens[id].ends_generation = true;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id;
        enum status st = tokenizer_load_id(t, g, keys[i], NO_TOKEN, &id, e);
        if (st != ST_OK) return st;
        if (id != NO_TOKEN) t->tokens[id].ends_generation = true;
    }
    if (t->eos != NO_TOKEN) t->tokens[t->eos].ends_generation = true;
    return ST_OK;
}

/* Control tokens that are held in reserve say so. */
static void mark_unused(struct tokenizer *t)
{
    static const char word[] = "unused";
    const size_t n = sizeof word - 1;
    for (uint32_t id = 0; id < t->n_tokens; id++) {
        struct gguf_str s = t->index.texts[id];
        if (!(t->tokens[id].attr & ATTR_CONTROL)) continue;
        for (size_t i = 0; i + n <= s.len; i++)
            if (memcmp(s.data + i, word, n) == 0) t->tokens[id].attr |= ATTR_UNUSED;
    }
}

/* Tokens of models whose turns end otherwise than the list above assumes. */
static void mark_exceptions(struct tokenizer *t)
{
    static const char *const user[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};
    for (size_t i = 0; i < sizeof user / sizeof *user; i++)
        set_attr(t, user[i], ATTR_USER_DEFINED, false);
    bool calls = ends(t, "<|call|>") || ends(t, "<|calls|>");
    if (calls && (ends(t, "<|return|>") || ends(t, "<|flush|>")))
        set_attr(t, "<|end|>", ATTR_USER_DEFINED, true);
    if (ends(t, "<|tool_response>") && ends(t, "</s>")) set_attr(t, "</s>", ATTR_NORMAL, true);
}

/* True if general.name contains "phi-3" or "phi3" in any case. */
static bool named_phi3(const struct gguf *g)
{
    struct gguf_str s;
    if (!gguf_find(g, "general.name") || gguf_get_str(g, "general.name", &s, NULL) != ST_OK)
        return false;
    for (size_t i = 0; i + 4 <= s.len; i++) {
        char low[5] = {0};
        size_t n = s.len - i < 5 ? s.len - i : 5;
        for (size_t k = 0; k < n; k++) low[k] = (char)tolower((unsigned char)s.data[i + k]);
        if (memcmp(low, "phi3", 4) == 0 || (n == 5 && memcmp(low, "phi-3", 5) == 0)) return true;
    }
    return false;
}

static void mark_phi3(struct tokenizer *t)
{
    static const char *const not_stripping[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (uint32_t i = 0; i < t->n_specials; i++) t->tokens[t->specials[i]].attr |= ATTR_RSTRIP;
    int32_t id = find_text(t, "</s>");
    if (id != NO_TOKEN) t->tokens[id].attr |= ATTR_RSTRIP;
    for (size_t i = 0; i < sizeof not_stripping / sizeof *not_stripping; i++) {
        id = find_text(t, not_stripping[i]);
        if (id != NO_TOKEN) t->tokens[id].attr &= ~(uint32_t)ATTR_RSTRIP;
    }
}

/* Longest text first; by id among equals. */
static void sort_specials(struct tokenizer *t, int32_t *tmp)
{
    for (uint32_t width = 1; width < t->n_specials; width *= 2) {
        for (uint32_t lo = 0; lo < t->n_specials; lo += 2 * width) {
            uint32_t mid = lo + width < t->n_specials ? lo + width : t->n_specials;
            uint32_t hi = mid + width < t->n_specials ? mid + width : t->n_specials;
            for (uint32_t a = lo, b = mid, k = lo; k < hi; k++) {
                bool right = a == mid || (b < hi && t->index.texts[t->specials[b]].len >
                                                        t->index.texts[t->specials[a]].len);
                tmp[k] = right ? t->specials[b++] : t->specials[a++];
            }
        }
        memcpy(t->specials, tmp, t->n_specials * sizeof *tmp);
    }
}

enum status tokenizer_mark_special(struct tokenizer *t, const struct gguf *g, unsigned pre_flags,
                                   struct err *e)
{
    enum status st = mark_fim(t, g, e);
    if (st == ST_OK) st = mark_ends(t, g, e);
    if (st != ST_OK) return st;
    mark_unused(t);
    mark_exceptions(t);
    for (uint32_t id = 0; id < t->n_tokens; id++)
        if (t->tokens[id].attr & ATTR_SPECIAL) t->n_specials++;
    t->specials = arena_alloc(&t->arena, t->n_specials, sizeof *t->specials);
    int32_t *tmp = arena_alloc(&t->arena, t->n_specials, sizeof *tmp);
    if (t->n_specials > 0 && (!t->specials || !tmp))
        return fail(e, ST_NOMEM, "out of memory for %u special tokens", t->n_specials);
    for (uint32_t id = 0, n = 0; id < t->n_tokens; id++)
        if (t->tokens[id].attr & ATTR_SPECIAL) t->specials[n++] = (int32_t)id;
    sort_specials(t, tmp);
    if (named_phi3(g)) mark_phi3(t);
    int32_t mask = find_text(t, "<mask>");
    if ((pre_flags & PRE_MASK_LSTRIP) && mask != NO_TOKEN) t->tokens[mask].attr |= ATTR_LSTRIP;
    return ST_OK;
}

/* ---- cutting text ---------------------------------------------------------------------------- */

/* A new fragment after the last one made; SIZE_MAX when out of memory. */
static size_t add_fragment(struct fragment_list *l)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct fragment *grown = realloc(l->at, cap * sizeof *grown);
        if (!grown) return SIZE_MAX;
        l->at = grown;
        l->cap = cap;
    }
    return l->n++;
}

/* Offset of the leftmost occurrence of s in text, or SIZE_MAX. */
static size_t find_in(const char *text, size_t len, struct gguf_str s)
{
    for (size_t i = 0; i + s.len <= len;) {
        const char *hit = memchr(text + i, s.data[0], len - s.len - i + 1);
        if (!hit) return SIZE_MAX;
        i = (size_t)(hit - text);
        if (memcmp(hit, s.data, s.len) == 0) return i;
        i++;
    }
    return SIZE_MAX;
}

/* Cuts fragment i at its first occurrence of a token. *right: the fragment that holds the text
 * behind it, 0 if there is none. *found: whether there was an occurrence. */
static bool cut_once(const struct tokenizer *t, const char *text, struct fragment_list *l, size_t i,
                     int32_t id, size_t *right, bool *found)
{
    struct gguf_str s = t->index.texts[id];
    struct fragment f = l->at[i];
    size_t at = find_in(text + f.off, f.len, s), end;
    *right = 0;
    *found = at != SIZE_MAX;
    if (!*found) return true;
    end = at + s.len;
    while ((t->tokens[id].attr & ATTR_LSTRIP) && at > 0 &&
           isspace((unsigned char)text[f.off + at - 1]))
        at--;
    while ((t->tokens[id].attr & ATTR_RSTRIP) && end < f.len &&
           isspace((unsigned char)text[f.off + end]))
        end++;
    size_t token = i;
    if (at > 0) {
        token = add_fragment(l);
        if (token == SIZE_MAX) return false;
        l->at[i].len = at;
        l->at[i].next = token;
    }
    l->at[token] = (struct fragment){.id = id, .next = f.next};
    if (end == f.len) return true;
    size_t rest = add_fragment(l);
    if (rest == SIZE_MAX) return false;
    l->at[rest] = (struct fragment){NO_TOKEN, f.off + end, f.len - end, f.next};
    l->at[token].next = rest;
    *right = rest;
    return true;
}

/* Which runs of four bytes a text has, more or less: most tokens have one that it lacks, and need
 * no search. A set of hashes. */
enum { GRAM = 4 };

struct grams {
    uint64_t *bits;
    unsigned shift; /* of a 32-bit hash, down to the number of a bit */
};

static uint32_t gram_bit(const struct grams *x, const char *s)
{
    uint32_t v;
    memcpy(&v, s, GRAM);
    return (v * 0x9e3779b1u) >> x->shift;
}

static bool grams_open(struct grams *x, const char *text, size_t len)
{
    enum { MIN_BITS = 10, MAX_BITS = 23, BITS_PER_BYTE = 8 };
    unsigned bits = MIN_BITS;
    while (bits < MAX_BITS && (size_t)1 << bits < len * BITS_PER_BYTE) bits++;
    x->shift = 32 - bits;
    x->bits = alloc_array(((size_t)1 << bits) / 64, sizeof *x->bits);
    for (size_t i = 0; x->bits && i + GRAM <= len; i++)
        x->bits[gram_bit(x, text + i) / 64] |= (uint64_t)1 << gram_bit(x, text + i) % 64;
    return x->bits != NULL;
}

static bool may_occur(const struct grams *x, struct gguf_str s)
{
    for (size_t i = 0; i + GRAM <= s.len; i++)
        if (!(x->bits[gram_bit(x, s.data + i) / 64] >> gram_bit(x, s.data + i) % 64 & 1))
            return false;
    return true;
}

/* Cuts every fragment at all occurrences of a token; false when out of memory. */
static bool cut_all(const struct tokenizer *t, const char *text, struct fragment_list *l,
                    int32_t id)
{
    for (size_t i = 0;;) {
        bool found = false;
        size_t right = 0;
        if (l->at[i].id == NO_TOKEN && !cut_once(t, text, l, i, id, &right, &found)) return false;
        size_t next = right ? right : l->at[i].next;
        if (found && !right && l->at[i].id == NO_TOKEN) next = l->at[l->at[i].next].next;
        if (next == 0) return true;
        i = next;
    }
}

enum status tokenizer_cut(const struct tokenizer *t, const char *text, size_t len,
                          bool parse_special, struct fragment_list *out, struct err *e)
{
    struct grams grams;
    bool good;
    if (len == 0) return ST_OK;
    good = grams_open(&grams, text, len) && add_fragment(out) != SIZE_MAX;
    if (good) out->at[0] = (struct fragment){NO_TOKEN, 0, len, 0};
    for (uint32_t k = 0; good && k < t->n_specials; k++) {
        int32_t id = t->specials[k];
        bool skipped = !parse_special && (t->tokens[id].attr & (ATTR_CONTROL | ATTR_UNKNOWN));
        if (!skipped && may_occur(&grams, t->index.texts[id])) good = cut_all(t, text, out, id);
    }
    free(grams.bits);
    return good ? ST_OK : fail(e, ST_NOMEM, "out of memory for the pieces of a text");
}
