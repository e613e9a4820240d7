/* Reading and writing traces; see tracefile.h. */
#include "trace/trace_file.h"
#include "trace/names.h"
#include "reference/ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ----------------------------------------------------------------------------------- */

static bool same(const char *name, size_t len, const char *other)
{
    return strlen(other) == len && memcmp(name, other, len) == 0;
}

static enum site own_site(const char *name, size_t len)
{
    for (size_t i = 0; i < SITE_COUNT; i++)
        if (same(name, len, site_table[i].name)) return site_table[i].site;
    return SITE_COUNT;
}

static bool is_of_heads(enum site site)
{
    return site == SITE_Q || site == SITE_K || site == SITE_V || site == SITE_ATTN;
}

/* What a tensor's name stands for. */
struct named {
    enum site site;
    uint32_t layer;
    size_t rank; /* see locate_names.h */
};

/* ours: by Assay's names alone; else llama.cpp's come first, whose q, k, v and kqv, of three
 * dimensions, are other views of them. */
static bool find_name(const struct site_model *m, bool ours, const char *name, size_t len,
                      uint32_t n_dims, struct named *out)
{
    size_t base = len;
    uint64_t number = 0;
    while (base > 0 && name[base - 1] >= '0' && name[base - 1] <= '9') base--;
    const bool numbered = base > 1 && base < len && len - base < 6 && name[base - 1] == '-';
    for (size_t i = base; numbered && i < len; i++)
        number = 10 * number + (uint64_t)(name[i] - '0');
    if (numbered) len = base - 1;
    *out = (struct named){SITE_COUNT, (uint32_t)number, 0};
    if (!ours) out->site = llama_site(m, out->layer, name, len, n_dims >= 3, &out->rank);
    size_t rank;
    const bool theirs = !ours && (llama_site(NULL, 0, name, len, false, &rank) != SITE_COUNT ||
                                  (n_dims >= 3 && is_of_heads(own_site(name, len))));
    if (out->site == SITE_COUNT && !theirs) out->site = own_site(name, len);
    return out->site != SITE_COUNT && (site_table[out->site].scope == SITE_LAYER) == numbered;
}

bool trace_name(const char *name, size_t len, uint32_t n_dims, enum site *site, uint32_t *layer)
{
    struct named n;
    const bool found = find_name(NULL, false, name, len, n_dims, &n);
    *site = n.site;
    *layer = n.layer;
    return found;
}

bool trace_is(const struct gguf *g)
{
    enum site site;
    uint32_t layer;
    bool any = false;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        if (t->name.len > 7 && memcmp(t->name.data + t->name.len - 7, ".weight", 7) == 0)
            return false;
        any = any || trace_name(t->name.data, t->name.len, t->n_dims, &site, &layer);
    }
    return any;
}

/* ---- precision ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum tensor_type type;
} roundings[] = {
    {"none", TYPE_F64},  {"f32", TYPE_F32},   {"f16", TYPE_F16},
    {"bf16", TYPE_BF16}, {"q8", TYPE_ID_END},
};

bool precision_by_name(const char *name, struct precision *p)
{
    for (size_t i = 0; i < sizeof roundings / sizeof *roundings; i++)
        if (strcmp(name, roundings[i].name) == 0) {
            p->activations = roundings[i].type;
            return true;
        }
    return false;
}

const char *precision_name(const struct precision *p)
{
    for (size_t i = 0; i < sizeof roundings / sizeof *roundings; i++)
        if (p->activations == roundings[i].type) return roundings[i].name;
    return "none";
}

/* ---- reading --------------------------------------------------------------------------------- */

static size_t rows_of(const struct gguf_tensor *t, enum site site)
{
    if (site_table[site].width == WIDTH_SCORES) return t->n_dims >= 3 ? (size_t)t->dims[1] : 0;
    if (t->n_dims >= 3 && t->dims[2] > 1) return (size_t)(t->dims[2] * t->dims[3]);
    return (size_t)(t->n_elems / t->dims[0]);
}

static enum status read_tokens(struct trace_info *info, const struct gguf *g, struct err *e)
{
    struct gguf_kv *kv = gguf_find(g, "assay.trace.tokens");
    if (!kv) return ST_OK;
    info->tokens = alloc_array(kv->count + 1, sizeof *info->tokens);
    if (!info->tokens) return fail(e, ST_NOMEM, "no memory for the tokens of a trace");
    for (uint64_t i = 0; i < kv->count; i++) {
        int64_t id;
        if (!gguf_value_i64(kv, i, &id) || id < 0 || id > INT32_MAX)
            return fail(e, ST_FORMAT, "assay.trace.tokens: element %llu is no token id",
                        (unsigned long long)i);
        info->tokens[i] = (int32_t)id;
    }
    info->n_tokens = (size_t)kv->count;
    return ST_OK;
}

static enum status read_word(const struct gguf *g, const char *key, char *out, size_t cap,
                             struct err *e)
{
    struct gguf_str s;
    *out = 0;
    if (!gguf_find(g, key)) return ST_OK;
    enum status st = gguf_get_str(g, key, &s, e);
    if (st == ST_OK) snprintf(out, cap, "%.*s", (int)s.len, s.data);
    return st;
}

enum status trace_read_info(struct trace_info *info, const struct gguf *g, struct err *e)
{
    char word[32];
    *info = (struct trace_info){.precision = precision_exact};
    enum status st = read_tokens(info, g, e);
    if (st == ST_OK)
        st = read_word(g, "assay.trace.subject", info->subject, sizeof info->subject, e);
    if (st == ST_OK) st = read_word(g, "assay.trace.activations", word, sizeof word, e);
    if (st == ST_OK && *word) {
        info->declared = true;
        if (!precision_by_name(word, &info->precision))
            st = fail(e, ST_FORMAT,
                      "assay.trace.activations is '%s', not none, f32, f16, bf16 or q8", word);
    }
    if (st == ST_OK) st = read_word(g, "assay.trace.kv_type", word, sizeof word, e);
    if (st == ST_OK && *word) {
        const struct type_spec *t = type_by_name(word);
        if (!t || !ref_cache_type(t->id))
            st = fail(e, ST_FORMAT, "assay.trace.kv_type is '%s', no type of a KV cache", word);
        else
            info->precision.kv = t->id;
    }
    for (size_t i = 0; i < g->n_tensors && st == ST_OK && !info->tokens; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        enum site site;
        uint32_t layer;
        if (!trace_name(t->name.data, t->name.len, t->n_dims, &site, &layer)) continue;
        if (t->n_elems && rows_of(t, site) > info->n_tokens) info->n_tokens = rows_of(t, site);
    }
    if (st != ST_OK) trace_info_free(info);
    return st;
}

void trace_info_free(struct trace_info *info)
{
    free(info->tokens);
    *info = (struct trace_info){.precision = precision_exact};
}

/* Scores as (n_cells, n_tokens, n_heads) in llama.cpp's order, or (n_heads * n_cells, n_tokens) in
 * ours; cells beyond the tokens are padding. */
static enum status take_scores(struct recording *r, const struct gguf_tensor *t, enum site site,
                               uint32_t layer, const float *x, double kq_scale, struct err *e)
{
    const size_t n = r->n_tokens;
    if (t->n_dims <= 2) {
        if (t->dims[0] != r->n_heads * n)
            return fail(e, ST_FORMAT, "tensor %.*s: %llu columns, not %u heads of %zu cells",
                        (int)t->name.len, t->name.data, (unsigned long long)t->dims[0], r->n_heads,
                        n);
        record_subject(r, site, layer, x, (size_t)t->dims[1], (size_t)t->dims[0],
                       n - (size_t)t->dims[1]);
        return ST_OK;
    }
    const size_t cells = (size_t)t->dims[0], rows = (size_t)t->dims[1];
    if (t->dims[2] != r->n_heads || cells < n || rows > n)
        return fail(e, ST_FORMAT, "tensor %.*s: %zu cells, %zu tokens, %llu heads",
                    (int)t->name.len, t->name.data, cells, rows, (unsigned long long)t->dims[2]);
    float *row = alloc_array(r->n_heads * n, sizeof *row);
    if (!row) return fail(e, ST_NOMEM, "no memory for scores");
    for (size_t i = 0; i < rows; i++) {
        for (size_t h = 0; h < r->n_heads; h++)
            for (size_t c = 0; c < n; c++) {
                const double z = (double)x[(h * rows + i) * cells + c];
                row[h * n + c] = site == SITE_WEIGHTS ? (float)z
                                 : c > n - rows + i   ? -INFINITY
                                                      : (float)(z * kq_scale);
            }
        record_subject(r, site, layer, row, 1, r->n_heads * n, n - rows + i);
    }
    free(row);
    return ST_OK;
}

static enum status take_tensor(struct recording *r, const struct gguf_tensor *t, enum site site,
                               uint32_t layer, double kq_scale, struct err *e)
{
    const size_t n = (size_t)t->n_elems, rows = n ? rows_of(t, site) : 0;
    if (!type_decodes(t->type))
        return fail(e, ST_UNSUPPORTED, "tensor %.*s: type %s holds no values", (int)t->name.len,
                    t->name.data, t->type->name);
    if (n == 0 || rows > r->n_tokens)
        return fail(e, ST_FORMAT, "tensor %.*s: %zu rows for %zu tokens", (int)t->name.len,
                    t->name.data, rows, r->n_tokens);
    float *x = alloc_array(n, sizeof *x);
    if (!x) return fail(e, ST_NOMEM, "no memory for %zu values", n);
    ref_decode(t->type->id, t->data, n, x);
    enum status st = ST_OK;
    if (site_table[site].width == WIDTH_SCORES) {
        st = take_scores(r, t, site, layer, x, kq_scale, e);
    } else {
        struct record_site *s = record_find(r, site, layer);
        if (s)
            st = fail(e, ST_FORMAT, "tensor %.*s: the site %s is there twice", (int)t->name.len,
                      t->name.data, site_table[site].name);
        else
            s = record_add(r, site, layer, rows, n / rows, r->n_tokens - rows);
        if (s && st == ST_OK) {
            memcpy(s->got, x, n * sizeof *x);
            for (size_t i = 0; i < rows; i++) s->filled[i] = true;
        }
    }
    free(x);
    if (st == ST_OK && r->err.st != ST_OK) st = fail(e, r->err.st, "%s", r->err.text);
    return st;
}

static bool name_of(const struct gguf_tensor *t, const struct gguf *g, const struct trace_shape *s,
                    struct named *out)
{
    const struct gguf_kv *arch = gguf_find(g, "general.architecture");
    struct gguf_str name = {0};
    struct gguf_kv kv = arch ? *arch : (struct gguf_kv){.count = 0};
    const bool ours = arch && arch->type == GGUF_STRING && gguf_value_strings(&kv, &name) &&
                      same(name.data, name.len, "assay-trace");
    return find_name(s->model, ours, t->name.data, t->name.len, t->n_dims, out);
}

/* What every tensor stands for; of several for one site only the one that says most. malloc'd. */
static struct named *names_of(const struct gguf *g, const struct trace_shape *shape)
{
    struct named *n = alloc_array(g->n_tensors + 1, sizeof *n);
    for (size_t i = 0; n && i < g->n_tensors; i++)
        if (!name_of(&g->tensors[i], g, shape, &n[i])) n[i].site = SITE_COUNT;
    for (size_t i = 0; n && i < g->n_tensors; i++)
        for (size_t k = 0; k < g->n_tensors; k++)
            if (n[k].site == n[i].site && n[k].layer == n[i].layer && n[k].rank > n[i].rank)
                n[i].site = SITE_COUNT;
    return n;
}

enum status trace_read(struct recording *out, struct trace_info *info, const struct gguf *g,
                       const struct trace_shape *shape, struct err *e)
{
    enum status st = trace_read_info(info, g, e);
    if (st != ST_OK) return st;
    st = record_open(out, shape->n_layers, shape->n_heads, info->n_tokens, e);
    struct named *names = names_of(g, shape);
    if (st == ST_OK && !names) st = fail(e, ST_NOMEM, "no memory for the names of a trace");
    for (size_t i = 0; i < g->n_tensors && st == ST_OK; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        const struct named n = names[i];
        if (n.site == SITE_COUNT) continue;
        if (n.layer >= shape->n_layers && site_table[n.site].scope == SITE_LAYER)
            st = fail(e, ST_FORMAT, "tensor %.*s: the model has %u layers", (int)t->name.len,
                      t->name.data, shape->n_layers);
        else
            st = take_tensor(out, t, n.site, n.layer, shape->kq_scale, e);
    }
    free(names);
    if (st != ST_OK) {
        record_close(out);
        trace_info_free(info);
    }
    return st;
}

/* ---- writing --------------------------------------------------------------------------------- */

static enum status put_site(struct gguf_writer *w, const struct record_site *s, struct err *e)
{
    char name[64];
    const uint64_t dims[2] = {s->cols, s->rows};
    if (site_table[s->site].scope == SITE_LAYER)
        snprintf(name, sizeof name, "%s-%u", site_table[s->site].name, s->layer);
    else
        snprintf(name, sizeof name, "%s", site_table[s->site].name);
    return gguf_put_tensor(w, name, TYPE_F32, 2, dims, s->got, e);
}

enum status trace_write(const struct recording *r, const struct trace_info *info, const char *path,
                        bool (*want)(void *ctx, enum site site, uint32_t layer), void *ctx,
                        struct err *e)
{
    struct gguf_writer *w = NULL;
    const size_t len = strlen(path);
    const bool gzip = len > 3 && strcmp(path + len - 3, ".gz") == 0;
    enum status st = gguf_writer_open(&w, e);
    if (st == ST_OK) st = gguf_put_str(w, "general.architecture", "assay-trace", e);
    if (st == ST_OK) st = gguf_put_u32(w, "assay.trace.version", 1, e);
    if (st == ST_OK) st = gguf_put_str(w, "assay.trace.subject", info->subject, e);
    if (st == ST_OK && info->declared)
        st = gguf_put_str(w, "assay.trace.activations", precision_name(&info->precision), e);
    if (st == ST_OK)
        st = gguf_put_str(w, "assay.trace.kv_type", type_by_id(info->precision.kv)->name, e);
    if (st == ST_OK && info->tokens)
        st = gguf_put_i32s(w, "assay.trace.tokens", info->tokens, info->n_tokens, e);
    for (size_t i = 0; i < r->n && st == ST_OK; i++)
        if (!want || want(ctx, r->sites[i].site, r->sites[i].layer))
            st = put_site(w, &r->sites[i], e);
    if (st == ST_OK) st = gguf_writer_save(w, path, gzip, e);
    gguf_writer_close(w);
    return st;
}
