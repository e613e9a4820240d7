/* What the suite of the tokenizer stands on: vocabularies with changed metadata, golden files, and
 * comparisons. */
#include "selftest/tokenizer_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files ---------------------------------------------------------------------------------- */

static const char *container_vector_path(struct test *t, const char *name)
{
    size_t cap = strlen(t->options->vectors) + strlen(name) + 2;
    char *path = test_alloc(t, cap, 1);
    if (path) snprintf(path, cap, "%s/%s", t->options->vectors, name);
    return path;
}

json_t *rig_load_json(struct test *t, const char *name)
{
    json_error_t why;
    const char *path = container_vector_path(t, name);
    if (!path) return NULL;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &why);
    if (!j) test_fail(t, "%s: %s", path, why.text);
    return j;
}

static bool overridden(struct gguf_str key, const struct override *o, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (key.len == strlen(o[i].key) && memcmp(key.data, o[i].key, key.len) == 0) return true;
    return false;
}

/* Metadata of g with changes, as a file under path. */
static enum status save_changed(const struct gguf *g, const struct override *o, size_t n,
                                const char *path, struct err *e)
{
    struct gguf_writer *w;
    enum status st = gguf_writer_open(&w, e);
    if (st != ST_OK) return st;
    for (size_t i = 0; st == ST_OK && i < g->n_kv; i++)
        if (!overridden(g->kv[i].key, o, n)) st = gguf_put_kv(w, &g->kv[i], e);
    for (size_t i = 0; st == ST_OK && i < n; i++)
        if (!o[i].removed)
            st = o[i].text ? gguf_put_str(w, o[i].key, o[i].text, e)
                           : gguf_put_bool(w, o[i].key, o[i].flag, e);
    if (st == ST_OK) st = gguf_writer_save(w, path, false, e);
    gguf_writer_close(w);
    return st;
}

bool rig_open_changed(struct test *t, const char *name, const struct override *o, size_t n,
                      struct gguf *out)
{
    struct err e = {0};
    struct gguf g;
    const char *path = container_vector_path(t, name);
    if (!path || !test_ok(t, gguf_open(&g, path, &e), &e)) return false;
    char tmp[] = "/tmp/assay-vocab-XXXXXX";
    int fd = mkstemp(tmp);
    enum status st =
        fd >= 0 ? save_changed(&g, o, n, tmp, &e) : fail(&e, ST_IO, "%s: cannot be created", tmp);
    if (st == ST_OK) st = gguf_open(out, tmp, &e);
    if (fd >= 0) {
        close(fd);
        unlink(tmp);
    }
    gguf_close(&g);
    return test_ok(t, st, &e);
}

struct tokenizer *rig_tokenizer(struct test *t, const struct gguf *g)
{
    struct err e = {0};
    struct tokenizer *k = NULL;
    char why[160];
    if (!test_ok(t, tokenizer_open(&k, g, why, sizeof why, &e), &e)) return NULL;
    test_check(t, k != NULL, "no tokenizer: %s", why);
    return k;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

void rig_count(struct test *t, bool good, size_t index)
{
    if (!good && t->result.bad++ == 0) t->result.first_bad = index;
    t->result.total++;
}

bool rig_ids_equal(const int32_t *ids, size_t n, const json_t *want)
{
    if (n != json_array_size(want)) return false;
    for (size_t i = 0; i < n; i++)
        if (json_integer_value(json_array_get(want, i)) != ids[i]) return false;
    return true;
}

static void show_ids(const int32_t *ids, size_t n, char *out, size_t cap)
{
    size_t at = 0;
    *out = '\0';
    for (size_t i = 0; i < n && at + 16 < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%d", i ? " " : "", (int)ids[i]);
}

void rig_check_ids(struct test *t, const struct tokenizer *k, struct gguf_str text, unsigned flags,
                   const json_t *want, size_t index)
{
    struct err e = {0};
    int32_t *ids;
    size_t n;
    char shown[200];
    if (!test_ok(t, tokenize(k, text.data, text.len, flags, &ids, &n, &e), &e)) return;
    bool good = rig_ids_equal(ids, n, want);
    show_ids(ids, n, shown, sizeof shown);
    char *json = good ? NULL : json_dumps(want, JSON_COMPACT | JSON_ENCODE_ANY);
    test_check(t, good, "text %zu: got %s, not %.150s", index, shown, json ? json : "");
    rig_count(t, good, index);
    free(json);
    free(ids);
}

void rig_check_text(struct test *t, const struct tokenizer *k, const int32_t *ids, size_t n,
                    unsigned flags, struct gguf_str want, size_t index)
{
    struct err e = {0};
    char *text;
    size_t len;
    if (!test_ok(t, tokenizer_decode(k, ids, n, flags, &text, &len, &e), &e)) return;
    bool good = len == want.len && memcmp(text, want.data, len) == 0;
    test_check(t, good, "text %zu comes back as %zu bytes \"%.80s\", not as %zu bytes \"%.*s\"",
               index, len, text, want.len, (int)(want.len < 80 ? want.len : 80), want.data);
    rig_count(t, good, index);
    free(text);
}

/* U+2581 to spaces, in place. */
static void unescape(char *s, size_t *len)
{
    size_t n = 0;
    for (size_t i = 0; i < *len; i++) {
        bool mark = *len - i >= 3 && memcmp(s + i, "\xe2\x96\x81", 3) == 0;
        s[n++] = mark ? ' ' : s[i];
        if (mark) i += 2;
    }
    *len = n;
}

void rig_check_roundtrip(struct test *t, const struct tokenizer *k, struct gguf_str text,
                         size_t index)
{
    struct err e = {0};
    int32_t *ids = NULL;
    char *back = NULL;
    size_t n, len, want_len = text.len;
    char *want = alloc_array(text.len + 1, 1);
    if (!test_check(t, want != NULL, "out of memory")) return;
    memcpy(want, text.data, text.len);
    unescape(want, &want_len);
    if (test_ok(t, tokenize(k, text.data, text.len, 0, &ids, &n, &e), &e) &&
        test_ok(t, detokenize(k, ids, n, false, &back, &len, &e), &e)) {
        unescape(back, &len);
        bool good = len == want_len && memcmp(back, want, len) == 0;
        test_check(t, good, "text %zu of %zu bytes comes back as %zu bytes \"%.80s\"", index,
                   text.len, len, back);
        rig_count(t, good, index);
    }
    free(back);
    free(ids);
    free(want);
}

/* ---- golden files ---------------------------------------------------------------------------- */

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

struct gguf_str rig_base64(struct test *t, const json_t *j)
{
    const char *s = json_string_value(j);
    char *out = s ? test_alloc(t, json_string_length(j) + 1, 1) : NULL;
    struct gguf_str r = {out, 0};
    uint32_t bits = 0;
    int have = 0;
    if (!test_check(t, s != NULL, "no base64 string") || !out) return (struct gguf_str){"", 0};
    for (; base64_value(*s) >= 0; s++) {
        bits = bits << 6 | (uint32_t)base64_value(*s);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        out[r.len++] = (char)(unsigned char)(bits >> have & 255);
    }
    return r;
}

const json_t *rig_by_number(const json_t *object, size_t i)
{
    char key[24];
    snprintf(key, sizeof key, "%zu", i);
    return json_object_get(object, key);
}
