/* Reading the log of llama-eval-callback; see callback_log.h. */
#include "trace/callback_log.h"
#include "judge/bounds.h"
#include "trace/names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines ----------------------------------------------------------------------------------- */

struct reader {
    const char *at, *end;
    size_t line;
    char text[4096]; /* the line, cut */
};

static bool next_line(struct reader *r)
{
    if (r->at >= r->end) return false;
    const char *stop = memchr(r->at, '\n', (size_t)(r->end - r->at));
    if (!stop) stop = r->end;
    size_t len = (size_t)(stop - r->at);
    if (len >= sizeof r->text) len = sizeof r->text - 1;
    memcpy(r->text, r->at, len);
    r->text[len] = 0;
    for (size_t i = 0; i < len; i++)
        if (r->text[i] == 0) r->text[i] = ' ';
    r->at = stop < r->end ? stop + 1 : stop;
    r->line++;
    return true;
}

/* "{256, 8, 1, 1}" */
static bool read_dims(const char *s, uint64_t dims[4])
{
    unsigned long long d[4];
    if (sscanf(s, "{%llu, %llu, %llu, %llu}", &d[0], &d[1], &d[2], &d[3]) != 4) return false;
    for (int i = 0; i < 4; i++) {
        dims[i] = d[i];
        if (d[i] == 0 || d[i] > 1u << 30) return false;
    }
    return true;
}

static void copy(char *out, size_t cap, const char *s, size_t len)
{
    while (len > 0 && *s == ' ') s++, len--;
    while (len > 0 && s[len - 1] == ' ') len--;
    snprintf(out, cap, "%.*s", (int)(len < cap ? len : cap - 1), s);
}

/* "PREFIX: NAME = (TYPE) OP(OPERAND{...}, OPERAND{...}}) = {...}"; false: another kind of line. */
static bool read_header(const char *s, struct log_tensor *t, char *type, size_t cap)
{
    const char *colon = strstr(s, ": "), *equals = strstr(s, " = ("), *close, *paren, *last = NULL;
    if (!colon || !equals || equals < colon) return false;
    close = strchr(equals + 4, ')');
    paren = close ? strchr(close, '(') : NULL;
    for (const char *p = paren; p; p = strstr(p + 1, ") = {")) last = p;
    if (!paren || !last || last == paren || !read_dims(last + 4, t->dims)) return false;
    copy(t->name, sizeof t->name, colon + 2, (size_t)(equals - colon - 2));
    copy(type, cap, equals + 4, (size_t)(close - equals - 4));
    copy(t->op, sizeof t->op, close + 1, (size_t)(paren - close - 1));
    const char *brace = strchr(paren, '{');
    if (!brace || brace > last) return true;
    copy(t->operand[0], sizeof t->operand[0], paren + 1, (size_t)(brace - paren - 1));
    const char *comma = strstr(brace, "}, ");
    brace = comma ? strchr(comma, '{') : NULL;
    if (brace && brace < last)
        copy(t->operand[1], sizeof t->operand[1], comma + 3, (size_t)(brace - comma - 3));
    return true;
}

/* ---- values ---------------------------------------------------------------------------------- */

static size_t shown(uint64_t dim)
{
    return dim > 2 * LOG_EDGE ? 2 * LOG_EDGE : (size_t)dim;
}

void callback_log_index(const struct log_tensor *t, size_t k, uint64_t at[4])
{
    for (int d = 0; d < 4; d++) {
        const size_t n = shown(t->dims[d]), i = k % n;
        k /= n;
        at[d] = i < LOG_EDGE || t->dims[d] <= 2 * LOG_EDGE ? i : t->dims[d] - (n - i);
    }
}

/* The numbers of a line, but for its dots and brackets. */
static enum status read_numbers(const char *s, struct log_tensor *t, size_t total, size_t line,
                                struct err *e)
{
    while (*s) {
        char *end;
        if (strchr(" \t[],", *s)) {
            s++;
            continue;
        }
        if (strncmp(s, "...", 3) == 0) {
            s += 3;
            continue;
        }
        const double v = strtod(s, &end);
        if (end == s)
            return fail(e, ST_FORMAT, "line %zu: '%.20s' is no value of tensor %s", line, s,
                        t->name);
        if (t->n == total)
            return fail(e, ST_FORMAT, "line %zu: more than the %zu values that tensor %s shows",
                        line, total, t->name);
        t->values[t->n++] = v;
        s = end;
    }
    return ST_OK;
}

static enum status read_values(struct callback_log *l, struct reader *r, struct log_tensor *t,
                               struct err *e)
{
    const size_t total =
        shown(t->dims[0]) * shown(t->dims[1]) * shown(t->dims[2]) * shown(t->dims[3]);
    enum status st = ST_OK;
    t->values = arena_alloc(&l->arena, total, sizeof *t->values);
    if (!t->values) return fail(e, ST_NOMEM, "no memory for a log");
    for (;;) {
        const struct reader before = *r;
        if (!next_line(r)) break;
        const char *s = r->text + strspn(r->text, " \t");
        if (strncmp(s, "sum = ", 6) == 0) {
            t->sum = strtod(s + 6, NULL);
            t->has_sum = true;
            break;
        }
        if (*s != '[' && *s != ']' && strncmp(s, "...", 3) != 0) {
            *r = before;
            break;
        }
        st = read_numbers(s, t, total, r->line, e);
        if (st != ST_OK) return st;
    }
    if (t->n == total) return ST_OK;
    return fail(e, ST_FORMAT, "line %zu: tensor %s shows %zu values, not %zu", r->line, t->name,
                t->n, total);
}

/* ---- meaning --------------------------------------------------------------------------------- */

/* "attn_q.weight" of "blk.3.attn_q.weight"; *layer stays what it is without one. */
static const char *role_in(const char *operand, uint32_t *layer)
{
    unsigned n;
    int end = 0;
    if (sscanf(operand, "blk.%u.%n", &n, &end) != 1 || end == 0) return operand;
    *layer = n;
    return operand + end;
}

static bool is_tensor(const char *role, const char *tensor, const char *suffix)
{
    const size_t n = strlen(tensor);
    return strncmp(role, tensor, n) == 0 && role[n] == '.' && strcmp(role + n + 1, suffix) == 0;
}

/* By the weights that take part: a product and its bias, a norm's factor and bias, a row of a
 * table. */
static bool by_weight(struct log_tensor *t, const struct site_model *m)
{
    const bool mul_mat = strcmp(t->op, "MUL_MAT") == 0, add = strcmp(t->op, "ADD") == 0;
    const bool mul = strcmp(t->op, "MUL") == 0, rows = strcmp(t->op, "GET_ROWS") == 0;
    uint32_t layer = 0;
    const char *role = role_in(t->operand[mul_mat || rows ? 0 : 1], &layer);
    const bool in_model = !m || layer < m->shape.n_layers;
    for (size_t s = 0; s < SITE_COUNT && in_model && (mul_mat || add || mul || rows); s++) {
        if (m && !ref_site_there(m->ref, (enum site)s, layer)) continue;
        const struct ref_site f = ref_site_of(m ? m->ref : NULL, (enum site)s, layer);
        const bool linear = f.kind == REF_SITE_LINEAR, norm = f.kind == REF_SITE_NORM;
        const bool weight =
            (mul_mat && linear) || (mul && norm) || (rows && f.kind == REF_SITE_EMBED);
        if (!f.tensor || !(weight || (add && (linear || norm)))) continue;
        if (!is_tensor(role, f.tensor, weight ? "weight" : "bias")) continue;
        t->site = (enum site)s;
        t->layer = layer;
        return true;
    }
    if (!mul_mat || strcmp(role, "token_embd.weight") != 0) return false;
    t->site = SITE_LOGITS;
    return true;
}

/* "l_out-3", but not "Vcur-3 (transposed)". */
static void by_name(struct log_tensor *t, const struct site_model *m)
{
    const char *dash = strrchr(t->name, '-');
    const size_t len = dash ? (size_t)(dash - t->name) : strlen(t->name);
    const uint32_t layer = dash ? (uint32_t)strtoul(dash + 1, NULL, 10) : 0;
    size_t rank;
    if (dash && (!dash[1] || dash[1 + strspn(dash + 1, "0123456789")])) return;
    const enum site site = llama_site(m, layer, t->name, len, strcmp(t->op, "ROPE") == 0, &rank);
    if (site == SITE_Q && strcmp(t->op, "SCALE") == 0) return; /* after RoPE: by 1 / sqrt(d) */
    if (site == SITE_COUNT || (site_table[site].scope == SITE_LAYER) != (dash != NULL)) return;
    if (m && (!ref_site_there(m->ref, site, layer) || (dash && layer >= m->shape.n_layers))) return;
    t->site = site;
    t->layer = layer;
}

void callback_log_resolve(struct callback_log *l, const struct site_model *m)
{
    for (size_t i = 0; i < l->n; i++) {
        l->tensors[i].site = SITE_COUNT;
        if (!by_weight(&l->tensors[i], m)) by_name(&l->tensors[i], m);
    }
}

/* ---- the file -------------------------------------------------------------------------------- */

bool callback_log_is(struct span bytes)
{
    struct reader r = {(const char *)bytes.data, (const char *)bytes.data + bytes.size, 0, ""};
    struct log_tensor t = {.n = 0};
    char type[16];
    if (bytes.size < 8 || memcmp(bytes.data, "GGUF", 4) == 0) return false;
    while (r.line < 20000 && next_line(&r))
        if (read_header(r.text, &t, type, sizeof type)) return true;
    return false;
}

static enum status add(struct callback_log *l, const struct log_tensor *t, struct err *e)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 256;
        struct log_tensor *grown = realloc(l->tensors, cap * sizeof *grown);
        if (!grown) return fail(e, ST_NOMEM, "no memory for a log");
        l->tensors = grown;
        l->cap = cap;
    }
    l->tensors[l->n++] = *t;
    return ST_OK;
}

static uint64_t elements(const struct log_tensor *t)
{
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}

double callback_log_sum(const struct log_tensor *t, double *bound)
{
    double sum = 0, magnitude = 0;
    for (size_t k = 0; k < t->n; k++) sum += t->values[k], magnitude += fabs(t->values[k]);
    *bound = bound_log_sum_shown(t->n, magnitude);
    return sum;
}

/* Older versions sum what they show, newer ones everything: most tensors of the log tell. */
static bool sums_all(const struct callback_log *l)
{
    size_t n_cut = 0, n_shown = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct log_tensor *t = &l->tensors[i];
        if (!t->has_sum || elements(t) == t->n) continue;
        double bound;
        n_cut++;
        n_shown += fabs(t->sum - callback_log_sum(t, &bound)) <= bound;
    }
    return n_cut > 0 && 2 * n_shown < n_cut;
}

enum status callback_log_read(struct callback_log *out, struct span bytes, struct err *e)
{
    struct reader r = {(const char *)bytes.data, (const char *)bytes.data + bytes.size, 0, ""};
    enum status st = ST_OK;
    *out = (struct callback_log){.kv = TYPE_F32};
    while (st == ST_OK && next_line(&r)) {
        struct log_tensor t = {.site = SITE_COUNT};
        char type[16];
        if (!read_header(r.text, &t, type, sizeof type)) continue;
        t.line = r.line;
        st = read_values(out, &r, &t, e);
        if (st != ST_OK) break;
        if (strncmp(t.operand[0], "cache_k", 7) == 0 && strcmp(type, "f16") == 0)
            out->kv = TYPE_F16;
        st = add(out, &t, e);
    }
    if (st == ST_OK && out->n == 0)
        st = fail(e, ST_FORMAT, "no tensor of llama-eval-callback in it");
    out->sums_all = sums_all(out);
    callback_log_resolve(out, NULL);
    if (st != ST_OK) callback_log_free(out);
    return st;
}

void callback_log_free(struct callback_log *l)
{
    arena_free(&l->arena);
    free(l->tensors);
    *l = (struct callback_log){.n = 0};
}
