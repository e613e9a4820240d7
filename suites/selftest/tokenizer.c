/* The suite of the tokenizer: ids, texts and pieces against what llama.cpp gives, and the
 * properties that hold for any text. */
#include "selftest/selftest.h"
#include "selftest/tokenizer_rig.h"
#include "harness/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- primer-4m ------------------------------------------------------------------------------- */

static const char *const primer_model = "models/primer-4m-f16.gguf.gz";

static void run_primer(struct test *t, const struct test_case *c)
{
    (void)c;
    struct gguf g;
    json_t *j = rig_load_json(t, "tokenizer/primer-4m.json");
    if (!j || !rig_open_changed(t, primer_model, NULL, 0, &g)) goto out;
    struct tokenizer *k = rig_tokenizer(t, &g);
    const json_t *cases = json_object_get(j, "cases");
    for (size_t i = 0; k && i < json_array_size(cases); i++) {
        const json_t *at = json_array_get(cases, i), *text = json_object_get(at, "text");
        struct gguf_str s = {json_string_value(text), json_string_length(text)};
        rig_check_ids(t, k, s, TOKENIZE_SPECIAL, json_object_get(at, "ids"), i);
        rig_check_roundtrip(t, k, s, i);
    }
    test_check(t, t->result.total > 0, "no cases");
    tokenizer_close(k);
    gguf_close(&g);
out:
    json_decref(j);
}

static void run_roundtrip(struct test *t, const struct test_case *c)
{
    enum { ROUNDS = 300, MOST = 400, LONG = 1 << 18 };
    static const char *const words[] = {"The",      " ",    "  ",       "capital",
                                        "\n",       "a",    "\xc3\xa9", "\xf0\x9f\x98\x80",
                                        "\xe2\x96", "</s>", "<0x41>",   "9"};
    (void)c;
    struct gguf g;
    struct rng r = rng_of(t);
    char *text = test_alloc(t, LONG + 16, 1);
    if (!text || !rig_open_changed(t, primer_model, NULL, 0, &g)) return;
    struct tokenizer *k = rig_tokenizer(t, &g);
    for (size_t round = 0; k && round < ROUNDS; round++) {
        size_t most = round == 0 ? LONG : rng_below(&r, MOST), len = 0;
        while (len < most) {
            if (round % 2 == 0) {
                const char *w = words[rng_below(&r, sizeof words / sizeof *words)];
                memcpy(text + len, w, strlen(w));
                len += strlen(w);
            } else {
                text[len++] = (char)(unsigned char)rng_below(&r, 256);
            }
        }
        rig_check_roundtrip(t, k, (struct gguf_str){text, len}, round);
    }
    tokenizer_close(k);
    gguf_close(&g);
}

/* Every text of one and of two bytes, most of which are not valid UTF-8. */
static void run_invalid(struct test *t, const struct test_case *c)
{
    (void)c;
    struct gguf g;
    if (!rig_open_changed(t, primer_model, NULL, 0, &g)) return;
    struct tokenizer *k = rig_tokenizer(t, &g);
    for (size_t i = 0; k && i < 256 + 65536; i++) {
        unsigned v = (unsigned)(i < 256 ? i : i - 256);
        char text[2] = {(char)(unsigned char)(v & 255), (char)(unsigned char)(v >> 8)};
        rig_check_roundtrip(t, k, (struct gguf_str){text, i < 256 ? 1 : 2}, i);
    }
    tokenizer_close(k);
    gguf_close(&g);
}

/* ---- limits and refusals --------------------------------------------------------------------- */

static void run_limits(struct test *t, const struct test_case *c)
{
    (void)c;
    struct gguf g;
    if (!rig_open_changed(t, primer_model, NULL, 0, &g)) return;
    struct tokenizer *k = rig_tokenizer(t, &g);
    if (!k) goto out;
    const int32_t outside[] = {-1, (int32_t)k->n_tokens, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char *text;
        size_t len;
        enum status st = tokenizer_decode(k, &outside[i], 1, 0, &text, &len, &(struct err){0});
        test_check(t, st == ST_RANGE && !text, "id %d: status %d", (int)outside[i], (int)st);
        token_text(k, outside[i], &len);
        test_check(t, len == 0 && !token_ends_generation(k, outside[i]), "id %d has a text",
                   (int)outside[i]);
    }
    json_t *none = json_array(), *bos = json_pack("[i]", (int)k->bos);
    rig_check_ids(t, k, (struct gguf_str){"", 0}, 0, none, 0);
    rig_check_ids(t, k, (struct gguf_str){"", 0}, TOKENIZE_SPECIAL, bos, 1);
    json_decref(none);
    json_decref(bos);
out:
    tokenizer_close(k);
    gguf_close(&g);
}

/* Another kind of tokenizer is named, and no error; a missing one likewise. */
static void run_other_kind(struct test *t, const struct test_case *c)
{
    static const char *const models[] = {"t5", "rwkv", "plamo2", "nothing-known"};
    (void)c;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const struct override o = {"tokenizer.ggml.model", .text = models[i]};
        struct tokenizer *k = NULL;
        struct gguf g;
        struct err e = {0};
        char why[160];
        if (!rig_open_changed(t, "tokenizer/spm-vocab.gguf.gz", &o, 1, &g)) return;
        test_ok(t, tokenizer_open(&k, &g, why, sizeof why, &e), &e);
        test_check(t, !k && strstr(why, models[i]), "model %s: \"%s\"", models[i], why);
        tokenizer_close(k);
        gguf_close(&g);
    }
}

/* What a vocabulary with changed metadata is refused for, or that it is not. */
static void run_refusals(struct test *t, const struct test_case *c)
{
    static const struct {
        struct override keys[2];
        size_t n_keys;
        enum status st;
        const char *says[2]; /* in the error, or in the reason why there is no tokenizer */
        bool opens;
    } rows[] = {
        {{{"tokenizer.ggml.pre", .text = "no-such"}}, 1, ST_OK, {"\"no-such\"", "qwen2"}, false},
        {{{"tokenizer.ggml.pre", .text = "whitespace"}}, 1, ST_OK, {"whitespace", "gpt-2"}, false},
        {{{"tokenizer.ggml.pre", .flag = true}}, 1, ST_FORMAT, {"tokenizer.ggml.pre"}, false},
        {{{"tokenizer.ggml.merges", .removed = true}}, 1, ST_FORMAT, {"merges"}, false},
        {{{"tokenizer.ggml.merges", .text = "a b"}}, 1, ST_FORMAT, {"merges"}, false},
        {{{"tokenizer.ggml.tokens", .removed = true}}, 1, ST_FORMAT, {"tokens"}, false},
        {{{"tokenizer.ggml.merges", .removed = true}, {"tokenizer.ggml.pre", .text = "kimi-k2"}},
         2,
         ST_OK,
         {""},
         true},
    };
    (void)c;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct tokenizer *k = NULL;
        struct gguf g;
        struct err e = {0};
        char why[TOKENIZER_WHY];
        if (!rig_open_changed(t, "tokenizer/bpe-vocab.gguf.gz", rows[i].keys, rows[i].n_keys, &g))
            return;
        enum status st = tokenizer_open(&k, &g, why, sizeof why, &e);
        const char *said = st == ST_OK ? why : e.text;
        test_check(t, st == rows[i].st && (k != NULL) == rows[i].opens, "row %zu: status %d: %s", i,
                   (int)st, said);
        for (size_t s = 0; s < 2 && rows[i].says[s]; s++)
            test_check(t, strstr(said, rows[i].says[s]) != NULL, "row %zu: \"%s\"", i, said);
        tokenizer_close(k);
        gguf_close(&g);
    }
}

/* A vocabulary of five tokens: a letter, a space, <mask>, one that no byte is written as, and one
 * that none merges to. Close with gguf_close if true. */
static bool open_tiny(struct test *t, const char *pre, struct gguf *out)
{
    static const char *const tokens[] = {"a", "\xc4\xa0", "<mask>", "\xe6\x97\xa5", "aa\xc4\xa0"};
    static const char *const merges[] = {"a a"};
    static const int32_t types[] = {1, 1, 4, 1, 1};
    char path[] = "/tmp/assay-vocab-XXXXXX";
    struct gguf_writer *w;
    struct err e = {0};
    int fd = mkstemp(path);
    if (!test_check(t, fd >= 0, "%s: cannot be created", path)) return false;
    close(fd);
    enum status st = gguf_writer_open(&w, &e);
    if (st == ST_OK) st = gguf_put_str(w, "tokenizer.ggml.model", "gpt2", &e);
    if (st == ST_OK) st = gguf_put_str(w, "tokenizer.ggml.pre", pre, &e);
    if (st == ST_OK) st = gguf_put_strs(w, "tokenizer.ggml.tokens", tokens, 5, &e);
    if (st == ST_OK) st = gguf_put_i32s(w, "tokenizer.ggml.token_type", types, 5, &e);
    if (st == ST_OK) st = gguf_put_strs(w, "tokenizer.ggml.merges", merges, 1, &e);
    if (st == ST_OK) st = gguf_writer_save(w, path, false, &e);
    gguf_writer_close(w);
    if (st == ST_OK) st = gguf_open(out, path, &e);
    unlink(path);
    return test_ok(t, st, &e);
}

/* Rules that the golden vocabularies have no occasion for: <mask> swallows the white space before
 * it for names jina-v2-*; a merge without a token comes out as its letters; a character that stands
 * for no byte is shown as such. */
static void run_tiny(struct test *t, const struct test_case *c)
{
    static const struct {
        const char *pre, *text, *ids;
    } rows[] = {
        {"jina-v2-de", "a  <mask> a", "[0, 2, 1, 0]"},
        {"jina-de", "a  <mask> a", "[0, 1, 1, 2, 1, 0]"},
        {"jina-de", "aaa", "[0, 0, 0]"},
        {"poro-chat", "aa ", "[0, 0, 1]"},
    };
    (void)c;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *shown = "[UNK_BYTE_0xe697a5\xe6\x97\xa5]";
        struct gguf g;
        if (!open_tiny(t, rows[i].pre, &g)) return;
        struct tokenizer *k = rig_tokenizer(t, &g);
        json_t *want = json_loads(rows[i].ids, 0, NULL);
        if (k) {
            struct gguf_str text = {rows[i].text, strlen(rows[i].text)};
            rig_check_ids(t, k, text, 0, want, i);
            rig_check_text(t, k, &(int32_t){3}, 1, 0, (struct gguf_str){shown, strlen(shown)}, i);
        }
        json_decref(want);
        tokenizer_close(k);
        gguf_close(&g);
    }
}

/* WordPiece of a letter, at the start of a word and in it, and of one very long token that begins
 * like the text: matching must not try every length that is shorter. */
static void run_long_word(struct test *t, const struct test_case *c)
{
    enum { LONGEST = 60000, LENGTH = 50000 };
    static char longest[LONGEST + 2];
    const char *const tokens[] = {"[UNK]",
                                  "\xe2\x96\x81"
                                  "a",
                                  "a", longest};
    char path[] = "/tmp/assay-vocab-XXXXXX";
    struct gguf_writer *w;
    struct gguf g;
    struct err e = {0};
    int32_t *ids;
    size_t n, wrong = 0;
    (void)c;
    memset(longest, 'a', LONGEST);
    longest[LONGEST] = 'b';
    int fd = mkstemp(path);
    if (!test_check(t, fd >= 0, "%s: cannot be created", path)) return;
    close(fd);
    enum status st = gguf_writer_open(&w, &e);
    if (st == ST_OK) st = gguf_put_str(w, "tokenizer.ggml.model", "bert", &e);
    if (st == ST_OK) st = gguf_put_strs(w, "tokenizer.ggml.tokens", tokens, 4, &e);
    if (st == ST_OK) st = gguf_writer_save(w, path, false, &e);
    gguf_writer_close(w);
    if (st == ST_OK) st = gguf_open(&g, path, &e);
    unlink(path);
    if (!test_ok(t, st, &e)) return;
    struct tokenizer *k = rig_tokenizer(t, &g);
    if (k && test_ok(t, tokenize(k, longest, LENGTH, 0, &ids, &n, &e), &e)) {
        for (size_t i = 0; i < n; i++) wrong += ids[i] != (i == 0 ? 1 : 2);
        test_check(t, n == LENGTH && wrong == 0, "%zu tokens, %zu of them wrong", n, wrong);
        free(ids);
    }
    tokenizer_close(k);
    gguf_close(&g);
}

/* ---- words ----------------------------------------------------------------------------------- */

/* Bytes come back from byte-level vocabularies whose pre-tokenizers keep spaces as they are. */
static void run_roundtrip_bpe(struct test *t, const struct test_case *c)
{
    enum { ROUNDS = 60, MOST = 300 };
    static const char *const pres[] = {"qwen2",   "deepseek-llm", "deepseek-v3", "gpt-4o",
                                       "tekken",  "superbpe",     "afmoe",       "poro-chat",
                                       "kimi-k2", "chameleon",    "youtu",       "tiny_aya"};
    static const char *const words[] = {"The",          " ",        "  ",
                                        "it's",         "\n",       "A",
                                        "\xc3\xa9",     "...",      "\xf0\x9f\x98\x80",
                                        "1234567",      "\t",       "\xe6\x97\xa5",
                                        "\xe3\x80\x80", "IMGIMGAZ", "\xcc\x81",
                                        "'LL"};
    (void)c;
    struct rng r = rng_of(t);
    char text[MOST + 16];
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        const struct override o = {"tokenizer.ggml.pre", .text = pres[p]};
        struct gguf g;
        if (!rig_open_changed(t, "tokenizer/bpe-vocab.gguf.gz", &o, 1, &g)) return;
        struct tokenizer *k = rig_tokenizer(t, &g);
        for (size_t round = 0; k && round < ROUNDS; round++) {
            size_t len = 0;
            while (len < MOST) {
                const char *w = words[rng_below(&r, sizeof words / sizeof *words)];
                memcpy(text + len, w, strlen(w));
                len += strlen(w);
            }
            rig_check_roundtrip(t, k, (struct gguf_str){text, len}, round);
        }
        tokenizer_close(k);
        gguf_close(&g);
    }
}

/* Words follow each other without a gap. */
struct cover {
    size_t end;
    bool good;
};

static enum status note_word(void *ctx, size_t from, size_t to)
{
    struct cover *x = ctx;
    x->good = x->good && from == x->end && to > from;
    x->end = to;
    return ST_OK;
}

static void check_cover(struct test *t, const struct pre *pre, const char *name,
                        const uint32_t *text, size_t n, size_t index)
{
    struct cover x = {0, true};
    pre_split(pre, text, n, note_word, &x);
    bool good = x.good && x.end == n;
    test_check(t, good, "%s: the words of text %zu leave gaps", name, index);
    rig_count(t, good, index);
}

/* Every set of rules on texts of a million equal characters, or two in turn: what takes time by the
 * square of the length runs into the harness's limit. */
static void run_long(struct test *t, const struct test_case *c)
{
    enum { LENGTH = 1 << 20 };
    static const uint32_t pairs[][2] = {{' ', ' '}, {'\n', '\n'}, {'1', '1'},       {'A', 'A'},
                                        {'a', ' '}, {'.', '.'},   {'\'', '\''},     {'\r', ' '},
                                        {'A', '1'}, {'[', 'a'},   {0x4E2D, 0x4E2D}, {0x661, 0x661}};
    char names[TOKENIZER_WHY];
    (void)c;
    uint32_t *text = test_alloc(t, LENGTH, sizeof *text);
    pre_list(names, sizeof names);
    for (char *at = strtok(names, ", "); text && at; at = strtok(NULL, ", ")) {
        struct pre pre;
        struct arena arena = {0};
        struct err e = {0};
        bool known;
        enum status st = pre_open(&pre, &arena, (struct gguf_str){at, strlen(at)}, &known, &e);
        test_check(t, known, "%s is not known", at);
        for (size_t k = 0; test_ok(t, st, &e) && known && k < sizeof pairs / sizeof *pairs; k++) {
            for (size_t i = 0; i < LENGTH; i++) text[i] = pairs[k][i % 2];
            text[LENGTH - 1] = 'x';
            check_cover(t, &pre, at, text, LENGTH, k);
        }
        arena_free(&arena);
    }
}

/* ---- cases ----------------------------------------------------------------------------------- */

void suite_tokenizer(struct case_list *l)
{
    static const struct test_case plain[] = {
        {.op = "encode", .shape = "primer-4m", .quick = true, .run = run_primer},
        {.op = "roundtrip", .run = run_roundtrip},
        {.op = "invalid_utf8", .run = run_invalid},
        {.op = "limits", .quick = true, .run = run_limits},
        {.op = "other_kind", .quick = true, .run = run_other_kind},
        {.op = "refusals", .quick = true, .run = run_refusals},
        {.op = "tiny", .quick = true, .run = run_tiny},
        {.op = "long_word", .quick = true, .run = run_long_word},
        {.op = "roundtrip", .shape = "bpe", .run = run_roundtrip_bpe},
        {.op = "long_runs", .run = run_long},
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct test_case c = plain[i];
        c.suite = "tokenizer";
        case_add(l, &c);
    }
    rig_add_golden(l);
    rig_add_bench(l);
}
