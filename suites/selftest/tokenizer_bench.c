/* How fast tokenizers load and encode: figures for the report, never a verdict. The vocabulary has
 * 150,000 tokens, made by merging random pairs of earlier ones; the text says common ones often. */
#include "selftest/tokenizer_rig.h"
#include "harness/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { N_TOKENS = 150000, N_LETTERS = 27, TEXT_BYTES = 1 << 22, MOST_LETTERS = 12 };

/* Texts of tokens with '_' for a space, and what merged into each. */
struct made {
    struct text_index index;
    const char **merges; /* (N_TOKENS) "left right"; NULL for letters */
};

static const char *joined(struct test *t, struct gguf_str a, const char *between, struct gguf_str b)
{
    size_t cap = a.len + strlen(between) + b.len + 1;
    char *s = test_alloc(t, cap, 1);
    if (s) snprintf(s, cap, "%.*s%s%.*s", (int)a.len, a.data, between, (int)b.len, b.data);
    return s;
}

static bool make_tokens(struct test *t, struct made *m, struct rng *r)
{
    static const char letters[N_LETTERS + 1] = "_abcdefghijklmnopqrstuvwxyz";
    struct err e = {0};
    m->merges = test_alloc(t, N_TOKENS, sizeof *m->merges);
    for (size_t i = 0; m->merges && i < N_LETTERS; i++) {
        enum status st = text_index_add(&m->index, (struct gguf_str){letters + i, 1}, &e);
        if (!test_ok(t, st, &e)) return false;
    }
    while (m->merges && m->index.n < N_TOKENS) {
        struct gguf_str a = m->index.texts[rng_below(r, m->index.n)];
        struct gguf_str b = m->index.texts[rng_below(r, m->index.n)];
        bool crosses = memchr(b.data, '_', b.len) != NULL;
        if (crosses || a.len + b.len > MOST_LETTERS) continue;
        const char *both = joined(t, a, "", b);
        if (!both) return false;
        if (text_index_find(&m->index, both, a.len + b.len) != NO_TOKEN) continue;
        m->merges[m->index.n] = joined(t, a, " ", b);
        if (!test_ok(t, text_index_add(&m->index, (struct gguf_str){both, a.len + b.len}, &e), &e))
            return false;
    }
    return m->merges != NULL;
}

/* '_' as the vocabulary writes a space. */
static const char *spaced(struct test *t, const char *s, const char *space)
{
    char *out = test_alloc(t, strlen(s) + strlen(space) * 2 + 1, 1), *to = out;
    for (; out && *s; s++) {
        const char *piece = *s == '_' ? space : s;
        size_t n = *s == '_' ? strlen(space) : 1;
        memcpy(to, piece, n);
        to += n;
    }
    return out;
}

static bool save(struct test *t, const struct made *m, const char *model, const char *path)
{
    const char *space = strcmp(model, "gpt2") == 0 ? "\xc4\xa0" : "\xe2\x96\x81";
    const char **texts = test_alloc(t, N_TOKENS, sizeof *texts);
    const char **merges = test_alloc(t, N_TOKENS, sizeof *merges);
    float *scores = test_alloc(t, N_TOKENS, sizeof *scores);
    struct gguf_writer *w;
    struct err e = {0};
    if (!texts || !merges || !scores || !test_ok(t, gguf_writer_open(&w, &e), &e)) return false;
    for (size_t i = 0; i < N_TOKENS; i++) {
        texts[i] = spaced(t, m->index.texts[i].data, space);
        if (i < N_LETTERS) texts[i] = spaced(t, (char[2]){m->index.texts[i].data[0], 0}, space);
        if (i >= N_LETTERS) merges[i - N_LETTERS] = spaced(t, m->merges[i], space);
        scores[i] = -(float)i;
    }
    enum status st = gguf_put_str(w, "general.architecture", "none", &e);
    if (st == ST_OK) st = gguf_put_str(w, "tokenizer.ggml.model", model, &e);
    if (st == ST_OK) st = gguf_put_str(w, "tokenizer.ggml.pre", "llama-bpe", &e);
    if (st == ST_OK) st = gguf_put_strs(w, "tokenizer.ggml.tokens", texts, N_TOKENS, &e);
    if (st == ST_OK) st = gguf_put_f32s(w, "tokenizer.ggml.scores", scores, N_TOKENS, &e);
    if (st == ST_OK)
        st = gguf_put_strs(w, "tokenizer.ggml.merges", merges, N_TOKENS - N_LETTERS, &e);
    if (st == ST_OK) st = gguf_writer_save(w, path, false, &e);
    gguf_writer_close(w);
    return test_ok(t, st, &e);
}

static char *make_text(struct test *t, const struct made *m, struct rng *r, size_t *len)
{
    char *text = test_alloc(t, TEXT_BYTES + MOST_LETTERS + 1, 1);
    for (*len = 0; text && *len < TEXT_BYTES;) {
        double u = rng_uniform(r);
        struct gguf_str s = m->index.texts[(size_t)(u * u * u * u * N_TOKENS)];
        for (size_t i = 0; i < s.len; i++) text[(*len)++] = s.data[i] == '_' ? ' ' : s.data[i];
        text[(*len)++] = ' ';
    }
    return text;
}

static double seconds_since(clock_t start)
{
    return (double)(clock() - start) / CLOCKS_PER_SEC;
}

/* Loads the file and encodes the text, and says how long that took of one processor. */
static void measure(struct test *t, const char *path, const char *text, size_t len)
{
    struct gguf g;
    struct err e = {0};
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n = 0, back_len = 0;
    clock_t start = clock();
    if (!test_ok(t, gguf_open(&g, path, &e), &e)) return;
    struct tokenizer *k = rig_tokenizer(t, &g);
    double load = seconds_since(start);
    start = clock();
    if (k && test_ok(t, tokenize(k, text, len, 0, &ids, &n, &e), &e)) {
        double encode = seconds_since(start);
        bool good = test_ok(t, detokenize(k, ids, n, false, &back, &back_len, &e), &e) && n > 0;
        test_check(t, good, "a text of %zu bytes becomes %zu tokens", len, n);
        rig_count(t, good, 0);
        snprintf(t->result.message, sizeof t->result.message,
                 "%d tokens load in %.3f s; %zu bytes become %zu tokens at %.1f MB/s", N_TOKENS,
                 load, len, n, (double)len / encode / 1e6);
    }
    free(back);
    free(ids);
    tokenizer_close(k);
    gguf_close(&g);
}

static void run_bench(struct test *t, const struct test_case *c)
{
    struct made m = {{0}, NULL};
    struct rng r = rng_of(t);
    size_t len;
    char path[] = "/tmp/assay-vocab-XXXXXX";
    if (make_tokens(t, &m, &r)) {
        const char *text = make_text(t, &m, &r, &len);
        int fd = mkstemp(path);
        if (test_check(t, fd >= 0, "%s: cannot be created", path)) {
            close(fd);
            if (text && save(t, &m, c->arg, path)) measure(t, path, text, len);
            unlink(path);
        }
    }
    text_index_free(&m.index);
}

void rig_add_bench(struct case_list *l)
{
    static const struct {
        const char *shape, *model;
    } rows[] = {{"bpe-150k", "gpt2"}, {"spm-150k", "llama"}, {"wpm-150k", "bert"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        case_add(l, &(struct test_case){.suite = "tokenizer",
                                        .op = "speed",
                                        .shape = rows[i].shape,
                                        .run = run_bench,
                                        .arg = rows[i].model});
}
