/* Encoding a whole model, tensor by tensor, a slab of rows at a time. */
#include "models/quantize.h"

#include "models/mix.h"
#include "reference/ref.h"
#include "base/terminal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values in a slab: how much is held as f32 at once, and how often an interrupt is noticed. */
enum { SLAB = 1 << 18 };

struct job {
    const struct gguf *in;
    const struct quantize_options *o;
    struct mix mix;
    struct gguf_writer *writer;
    struct arena names;
    void **data;           /* encoded tensors, by index; NULL where the bytes are copied */
    float *x, *y;          /* one slab, as read and as encoded */
    struct row_sums *sums; /* by row of the slab */
    size_t slab_rows, slab_cap, sums_cap;
    size_t done, total; /* values encoded */
};

struct row_sums {
    double error, energy, worst;
    size_t bad; /* first column that is not finite, or n_cols */
};

/* Rows [first, first + n) of a tensor in the making, and what the tensor adds up to. */
struct slab {
    struct quantize_tensor *report;
    size_t first, n, n_cols;
    const uint8_t *src;
    uint8_t *dst;
    size_t src_row, dst_row; /* bytes */
    float *x, *y;
    struct row_sums *sums;
    double error, energy;
};

static void read_row(void *ctx, size_t i)
{
    struct slab *s = ctx;
    float *x = s->x + i * s->n_cols;
    ref_decode(s->report->from, s->src + i * s->src_row, s->n_cols, x);
    size_t k = 0;
    while (k < s->n_cols && isfinite(x[k])) k++;
    s->sums[i].bad = k;
}

static void measure_row(void *ctx, size_t i)
{
    struct slab *s = ctx;
    const float *x = s->x + i * s->n_cols;
    float *y = s->y + i * s->n_cols;
    ref_decode(s->report->to, s->dst + i * s->dst_row, s->n_cols, y);
    struct row_sums r = {.bad = s->n_cols};
    for (size_t k = 0; k < s->n_cols; k++) {
        double diff = (double)y[k] - (double)x[k];
        r.error += diff * diff;
        r.energy += (double)x[k] * (double)x[k];
        if (!(fabs(diff) <= r.worst)) r.worst = fabs(diff);
    }
    s->sums[i] = r;
}

/* Makes the slab's memory large enough for rows of n_cols values. */
static bool reserve(struct job *j, size_t n_cols)
{
    j->slab_rows = n_cols < SLAB ? SLAB / n_cols : 1;
    if (j->slab_rows * n_cols > j->slab_cap) {
        free(j->x);
        free(j->y);
        j->slab_cap = j->slab_rows * n_cols;
        j->x = alloc_array(j->slab_cap, sizeof *j->x);
        j->y = alloc_array(j->slab_cap, sizeof *j->y);
    }
    if (j->slab_rows > j->sums_cap) {
        free(j->sums);
        j->sums_cap = j->slab_rows;
        j->sums = alloc_array(j->sums_cap, sizeof *j->sums);
    }
    return j->x && j->y && j->sums;
}

static enum status encode_slab(struct slab *s, struct err *e)
{
    const char *name = s->report->name;
    ref_parallel(s->n, read_row, s);
    for (size_t i = 0; i < s->n; i++) {
        if (s->sums[i].bad == s->n_cols) continue;
        return fail(e, ST_FORMAT, "tensor %s: row %zu, column %zu is not finite", name,
                    s->first + i, s->sums[i].bad);
    }
    if (!ref_encode_rows(s->report->to, s->x, s->n, s->n_cols, NULL, s->dst, NULL, NULL)) {
        return fail(e, ST_UNSUPPORTED, "tensor %s: no encoder for rows of %zu as %s", name,
                    s->n_cols, type_by_id((int64_t)s->report->to)->name);
    }
    ref_parallel(s->n, measure_row, s);
    for (size_t i = 0; i < s->n; i++) {
        s->error += s->sums[i].error;
        s->energy += s->sums[i].energy;
        s->report->worst = fmax(s->report->worst, s->sums[i].worst);
    }
    return ST_OK;
}

static enum status encode_tensor(struct job *j, const struct gguf_tensor *t, uint8_t *dst,
                                 struct quantize_tensor *report, struct err *e)
{
    const struct type_spec *to = type_by_id((int64_t)report->to);
    size_t n_cols = (size_t)t->dims[0], n_rows = (size_t)(t->n_elems / t->dims[0]);
    if (!reserve(j, n_cols)) return fail(e, ST_NOMEM, "no memory for rows of %zu values", n_cols);
    struct slab s = {.report = report,
                     .n_cols = n_cols,
                     .src = t->data,
                     .dst = dst,
                     .src_row = type_bytes(t->type, n_cols),
                     .dst_row = type_bytes(to, n_cols),
                     .x = j->x,
                     .y = j->y,
                     .sums = j->sums};
    for (; s.first < n_rows; s.first += s.n, s.src += s.n * s.src_row, s.dst += s.n * s.dst_row) {
        s.n = n_rows - s.first < j->slab_rows ? n_rows - s.first : j->slab_rows;
        if (interrupt_caught()) return fail(e, ST_CANCELLED, "interrupted, nothing written");
        enum status st = encode_slab(&s, e);
        if (st != ST_OK) return st;
        j->done += s.n * n_cols;
        if (j->o->label) progress_show(j->o->label, j->done, j->total);
    }
    report->nmse = s.error > 0 ? s.error / s.energy : 0;
    return ST_OK;
}

static enum status put_tensor(struct job *j, size_t i, struct err *e)
{
    const struct gguf_tensor *t = &j->in->tensors[i];
    const char *name = arena_strdup(&j->names, t->name.data, t->name.len);
    if (!name) return fail(e, ST_NOMEM, "no memory for names");
    struct quantize_tensor report = {.name = name, .from = t->type->id, .n_elems = t->n_elems};
    report.to = mix_type(&j->mix, name, t->n_dims, t->dims[0], report.from);
    report.bytes = t->bytes;
    const uint8_t *data = t->data;
    enum status st = ST_OK;
    if (report.to != report.from && t->n_elems > 0) {
        const struct type_spec *to = type_by_id((int64_t)report.to);
        report.bytes = type_bytes(to, (size_t)t->n_elems);
        data = j->data[i] = malloc(report.bytes);
        if (!data)
            return fail(e, ST_NOMEM, "tensor %s: no memory for %zu bytes", name, report.bytes);
        st = encode_tensor(j, t, j->data[i], &report, e);
    }
    if (st == ST_OK) st = gguf_put_tensor(j->writer, name, report.to, t->n_dims, t->dims, data, e);
    if (st == ST_OK && j->o->tensor) j->o->tensor(j->o->ctx, &report);
    return st;
}

static bool is_key(const struct gguf_kv *kv, const char *key)
{
    return kv->key.len == strlen(key) && memcmp(kv->key.data, key, kv->key.len) == 0;
}

static enum status put_metadata(struct job *j, struct err *e)
{
    enum status st = ST_OK;
    for (size_t i = 0; i < j->in->n_kv && st == ST_OK; i++) {
        const struct gguf_kv *kv = &j->in->kv[i];
        bool split = kv->key.len > 6 && memcmp(kv->key.data, "split.", 6) == 0;
        if (split || is_key(kv, "general.file_type") || is_key(kv, "general.quantization_version"))
            continue;
        st = gguf_put_kv(j->writer, kv, e);
    }
    if (st == ST_OK) {
        st = gguf_put_u32(j->writer, "general.file_type", (uint32_t)j->mix.file_type, e);
    }
    if (st == ST_OK) st = gguf_put_u32(j->writer, "general.quantization_version", 2, e);
    return st;
}

static void count_values(struct job *j)
{
    for (size_t i = 0; i < j->in->n_tensors; i++) {
        const struct gguf_tensor *t = &j->in->tensors[i];
        char name[GGUF_MAX_NAME + 1] = {0};
        memcpy(name, t->name.data, t->name.len < GGUF_MAX_NAME ? t->name.len : GGUF_MAX_NAME);
        enum tensor_type to = mix_type(&j->mix, name, t->n_dims, t->dims[0], t->type->id);
        if (to != t->type->id) j->total += (size_t)t->n_elems;
    }
}

enum status quantize_model(const struct gguf *in, const char *type_or_mix, const char *out_path,
                           const struct quantize_options *o, struct err *e)
{
    struct job j = {.in = in, .o = o};
    enum status st = mix_find(&j.mix, type_or_mix, e);
    if (st == ST_OK) st = mix_fit(&j.mix, in, e);
    if (st == ST_OK) st = gguf_writer_open(&j.writer, e);
    if (st != ST_OK) return st;
    j.data = alloc_array(in->n_tensors + 1, sizeof *j.data);
    if (!j.data) st = fail(e, ST_NOMEM, "no memory for %zu tensors", in->n_tensors);
    ref_set_threads(o->threads);
    count_values(&j);
    if (st == ST_OK) st = put_metadata(&j, e);
    for (size_t i = 0; i < in->n_tensors && st == ST_OK; i++) st = put_tensor(&j, i, e);
    if (st == ST_OK && interrupt_caught())
        st = fail(e, ST_CANCELLED, "interrupted, nothing written");
    size_t len = strlen(out_path);
    bool gzip = len > 3 && strcmp(out_path + len - 3, ".gz") == 0;
    if (st == ST_OK) st = gguf_writer_save(j.writer, out_path, gzip, e);
    if (o->label) progress_end();
    for (size_t i = 0; j.data && i < in->n_tensors; i++) free(j.data[i]);
    free(j.data);
    free(j.x);
    free(j.y);
    free(j.sums);
    arena_free(&j.names);
    gguf_writer_close(j.writer);
    return st;
}
