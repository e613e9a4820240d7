/* Cases by golden files: what llama.cpp makes of 197 strings with every kind of vocabulary, every
 * pre-tokenizer, and variants of metadata. */
#include "selftest/tokenizer_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row, one case: its name in the file, and the metadata that it changes. */
static const struct variant {
    const char *op, *shape, *name;
    struct override keys[3];
    size_t n_keys;
} variants[] = {
    {"spm", "plain", "plain", {{0}}, 0},
    {"spm",
     "no-space-prefix",
     "add_space_prefix=false",
     {{"tokenizer.ggml.add_space_prefix", .flag = false}},
     1},
    {"spm", "no-bos", "add_bos_token=false", {{"tokenizer.ggml.add_bos_token", .flag = false}}, 1},
    {"spm", "eos", "add_eos_token=true", {{"tokenizer.ggml.add_eos_token", .flag = true}}, 1},
    {"spm",
     "no-space-prefix-no-bos-eos",
     "add_space_prefix=false,add_bos_token=false,add_eos_token=true",
     {{"tokenizer.ggml.add_space_prefix", .flag = false},
      {"tokenizer.ggml.add_bos_token", .flag = false},
      {"tokenizer.ggml.add_eos_token", .flag = true}},
     3},
    {"spm",
     "remove-whitespaces",
     "remove_extra_whitespaces=true",
     {{"tokenizer.ggml.remove_extra_whitespaces", .flag = true}},
     1},
    {"spm",
     "phi-3",
     "general.name=my Phi-3 model",
     {{"general.name", .text = "my Phi-3 model"}},
     1},
    {"wpm", "plain", "plain", {{0}}, 0},
    {"wpm",
     "no-lowercase",
     "normalizer.lowercase=false",
     {{"tokenizer.ggml.normalizer.lowercase", .flag = false}},
     1},
    {"wpm",
     "no-strip",
     "normalizer.strip_accents=false",
     {{"tokenizer.ggml.normalizer.strip_accents", .flag = false}},
     1},
    {"wpm",
     "no-lowercase-strip",
     "normalizer.lowercase=false,normalizer.strip_accents=true",
     {{"tokenizer.ggml.normalizer.lowercase", .flag = false},
      {"tokenizer.ggml.normalizer.strip_accents", .flag = true}},
     2},
    {"wpm",
     "no-bos-no-eos",
     "add_bos_token=false,add_eos_token=false",
     {{"tokenizer.ggml.add_bos_token", .flag = false},
      {"tokenizer.ggml.add_eos_token", .flag = false}},
     2},
    {"wpm", "no-sep", "add_sep_token=false", {{"tokenizer.ggml.add_sep_token", .flag = false}}, 1},
    {"gemma4", "plain", NULL, {{0}}, 0},
#define PRE_NAME(name, rules, flags) {"bpe", name, name, {{"tokenizer.ggml.pre", .text = name}}, 1},
#include "engine/tokenizer/tokenizer_pre_names.def"
#undef PRE_NAME
    {"bpe", "missing", "(missing)", {{"tokenizer.ggml.pre", .removed = true}}, 1},
    {"bpe",
     "qwen2-bos-eos",
     "qwen2 +add_bos_token+add_eos_token",
     {{"tokenizer.ggml.pre", .text = "qwen2"},
      {"tokenizer.ggml.add_bos_token", .flag = true},
      {"tokenizer.ggml.add_eos_token", .flag = true}},
     3},
    {"bpe",
     "llama-bpe-no-bos",
     "llama-bpe add_bos_token=false",
     {{"tokenizer.ggml.pre", .text = "llama-bpe"}, {"tokenizer.ggml.add_bos_token", .flag = false}},
     2},
};

enum { N_VARIANTS = sizeof variants / sizeof *variants };

/* What a golden file says of one variant. */
struct golden {
    const json_t *strings, *ids, *ids_parsed, *text, *text_special;
    const json_t *pieces, *pieces_special, *attr, *eog, *special_ids, *adds, *before, *after;
    size_t n_names; /* variants that the file knows */
};

struct golden_run {
    struct test *t;
    const struct tokenizer *k;
    struct golden g;
};

/* ---- files of two forms ---------------------------------------------------------------------- */

/* Field of a variant; "as NAME" stands for that of another one; in its absence that of the file. */
static const json_t *field(const json_t *root, const json_t *variant, const char *key)
{
    const json_t *f = json_object_get(variant, key), *all = json_object_get(root, "variants");
    const char *as = json_string_value(f);
    if (as && strncmp(as, "as ", 3) == 0) f = json_object_get(json_object_get(all, as + 3), key);
    return f ? f : json_object_get(root, key);
}

static bool holds(const json_t *names, const char *name)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0) return true;
    return false;
}

/* The element of an array of groups whose "pres" hold a name. */
static const json_t *group_of(const json_t *groups, const char *name)
{
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        if (holds(json_object_get(group, "pres"), name)) return group;
    }
    return NULL;
}

static struct golden golden_bpe(const json_t *root, const char *name)
{
    const json_t *group = group_of(json_object_get(root, "groups"), name);
    const json_t *texts = group_of(json_object_get(group, "texts"), name);
    const json_t *flags = json_object_get(json_object_get(root, "flags"), name);
    return (struct golden){
        .strings = json_object_get(root, "strings"),
        .ids = json_object_get(group, "ids"),
        .ids_parsed = json_object_get(group, "ids_parsed"),
        .text = json_object_get(texts, "text"),
        .text_special = json_object_get(texts, "text_special"),
        .pieces = json_object_get(root, "pieces"),
        .pieces_special = json_object_get(root, "pieces_special"),
        .attr = json_object_get(root, "attr"),
        .eog = json_object_get(root, "eog"),
        .special_ids = json_object_get(flags, "special_ids"),
        .adds = json_object_get(flags, "adds"),
        .before = json_object_get(flags, "added_before"),
        .after = json_object_get(flags, "added_after"),
        .n_names = json_object_size(json_object_get(root, "flags")),
    };
}

/* name NULL: the file is about one variant. */
static struct golden golden_variant(const json_t *root, const json_t *strings, const char *name)
{
    const json_t *all = json_object_get(root, "variants");
    const json_t *v = name ? json_object_get(all, name) : root;
    return (struct golden){
        .strings = strings,
        .ids = v ? field(root, v, "ids") : NULL,
        .ids_parsed = field(root, v, "ids_parsed"),
        .text = field(root, v, "text"),
        .text_special = field(root, v, "text_special"),
        .pieces = field(root, v, "pieces"),
        .pieces_special = field(root, v, "pieces_special"),
        .attr = field(root, v, "attr"),
        .eog = field(root, v, "eog"),
        .special_ids = field(root, v, "special_ids"),
        .adds = field(root, v, "adds"),
        .before = field(root, v, "added_before"),
        .after = field(root, v, "added_after"),
        .n_names = name ? json_object_size(all) : 1,
    };
}

/* ---- comparisons ----------------------------------------------------------------------------- */

/* One string: ids without and with special tokens in the text, and the texts that come back. */
static void check_string(const struct golden_run *r, struct gguf_str text, size_t i)
{
    const json_t *plain = json_array_get(r->g.ids, i);
    const json_t *parsed = rig_by_number(r->g.ids_parsed, i);
    const json_t *back = rig_by_number(r->g.text, i);
    const json_t *special = rig_by_number(r->g.text_special, i);
    struct test *t = r->t;
    struct err e = {0};
    int32_t *ids;
    size_t n;
    if (!test_check(t, json_is_array(plain), "no ids of text %zu", i)) return;
    rig_check_ids(t, r->k, text, 0, plain, i);
    rig_check_ids(t, r->k, text, TOKENIZE_PARSE, parsed ? parsed : plain, i);
    if (test_ok(t, tokenize(r->k, text.data, text.len, 0, &ids, &n, &e), &e)) {
        rig_check_text(t, r->k, ids, n, 0, back ? rig_base64(t, back) : text, i);
        free(ids);
    }
    unsigned both = TOKENIZE_SPECIAL | TOKENIZE_PARSE;
    if (test_ok(t, tokenize(r->k, text.data, text.len, both, &ids, &n, &e), &e)) {
        rig_check_text(t, r->k, ids, n, DETOKENIZE_SPECIAL | DETOKENIZE_STRIP,
                       special ? rig_base64(t, special) : text, i);
        free(ids);
    }
}

/* What TOKENIZE_SPECIAL puts around a text. */
static void check_added(const struct golden_run *r, struct gguf_str text, size_t index)
{
    struct err e = {0};
    int32_t *ids;
    size_t n, nb = json_array_size(r->g.before), na = json_array_size(r->g.after);
    const json_t *plain = json_array_get(r->g.ids, index);
    if (!test_ok(r->t, tokenize(r->k, text.data, text.len, TOKENIZE_SPECIAL, &ids, &n, &e), &e))
        return;
    bool good = n == nb + na + json_array_size(plain) && rig_ids_equal(ids, nb, r->g.before) &&
                rig_ids_equal(ids + nb, n - nb - na, plain) &&
                rig_ids_equal(ids + n - na, na, r->g.after);
    test_check(r->t, good, "text %zu: added tokens differ from llama.cpp's", index);
    rig_count(r->t, good, index);
    free(ids);
}

static void check_settings(const struct golden_run *r)
{
    const struct {
        const char *key;
        int32_t id;
    } ids[] = {{"bos", r->k->bos}, {"eos", r->k->eos}, {"sep", r->k->sep}};
    const struct {
        const char *key;
        bool flag;
    } adds[] = {{"add_bos", r->k->add_bos}, {"add_eos", r->k->add_eos}};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const json_t *want = json_object_get(r->g.special_ids, ids[i].key);
        bool good = !want || json_integer_value(want) == ids[i].id;
        test_check(r->t, good, "%s is token %d, not %d", ids[i].key, (int)ids[i].id,
                   (int)json_integer_value(want));
        rig_count(r->t, good, i);
    }
    for (size_t i = 0; i < sizeof adds / sizeof *adds; i++) {
        bool good = json_is_true(json_object_get(r->g.adds, adds[i].key)) == adds[i].flag;
        test_check(r->t, good, "%s is %d", adds[i].key, adds[i].flag);
        rig_count(r->t, good, i);
    }
}

static void check_piece(const struct golden_run *r, int32_t id, bool special, struct gguf_str want)
{
    struct err e = {0};
    char *text;
    size_t len;
    if (!test_ok(r->t, token_piece(r->k, id, special, &text, &len, &e), &e)) return;
    bool good = len == want.len && memcmp(text, want.data, len) == 0;
    test_check(r->t, good, "token %d is shown as \"%.80s\", not as \"%.*s\"", (int)id, text,
               (int)(want.len < 80 ? want.len : 80), want.data);
    rig_count(r->t, good, (size_t)id);
    free(text);
}

/* Text of each single token, its attributes, and whether it ends a generation. */
static void check_tokens(const struct golden_run *r)
{
    const struct golden *g = &r->g;
    test_check(r->t, json_array_size(g->pieces) == r->k->n_tokens, "%u tokens, not %zu",
               r->k->n_tokens, json_array_size(g->pieces));
    for (size_t id = 0; id < r->k->n_tokens && id < json_array_size(g->pieces); id++) {
        const json_t *shown = rig_by_number(g->pieces_special, id);
        const json_t *want = rig_by_number(g->attr, id);
        struct gguf_str piece = rig_base64(r->t, json_array_get(g->pieces, id));
        check_piece(r, (int32_t)id, false, piece);
        check_piece(r, (int32_t)id, true, shown ? rig_base64(r->t, shown) : piece);
        json_int_t a = want ? json_integer_value(want) : ATTR_NORMAL;
        test_check(r->t, a == r->k->tokens[id].attr, "token %zu has attributes %u, not %d", id,
                   r->k->tokens[id].attr, (int)a);
        bool ends = false;
        for (size_t i = 0; i < json_array_size(g->eog); i++)
            if (json_integer_value(json_array_get(g->eog, i)) == (json_int_t)id) ends = true;
        test_check(r->t, ends == token_ends_generation(r->k, (int32_t)id),
                   "token %zu %s the generation", id, ends ? "ends" : "does not end");
    }
}

/* Every variant that the file knows is a row above, so that none is forgotten. */
static void check_names(struct test *t, const struct golden *g, const char *op)
{
    size_t rows = 0;
    for (size_t i = 0; i < N_VARIANTS; i++) rows += strcmp(variants[i].op, op) == 0;
    test_check(t, g->n_names == rows, "the file knows %zu variants, the suite %zu", g->n_names,
               rows);
}

static void run_variant(struct test *t, const struct test_case *c)
{
    const struct variant *v = &variants[c->index];
    char cases[40], vocab[40];
    struct gguf g;
    snprintf(cases, sizeof cases, "tokenizer/%s-cases.json", v->op);
    snprintf(vocab, sizeof vocab, "tokenizer/%s-vocab.gguf.gz", v->op);
    const bool bpe = strcmp(v->op, "bpe") == 0;
    json_t *j = rig_load_json(t, cases);
    json_t *s = bpe ? json_incref(j) : rig_load_json(t, "tokenizer/bpe-cases.json");
    if (!j || !s || !rig_open_changed(t, vocab, v->keys, v->n_keys, &g)) goto out;
    struct golden_run r = {.t = t, .k = rig_tokenizer(t, &g)};
    r.g = bpe ? golden_bpe(j, v->name) : golden_variant(j, json_object_get(s, "strings"), v->name);
    check_names(t, &r.g, v->op);
    if (r.k && test_check(t, r.g.ids != NULL, "the file does not know this variant")) {
        for (size_t i = 0; i < json_array_size(r.g.strings); i++) {
            const json_t *b64 = json_object_get(json_array_get(r.g.strings, i), "b64");
            struct gguf_str text = rig_base64(t, b64);
            check_string(&r, text, i);
            check_added(&r, text, i);
        }
        test_check(t,
                   json_array_size(r.g.strings) == json_array_size(r.g.ids) &&
                       json_array_size(r.g.ids) > 0,
                   "%zu strings, but ids of %zu", json_array_size(r.g.strings),
                   json_array_size(r.g.ids));
        check_settings(&r);
        check_tokens(&r);
    }
    tokenizer_close((struct tokenizer *)r.k);
    gguf_close(&g);
out:
    json_decref(j);
    json_decref(s);
}

void rig_add_golden(struct case_list *l)
{
    for (size_t i = 0; i < N_VARIANTS; i++)
        case_add(l, &(struct test_case){.suite = "tokenizer",
                                        .op = variants[i].op,
                                        .shape = variants[i].shape,
                                        .quick = true,
                                        .run = run_variant,
                                        .index = i});
}
