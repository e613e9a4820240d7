/* Reading prompt files; see prompts.h. */
#include "models/prompts.h"
#include "models/prompt_tokens.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
    const char *path, *text;
    size_t number;
};

static enum status encode_line(const struct line *l, const struct engine_model *m, int32_t **ids,
                               size_t *n, struct err *e)
{
    static const char of_ids[] = "tokens:";
    const size_t skip = strlen(of_ids);
    struct err why = {0};
    const bool is_list = strncmp(l->text, of_ids, skip) == 0;
    enum status st = is_list ? prompt_ids(l->text + skip, ids, n, &why)
                             : prompt_encode(m, l->text, ids, n, &why);
    if (st == ST_OK) return st;
    return fail(e, st == ST_USAGE ? ST_FORMAT : st, "%s:%zu: %s", l->path, l->number, why.text);
}

static enum status add_line(struct prompt_set *p, const struct line *l,
                            const struct engine_model *m, struct err *e)
{
    struct engine_shape shape = engine_model_shape(m);
    int32_t *ids = NULL;
    size_t n = 0;
    enum status st = encode_line(l, m, &ids, &n, e);
    for (size_t i = 0; i < n && st == ST_OK; i++)
        if ((uint32_t)ids[i] >= shape.n_vocab)
            st = fail(e, ST_RANGE, "%s:%zu: token %d of a vocabulary of %u", l->path, l->number,
                      ids[i], shape.n_vocab);
    if (st == ST_OK && n == 0) st = fail(e, ST_FORMAT, "%s:%zu: no tokens", l->path, l->number);
    if (st == ST_OK && n > shape.n_ctx)
        st = fail(e, ST_RANGE, "%s:%zu: %zu tokens, the model's context holds %u", l->path,
                  l->number, n, shape.n_ctx);
    if (st == ST_OK) {
        int32_t *grown = realloc(p->tokens, (p->n_tokens + n) * sizeof *grown);
        if (!grown)
            st = fail(e, ST_NOMEM, "%s: no memory for the prompts", l->path);
        else {
            p->tokens = grown;
            memcpy(grown + p->n_tokens, ids, n * sizeof *ids);
            p->lines[p->n] = l->text;
            p->lengths[p->n++] = n;
            p->n_tokens += n;
            if (n > p->longest) p->longest = n;
        }
    }
    free(ids);
    return st;
}

enum status prompts_read(struct prompt_set *out, const char *path, const struct engine_model *m,
                         struct err *e)
{
    *out = (struct prompt_set){.n = 0};
    struct file f;
    enum status st = file_open(&f, path, e);
    if (st != ST_OK) return st;
    size_t size = f.bytes.size, n_lines = 1;
    out->text = alloc_array(size + 1, 1);
    if (out->text) memcpy(out->text, f.bytes.data, size);
    file_close(&f);
    for (size_t i = 0; out->text && i < size; i++) n_lines += out->text[i] == '\n';
    out->lines = alloc_array(n_lines, sizeof *out->lines);
    out->lengths = alloc_array(n_lines, sizeof *out->lengths);
    if (!out->text || !out->lines || !out->lengths)
        st = fail(e, ST_NOMEM, "%s: no memory for %zu bytes", path, size);
    if (st == ST_OK && memchr(out->text, 0, size))
        st = fail(e, ST_FORMAT, "%s: is not a text file: it holds a zero byte", path);
    struct line l = {.path = path};
    for (char *p = out->text; st == ST_OK && *p;) {
        size_t len = strcspn(p, "\n");
        bool last = p[len] == 0;
        p[len] = 0;
        if (len && p[len - 1] == '\r') p[len - 1] = 0;
        l.number++;
        l.text = p;
        if (*p && *p != '#') st = add_line(out, &l, m, e);
        if (last) break;
        p += len + 1;
    }
    if (st == ST_OK && out->n == 0) st = fail(e, ST_FORMAT, "%s: holds no prompt", path);
    if (st != ST_OK) prompts_free(out);
    return st;
}

enum status prompts_random(struct prompt_set *out, uint64_t seed, const size_t *lengths, size_t n,
                           uint32_t n_vocab, struct err *e)
{
    enum { DIGITS = 12 }; /* of a token and what parts it from the next */
    size_t total = 0, made = 0;
    *out = (struct prompt_set){.n = n};
    for (size_t i = 0; i < n; i++) {
        total += lengths[i];
        if (lengths[i] > out->longest) out->longest = lengths[i];
    }
    out->text = alloc_array(n * 16 + total * DIGITS, 1);
    out->lines = alloc_array(n, sizeof *out->lines);
    out->lengths = alloc_array(n, sizeof *out->lengths);
    out->tokens = alloc_array(total, sizeof *out->tokens);
    if (!out->text || !out->lines || !out->lengths || !out->tokens) {
        prompts_free(out);
        return fail(e, ST_NOMEM, "no memory for prompts of %zu tokens", total);
    }
    char *p = out->text;
    for (size_t i = 0; i < n; i++) {
        out->lines[i] = p;
        out->lengths[i] = lengths[i];
        p += sprintf(p, "tokens: ");
        for (size_t k = 0; k < lengths[i]; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            int32_t id = (int32_t)((seed >> 33) % n_vocab);
            out->tokens[made++] = id;
            p += sprintf(p, k ? ",%d" : "%d", (int)id);
        }
        p++;
    }
    out->n_tokens = total;
    return ST_OK;
}

void prompts_free(struct prompt_set *p)
{
    free(p->text);
    free(p->lines);
    free(p->tokens);
    free(p->lengths);
    *p = (struct prompt_set){.n = 0};
}
