/* Measuring what a tensor type costs; see effect.h. */
#include "judge/effect.h"
#include "judge/compare.h"
#include "trace/record.h"
#include "models/info.h"
#include "models/source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Thresholds of the recommendation, on the mean KL in nats and the share of same top tokens. */
static const struct {
    double kl, top1;
} grades[] = {{1e-3, 0.99}, {2e-2, 0.95}, {2e-1, 0.85}};

const char effect_thresholds[] =
    "indistinguishable: mean KL <= 0.001 and 99 % same top tokens; good: <= 0.02 and 95 %;\n"
    "visible loss: <= 0.2 and 85 %; unusable: more\n";

const char *effect_grade_name(enum effect_grade g)
{
    static const char *const names[] = {"indistinguishable", "good", "visible loss", "unusable"};
    return names[g];
}

static enum effect_grade grade_of(const struct effect_row *r)
{
    for (int g = GRADE_SAME; g < GRADE_UNUSABLE; g++)
        if (r->kl.value <= grades[g].kl && r->top1.value >= grades[g].top1)
            return (enum effect_grade)g;
    return GRADE_UNUSABLE;
}

bool accumulate_by_name(const char *name, enum site_accumulate *out)
{
    for (int a = SUM_F64; a <= SUM_F16; a++)
        if (strcmp(name, accumulate_name((enum site_accumulate)a)) == 0) {
            *out = (enum site_accumulate)a;
            return true;
        }
    return false;
}

const char *accumulate_name(enum site_accumulate a)
{
    static const char *const names[] = {"f64", "f32", "f16", "own"};
    return names[a];
}

/* ---- running --------------------------------------------------------------------------------- */

enum { BATCH_TOKENS = 128 };

/* Sequences [from, to) that make up a batch of about BATCH_TOKENS. */
static size_t batch_end(const struct effect_text *t, size_t from, size_t limit)
{
    size_t to = from, n = 0;
    while (to < t->n_seqs && (to == from || n + t->lengths[to] <= limit)) n += t->lengths[to++];
    return to;
}

static size_t tokens_in(const struct effect_text *t, size_t from, size_t to)
{
    size_t n = 0;
    for (size_t i = from; i < to; i++) n += t->lengths[i];
    return n;
}

static enum status forward(const struct ref_model *m, const struct effect_text *t, size_t from,
                           size_t to, size_t at, double *logits, struct err *e)
{
    struct ref_err why = {{0}, false};
    const struct ref_forward f = {.tokens = t->tokens + at,
                                  .lengths = t->lengths + from,
                                  .n_seqs = to - from,
                                  .k_type = TYPE_F32,
                                  .v_type = TYPE_F32};
    if (ref_forward(m, &f, logits, NULL, &why)) return ST_OK;
    return fail(e, why.unsupported ? ST_UNSUPPORTED : ST_RANGE, "%s", why.text);
}

enum status effect_open(struct effect *x, const struct gguf *master, const struct effect_text *text,
                        bool (*cancel)(void),
                        void (*progress)(const char *what, size_t done, size_t total),
                        struct err *e)
{
    struct ref_model *m = NULL;
    *x = (struct effect){.master = master, .text = *text, .cancel = cancel, .progress = progress};
    enum status st = source_open(&m, master, e);
    if (st != ST_OK) return st;
    x->n_vocab = ref_model_shape(m).n_vocab;
    x->logits = alloc_array(text->n_tokens * x->n_vocab, sizeof *x->logits);
    double *batch = alloc_array(text->n_tokens * x->n_vocab, sizeof *batch);
    if (!x->logits || !batch)
        st = fail(e, ST_NOMEM, "no memory for the logits of %zu tokens", text->n_tokens);
    for (size_t i = 0, at = 0; i < text->n_seqs && st == ST_OK;) {
        const size_t to = batch_end(text, i, BATCH_TOKENS), n = tokens_in(text, i, to);
        if (progress) progress("master", at, text->n_tokens);
        if (cancel && cancel()) st = fail(e, ST_CANCELLED, "interrupted");
        if (st == ST_OK) st = forward(m, text, i, to, at, batch, e);
        for (size_t k = 0; st == ST_OK && k < n * x->n_vocab; k++)
            x->logits[at * x->n_vocab + k] = (float)batch[k];
        at += n;
        i = to;
    }
    free(batch);
    ref_model_close(m);
    if (st != ST_OK) effect_close(x);
    return st;
}

size_t effect_quantized(const struct gguf *g, enum tensor_type types[TYPE_ID_END])
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct type_spec *t = g->tensors[i].type;
        bool seen = t->block_elems == 1;
        for (size_t k = 0; k < n && !seen; k++) seen = types[k] == t->id;
        if (!seen) types[n++] = t->id;
    }
    return n;
}

void effect_close(struct effect *x)
{
    free(x->logits);
    x->logits = NULL;
}

/* ---- positions ------------------------------------------------------------------------------- */

struct position {
    double kl, nll, master_nll; /* nll: of the next token, NAN for the last of a sequence */
    bool same_top;
    double top5;
};

static double nll_of(const double *logits, size_t n, int32_t token)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, logits[i]);
    for (size_t i = 0; i < n; i++) sum += exp(logits[i] - max);
    return max + log(sum) - logits[token];
}

/* The five likeliest, best first; lowest id among equals. */
static size_t top_of(const double *logits, size_t n, size_t best[5])
{
    size_t have = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = have;
        while (at > 0 && logits[i] > logits[best[at - 1]]) at--;
        if (at == 5) continue;
        if (have < 5) have++;
        memmove(best + at + 1, best + at, (have - at - 1) * sizeof *best);
        best[at] = i;
    }
    return have;
}

/* next: the token that follows, or -1. */
static struct position judge(const float *master, const double *got, double *scratch, size_t n,
                             int32_t next)
{
    struct position p = {.nll = NAN, .master_nll = NAN};
    size_t a[5], b[5];
    for (size_t i = 0; i < n; i++) scratch[i] = (double)master[i];
    p.kl = kl_of_logits(scratch, got, n);
    const size_t k = top_of(scratch, n, a);
    top_of(got, n, b);
    p.same_top = a[0] == b[0];
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++) p.top5 += a[i] == b[j] ? 1.0 / (double)k : 0;
    if (next >= 0) {
        p.nll = nll_of(got, n, next);
        p.master_nll = nll_of(scratch, n, next);
    }
    return p;
}

/* ---- intervals ------------------------------------------------------------------------------- */

enum { BLOCK = 16 }; /* neighbouring positions are not independent: means of blocks are */

/* Mean of x (NAN left out) and its 95 % interval, from the spread of the means of blocks. */
static struct interval mean_of(const double *x, size_t n)
{
    double sum = 0, squares = 0, block = 0;
    size_t total = 0, n_blocks = 0, in_block = 0;
    for (size_t i = 0; i < n; i++) total += isnan(x[i]) ? 0 : 1;
    for (size_t i = 0; i < n; i++) sum += isnan(x[i]) ? 0 : x[i];
    const double mean = total ? sum / (double)total : NAN;
    const size_t step = total >= 8 * BLOCK ? BLOCK : 1;
    for (size_t i = 0, seen = 0; i < n; i++) {
        if (isnan(x[i])) continue;
        block += x[i];
        in_block++;
        if (++seen % step && seen < total) continue;
        squares += (block / (double)in_block - mean) * (block / (double)in_block - mean);
        n_blocks++;
        block = 0;
        in_block = 0;
    }
    const double error =
        n_blocks > 1 ? 1.96 * sqrt(squares / (double)(n_blocks - 1) / (double)n_blocks) : INFINITY;
    return (struct interval){mean, mean - error, mean + error};
}

/* Wilson's interval of a share. */
static struct interval share_of(size_t hits, size_t n)
{
    const double z = 1.96, p = (double)hits / (double)n, m = (double)n;
    const double middle = (p + z * z / (2 * m)) / (1 + z * z / m);
    const double half = z / (1 + z * z / m) * sqrt(p * (1 - p) / m + z * z / (4 * m * m));
    return (struct interval){p, fmax(0, middle - half), fmin(1, middle + half)};
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static enum status summarise(struct effect_row *row, const struct position *p, size_t n,
                             struct err *e)
{
    double *x = alloc_array(n + 1, sizeof *x);
    if (!x) return fail(e, ST_NOMEM, "no memory for %zu positions", n);
    double nll = 0, master_nll = 0;
    size_t same = 0, n_next = 0;
    row->n_positions = n;
    for (size_t i = 0; i < n; i++) {
        same += p[i].same_top;
        row->top5 += p[i].top5 / (double)n;
        x[i] = p[i].nll - p[i].master_nll;
        if (isnan(p[i].nll)) continue;
        nll += p[i].nll;
        master_nll += p[i].master_nll;
        n_next++;
    }
    const struct interval d = mean_of(x, n);
    row->ppl_ratio = (struct interval){exp(d.value), exp(d.low), exp(d.high)};
    row->ppl = exp(nll / (double)n_next);
    row->master_ppl = exp(master_nll / (double)n_next);
    for (size_t i = 0; i < n; i++) x[i] = p[i].kl;
    row->kl = mean_of(x, n);
    qsort(x, n, sizeof *x, ascending);
    row->kl_p99 = x[(size_t)ceil(0.99 * (double)n) - 1];
    row->kl_max = x[n - 1];
    row->top1 = share_of(same, n);
    row->grade = grade_of(row);
    free(x);
    return ST_OK;
}

/* ---- a type ---------------------------------------------------------------------------------- */

/* All positions of m against the master's logits. limit: tokens, 0 = all. */
static enum status judge_model(struct position *p, size_t *n_judged, const struct effect *x,
                               const struct ref_model *m, size_t limit, const char *what,
                               struct err *e)
{
    const struct effect_text *t = &x->text;
    const size_t v = x->n_vocab, most = limit ? limit : t->n_tokens;
    double *logits = alloc_array((t->n_tokens + 1) * v, sizeof *logits);
    enum status st = logits ? ST_OK : fail(e, ST_NOMEM, "no memory for logits");
    size_t at = 0;
    for (size_t i = 0; i < t->n_seqs && (at == 0 || at < most) && st == ST_OK;) {
        const size_t to = batch_end(t, i, BATCH_TOKENS);
        if (x->progress && what) x->progress(what, at, t->n_tokens);
        if (x->cancel && x->cancel()) st = fail(e, ST_CANCELLED, "interrupted");
        if (st == ST_OK) st = forward(m, t, i, to, at, logits, e);
        for (size_t k = 0; i < to && st == ST_OK; i++)
            for (size_t c = 0; c < t->lengths[i]; c++, k++, at++)
                p[at] = judge(x->logits + at * v, logits + k * v, logits + t->n_tokens * v, v,
                              c + 1 < t->lengths[i] ? t->tokens[at + 1] : -1);
        i = to;
    }
    free(logits);
    *n_judged = at;
    return st;
}

/* ---- layers ---------------------------------------------------------------------------------- */

struct stream {
    struct recording *to;
};

static bool want_stream(void *ctx, enum site site, uint32_t layer)
{
    (void)ctx, (void)layer;
    return site == SITE_RESID_2;
}

static void take_stream(void *ctx, const struct ref_values *v)
{
    const struct stream *s = ctx;
    struct ref_values plain = *v;
    plain.local = plain.dev = NULL;
    record_reference(s->to, &plain);
}

/* The residual stream of the first sequence. */
static enum status record_stream(struct recording *out, const struct ref_model *m,
                                 const struct effect_text *t, struct err *e)
{
    const struct ref_shape shape = ref_model_shape(m);
    struct stream s = {out};
    struct ref_err why = {{0}, false};
    const struct ref_forward f = {.tokens = t->tokens,
                                  .lengths = t->lengths,
                                  .n_seqs = 1,
                                  .k_type = TYPE_F32,
                                  .v_type = TYPE_F32,
                                  .ctx = &s,
                                  .want = want_stream,
                                  .take = take_stream};
    enum status st = record_open(out, shape.n_layers, shape.n_heads, t->lengths[0], e);
    double *logits = alloc_array(t->lengths[0] * shape.n_vocab, sizeof *logits);
    if (st == ST_OK && !logits) st = fail(e, ST_NOMEM, "no memory for logits");
    if (st == ST_OK && !ref_forward(m, &f, logits, NULL, &why))
        st = fail(e, ST_RANGE, "%s", why.text);
    if (st == ST_OK && out->err.st != ST_OK) st = fail(e, out->err.st, "%s", out->err.text);
    free(logits);
    return st;
}

static enum status measure_layers(struct effect_row *row, const struct effect *x,
                                  const struct ref_model *m, struct err *e)
{
    struct recording a = {.fd = -1}, b = {.fd = -1};
    struct ref_model *master = NULL;
    enum status st = source_open(&master, x->master, e);
    if (st == ST_OK) st = record_stream(&a, master, &x->text, e);
    if (st == ST_OK) st = record_stream(&b, m, &x->text, e);
    row->layers = st == ST_OK ? alloc_array(a.n + 1, sizeof *row->layers) : NULL;
    for (size_t i = 0; row->layers && i < a.n && i < b.n; i++) {
        double off = 0, own = 0;
        for (size_t k = 0; k < a.sites[i].rows * a.sites[i].cols; k++) {
            const double d = b.sites[i].value[k] - a.sites[i].value[k];
            off += d * d;
            own += a.sites[i].value[k] * a.sites[i].value[k];
        }
        row->layers[row->n_layers++] = (struct effect_layer){a.sites[i].layer, sqrt(off / own)};
    }
    record_close(&a);
    record_close(&b);
    ref_model_close(master);
    return st;
}

/* ---- one tensor at a time -------------------------------------------------------------------- */

struct overlay {
    struct ref_source master, other;
    const char *name; /* that comes from other */
};

static bool overlay_tensor(void *ctx, const char *name, struct ref_tensor *out)
{
    const struct overlay *o = ctx;
    const struct ref_source *s = strcmp(name, o->name) == 0 ? &o->other : &o->master;
    return s->tensor(s->ctx, name, out);
}

static bool overlay_number(void *ctx, const char *key, double *out)
{
    const struct overlay *o = ctx;
    return o->master.number(o->master.ctx, key, out);
}

static bool overlay_number_at(void *ctx, const char *key, size_t i, double *out)
{
    const struct overlay *o = ctx;
    return o->master.number_at(o->master.ctx, key, i, out);
}

static bool overlay_text(void *ctx, const char *key, char *out, size_t cap)
{
    const struct overlay *o = ctx;
    return o->master.text(o->master.ctx, key, out, cap);
}

enum { TENSOR_TOKENS = 64 };

static enum status measure_tensor(struct effect_tensor *t, const struct effect *x,
                                  const struct gguf *g, struct position *p, struct err *e)
{
    struct overlay o = {source_of(x->master), source_of(g), t->name};
    const struct ref_source s = {&o, overlay_tensor, overlay_number, overlay_number_at,
                                 overlay_text};
    struct ref_model *m = NULL;
    struct ref_err why = {{0}, false};
    size_t n = 0;
    if (!ref_model_open(&m, &s, &why)) return fail(e, ST_FORMAT, "%s", why.text);
    enum status st = judge_model(p, &n, x, m, TENSOR_TOKENS, NULL, e);
    for (size_t i = 0; i < n && st == ST_OK; i++) t->kl += p[i].kl / (double)n;
    ref_model_close(m);
    return st;
}

static int costliest_first(const void *a, const void *b)
{
    const struct effect_tensor *x = a, *y = b;
    return (x->kl < y->kl) - (x->kl > y->kl);
}

static enum status measure_tensors(struct effect_row *row, const struct effect *x,
                                   const struct gguf *g, struct position *p, struct err *e)
{
    enum status st = ST_OK;
    row->tensors = alloc_array(g->n_tensors, sizeof *row->tensors);
    if (!row->tensors) return fail(e, ST_NOMEM, "no memory for %zu tensors", g->n_tensors);
    for (size_t i = 0; i < g->n_tensors && st == ST_OK; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.data);
        const struct gguf_tensor *own = gguf_find_tensor(x->master, name);
        if (!own || own->type == t->type) continue;
        struct effect_tensor *out = &row->tensors[row->n_tensors++];
        snprintf(out->name, sizeof out->name, "%s", name);
        snprintf(out->type, sizeof out->type, "%s", t->type->name);
        if (x->progress) x->progress(name, i, g->n_tensors);
        st = measure_tensor(out, x, g, p, e);
    }
    qsort(row->tensors, row->n_tensors, sizeof *row->tensors, costliest_first);
    return st;
}

enum status effect_measure(struct effect_row *row, struct effect *x, const char *type,
                           const struct gguf *g, bool tensors, struct err *e)
{
    struct ref_model *m = NULL;
    struct position *p = alloc_array(x->text.n_tokens, sizeof *p);
    size_t n = 0;
    *row = (struct effect_row){.n_positions = 0};
    snprintf(row->type, sizeof row->type, "%s", type);
    if (!p) return fail(e, ST_NOMEM, "no memory for %zu positions", x->text.n_tokens);
    row->bits_per_weight = info_bits_of_matrices(g);
    enum status st = source_open(&m, g, e);
    if (st == ST_OK && ref_model_shape(m).n_vocab != x->n_vocab)
        st = fail(e, ST_FORMAT, "%s has a vocabulary of %u, the master of %zu", type,
                  ref_model_shape(m).n_vocab, x->n_vocab);
    if (st == ST_OK) st = judge_model(p, &n, x, m, 0, type, e);
    if (st == ST_OK) st = summarise(row, p, n, e);
    if (st == ST_OK) st = measure_layers(row, x, m, e);
    if (st == ST_OK && tensors) st = measure_tensors(row, x, g, p, e);
    free(p);
    ref_model_close(m);
    return st;
}

void effect_row_free(struct effect_row *row)
{
    free(row->layers);
    free(row->tensors);
    *row = (struct effect_row){.n_layers = 0};
}

/* ---- precision ------------------------------------------------------------------------------- */

enum status effect_study(struct effect_precision *p, const struct effect *x, const struct gguf *g,
                         const struct precision *how, size_t max_tokens, struct err *e)
{
    const struct effect_text *t = &x->text;
    struct ref_model *ref = NULL;
    double *exact = NULL, *low = NULL;
    *p = (struct effect_precision){.how = *how};
    enum status st = source_open(&ref, g, e);
    if (st != ST_OK) return st;
    const struct site_model m = site_model_of(g, ref);
    for (size_t i = 0, at = 0; i < t->n_seqs && (i == 0 || at + t->lengths[i] <= max_tokens); i++) {
        const size_t n = t->lengths[i];
        struct recording r = {.fd = -1};
        exact = alloc_array(n * x->n_vocab, sizeof *exact);
        low = alloc_array(n * x->n_vocab, sizeof *low);
        if (!exact || !low) st = fail(e, ST_NOMEM, "no memory for logits");
        if (x->cancel && x->cancel()) st = fail(e, ST_CANCELLED, "interrupted");
        if (st == ST_OK) st = forward(ref, t, i, i + 1, at, exact, e);
        if (st == ST_OK) st = site_forward(&m, t->tokens + at, n, how, false, &r, low, e);
        record_close(&r);
        for (size_t k = 0; st == ST_OK && k < n; k++) {
            const double *a = exact + k * x->n_vocab, *b = low + k * x->n_vocab;
            const double kl = kl_of_logits(a, b, x->n_vocab);
            p->kl_mean += kl;
            p->kl_max = fmax(p->kl_max, kl);
            p->same_top += ref_argmax(a, x->n_vocab) == ref_argmax(b, x->n_vocab);
            p->n_positions++;
        }
        free(exact);
        free(low);
        if (st != ST_OK) break;
        at += n;
    }
    if (p->n_positions) p->kl_mean /= (double)p->n_positions;
    ref_model_close(ref);
    return st;
}
