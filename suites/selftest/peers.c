/* The suite of peers: llama.cpp's own library as a subject, on fresh random data. Optional: takes
 * libggml-base.so from the directory of --ggml or $ASSAY_GGML (ci/peers fetches one); without, its
 * cases are skipped.
 *
 *   facts   names and sizes of all types are the same on both sides
 *   decode  random bytes, and blocks by ggml's quantizers: every decoder gives ggml's bits
 *   encode  blocks by our encoders mean the same to both decoders, and are about as near to the
 *           values as those of ggml's quantizers
 *   speed   decoding side by side on one thread; figures in the message, never a verdict
 */
#include "selftest/selftest.h"
#include "judge/bounds.h"
#include "judge/compare.h"
#include "reference/ref.h"
#include "subject/subject.h"
#include "harness/random.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FINITE_BLOCKS = 1000000, /* of random bytes, that decode to finite values */
    CHUNK = 1 << 18,         /* weights per call */
    ROWS = 64,               /* of fresh data per kind */
    COLS = 1024,
};

/* ---- the library --------------------------------------------------------------------------- */

/* Its functions, declared here from their documented behaviour; opened once per process. */
static struct ggml {
    void *lib;
    const char *(*type_name)(int type);
    int64_t (*block_elems)(int type);
    size_t (*type_size)(int type);
    bool (*requires_imatrix)(int type);
    size_t (*quantize)(int type, const float *src, void *dst, int64_t start, int64_t n_rows,
                       int64_t n_per_row, const float *imatrix);
} ggml;

static bool load(struct test *t, const char *name, void *fn)
{
    void *address = dlsym(ggml.lib, name);
    if (!address) return test_check(t, false, "the library has no %s", name);
    memcpy(fn, &address, sizeof address); /* POSIX: the same representation */
    return true;
}

static bool open_library(struct test *t)
{
    char path[4096];
    const char *dir = t->options->ggml ? t->options->ggml : getenv("ASSAY_GGML");
    if (ggml.lib) return true;
    if (!dir || !*dir) {
        test_skip(t, "no libggml-base.so: give its directory by --ggml or ASSAY_GGML "
                     "(ci/peers fetches one)");
        return false;
    }
    snprintf(path, sizeof path, "%s/libggml-base.so", dir);
    ggml.lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!ggml.lib) return test_check(t, false, "%s", dlerror());
    if (load(t, "ggml_type_name", &ggml.type_name) &&
        load(t, "ggml_blck_size", &ggml.block_elems) &&
        load(t, "ggml_type_size", &ggml.type_size) &&
        load(t, "ggml_quantize_requires_imatrix", &ggml.requires_imatrix) &&
        load(t, "ggml_quantize_chunk", &ggml.quantize))
        return true;
    dlclose(ggml.lib);
    ggml.lib = NULL;
    return false;
}

typedef void decode_row(const void *blocks, float *out, int64_t n);

static decode_row *ggml_decoder(struct test *t, const struct type_spec *type)
{
    char name[64];
    decode_row *fn = NULL;
    if (type->id == TYPE_F16)
        snprintf(name, sizeof name, "ggml_fp16_to_fp32_row");
    else if (type->id == TYPE_BF16)
        snprintf(name, sizeof name, "ggml_bf16_to_fp32_row");
    else
        snprintf(name, sizeof name, "dequantize_row_%s", type->name);
    return load(t, name, &fn) ? fn : NULL;
}

/* ---- facts --------------------------------------------------------------------------------- */

static void run_facts(struct test *t, const struct test_case *c)
{
    (void)c;
    if (!open_library(t)) return;
    for (int id = 0; id < TYPE_ID_END; id++) {
        const struct type_spec *type = type_by_id(id);
        const char *name = ggml.type_name(id);
        const int64_t elems = ggml.block_elems(id);
        const size_t bytes = ggml.type_size(id);
        t->result.total++;
        if (!type) {
            test_check(t, elems == 0, "id %d is removed here, and %s there", id, name);
            continue;
        }
        test_check(t, name && strcmp(name, type->name) == 0, "id %d is %s here, and %s there", id,
                   type->name, name ? name : "nothing");
        test_check(t, elems == type->block_elems && bytes == type->block_bytes,
                   "%s: %u values in %u bytes here, %lld in %zu there", type->name,
                   type->block_elems, type->block_bytes, (long long)elems, bytes);
    }
}

/* ---- decoders ------------------------------------------------------------------------------ */

struct chunk {
    const struct type_spec *type;
    decode_row *theirs;
    const struct subject *subject;
    size_t n, bytes; /* weights and their bytes */
    uint8_t *blocks;
    float *got, *want;
    size_t done;   /* blocks judged in the chunks before */
    size_t finite; /* of them, blocks of finite values only */
};

static bool chunk_make(struct test *t, const struct test_case *c, size_t n, struct chunk *k)
{
    struct err e = {0};
    *k = (struct chunk){.type = c->arg, .n = n};
    if (!open_library(t)) return false;
    k->theirs = ggml_decoder(t, k->type);
    if (!k->theirs || !test_ok(t, subject_open(&k->subject, c->subject, &e), &e)) return false;
    k->bytes = type_bytes(k->type, n);
    k->blocks = test_alloc(t, k->bytes, 1);
    k->got = test_alloc(t, n, sizeof *k->got);
    k->want = test_alloc(t, n, sizeof *k->want);
    return k->blocks && k->got && k->want;
}

static bool same_bits(const float *a, const float *b, size_t n)
{
    uint32_t differ = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        const uint32_t nans = ((x & INT32_MAX) > 0x7f800000u) & ((y & INT32_MAX) > 0x7f800000u);
        differ |= (uint32_t)(x != y) & ~nans;
    }
    return differ == 0;
}

static bool all_finite(const float *x, size_t n)
{
    uint32_t worst = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7f800000u;
        worst = bits > worst ? bits : worst;
    }
    return worst != 0x7f800000u;
}

/* Decodes on both sides; false at the first chunk that differs. */
static bool chunk_judge(struct test *t, struct chunk *k)
{
    struct err e = {0};
    const size_t width = k->type->block_elems, n_blocks = k->n / width;
    for (size_t i = 0; i < k->n; i++) k->got[i] = k->want[i] = NAN;
    const enum status st = subject_decode(k->subject, k->type->id, k->blocks, k->n, k->got, &e);
    if (st == ST_UNSUPPORTED) test_skip(t, "%s", e.text);
    if (!test_ok(t, st, &e)) return false;
    k->theirs(k->blocks, k->want, (int64_t)k->n);
    if (!same_bits(k->got, k->want, k->n)) {
        compare_bits(&t->result, k->got, k->want, n_blocks, width);
        const size_t i = t->result.first_bad;
        test_fail(t, "block %zu of the stream, element %zu: %.9g, ggml has %.9g",
                  k->done + i / width, i % width, (double)k->got[i], (double)k->want[i]);
        return false;
    }
    for (size_t i = 0; i < n_blocks; i++) k->finite += all_finite(k->want + i * width, width);
    k->done += n_blocks;
    t->result.total += k->n;
    return true;
}

/* Random bytes, whatever scales they make, until enough blocks of finite values went by. */
static void run_random(struct test *t, const struct test_case *c)
{
    struct chunk k;
    struct rng r = rng_of(t);
    if (!chunk_make(t, c, CHUNK, &k)) return;
    while (k.finite < FINITE_BLOCKS && k.done < 4 * (size_t)FINITE_BLOCKS) {
        for (size_t i = 0; i < k.bytes; i += 8) {
            const uint64_t bits = rng_u64(&r);
            memcpy(k.blocks + i, &bits, k.bytes - i < 8 ? k.bytes - i : 8);
        }
        if (!chunk_judge(t, &k)) return;
    }
    if (!test_check(t, k.finite >= FINITE_BLOCKS, "%zu of %zu random blocks are finite", k.finite,
                    k.done))
        return;
    snprintf(t->result.message, sizeof t->result.message, "%zu blocks of random bytes, %zu finite",
             k.done, k.finite);
}

/* ---- data that a model could hold ------------------------------------------------------------ */

enum data { DATA_NORMAL, DATA_HEAVY, DATA_UNIFORM, DATA_SHIFTED, DATA_OUTLIERS, DATA_KINDS };
static const char *const data_names[] = {"normal", "heavy", "uniform", "shifted", "outliers"};

static void fill(enum data kind, struct rng *r, float *x)
{
    for (size_t i = 0; i < ROWS * COLS; i++) {
        const double g = rng_gauss(r);
        double v = g;
        if (kind == DATA_HEAVY) v = g * fabs(g);
        if (kind == DATA_UNIFORM) v = 2 * rng_uniform(r) - 1;
        if (kind == DATA_SHIFTED) v = g + 1.5;
        if (kind == DATA_OUTLIERS && rng_below(r, 97) == 0) v = 20 * g;
        x[i] = (float)(0.02 * v);
    }
}

static bool quantize_theirs(struct test *t, const struct type_spec *type, const float *x,
                            uint8_t *blocks)
{
    float flat[COLS];
    for (size_t i = 0; i < COLS; i++) flat[i] = 1;
    const float *imatrix = ggml.requires_imatrix((int)type->id) ? flat : NULL;
    const size_t bytes = ggml.quantize((int)type->id, x, blocks, 0, ROWS, COLS, imatrix);
    return test_check(t, bytes == type_bytes(type, ROWS * COLS), "ggml made %zu bytes of %zu",
                      bytes, type_bytes(type, ROWS * COLS));
}

static void run_encoded(struct test *t, const struct test_case *c)
{
    struct chunk k;
    struct rng r = rng_of(t);
    float *x = test_alloc(t, ROWS * COLS, sizeof *x);
    if (!x || !chunk_make(t, c, ROWS * COLS, &k)) return;
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        fill((enum data)kind, &r, x);
        if (!quantize_theirs(t, k.type, x, k.blocks) || !chunk_judge(t, &k)) return;
    }
    snprintf(t->result.message, sizeof t->result.message, "%zu blocks by ggml's quantizer", k.done);
}

static double nmse(const float *x, const float *y, size_t n)
{
    double error = 0, energy = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)y[i] - (double)x[i];
        error += d * d;
        energy += (double)x[i] * (double)x[i];
    }
    return error / energy;
}

/* Keeps the worst ratio in the result. */
static void judge_nmse(struct test *t, const char *data, double ours, double theirs)
{
    const bool within = compare_error(&t->result, ours, bound_encoder(theirs));
    test_check(t, within, "%s data: NMSE %.6g, ggml's quantizer has %.6g", data, ours, theirs);
}

static void run_encode(struct test *t, const struct test_case *c)
{
    struct chunk k;
    struct rng r = rng_of(t);
    char figures[400] = "NMSE here and there:";
    float *x = test_alloc(t, ROWS * COLS, sizeof *x), *y = test_alloc(t, ROWS * COLS, sizeof *y);
    if (!x || !y || !chunk_make(t, c, ROWS * COLS, &k)) return;
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        fill((enum data)kind, &r, x);
        if (!test_check(t, ref_encode_rows(k.type->id, x, ROWS, COLS, NULL, k.blocks, NULL, NULL),
                        "no encoder") ||
            !chunk_judge(t, &k))
            return;
        const double ours = nmse(x, k.want, ROWS * COLS);
        if (!quantize_theirs(t, k.type, x, k.blocks)) return;
        k.theirs(k.blocks, y, ROWS * COLS);
        const double theirs = nmse(x, y, ROWS * COLS);
        const size_t at = strlen(figures);
        snprintf(figures + at, sizeof figures - at, "%s %s %.4g %.4g", kind ? "," : "",
                 data_names[kind], ours, theirs);
        judge_nmse(t, data_names[kind], ours, theirs);
    }
    if (!*t->result.message) snprintf(t->result.message, sizeof t->result.message, "%s", figures);
}

/* ---- speed --------------------------------------------------------------------------------- */

enum { SPEED_ROWS = 256, SPEED_COLS = 4096 };

struct speed {
    const struct type_spec *type;
    const uint8_t *blocks;
    float *out;
    decode_row *theirs;
    struct backend *cpu;
    struct op_get_rows rows;
    struct err e;
};

static void speed_reference(struct speed *s)
{
    ref_decode(s->type->id, s->blocks, (size_t)SPEED_ROWS * SPEED_COLS, s->out);
}

static void speed_ggml(struct speed *s)
{
    s->theirs(s->blocks, s->out, (int64_t)SPEED_ROWS * SPEED_COLS);
}

static void speed_cpu(struct speed *s)
{
    const struct backend_ops *ops = backend_ops_of(s->cpu);
    if (ops->get_rows(s->cpu, &s->rows, &s->e) == ST_OK) ops->flush(s->cpu, &s->e);
}

/* Million weights per second, of the fastest of the passes that fit in a tenth of a second. */
static double speed_of(struct speed *s, void (*pass)(struct speed *))
{
    const double start = now_seconds();
    double best = INFINITY;
    pass(s); /* the first one touches the memory */
    do {
        const double before = now_seconds();
        pass(s);
        best = fmin(best, now_seconds() - before);
    } while (now_seconds() - start < 0.1);
    return SPEED_ROWS * (double)SPEED_COLS / best / 1e6;
}

/* The engine's decoder as get_rows runs it, on a backend of one thread. */
static bool speed_open(struct test *t, struct speed *s)
{
    const struct backend_options one = {.n_threads = 1};
    int32_t ids[SPEED_ROWS];
    for (int32_t i = 0; i < SPEED_ROWS; i++) ids[i] = i;
    if (!test_ok(t, backend_open(&s->cpu, "cpu", &one, &s->e), &s->e)) return false;
    const struct backend_ops *ops = backend_ops_of(s->cpu);
    const size_t n = (size_t)SPEED_ROWS * SPEED_COLS;
    s->rows = (struct op_get_rows){
        .w = {.type = s->type->id, .n_in = SPEED_COLS, .n_out = SPEED_ROWS}, .n = SPEED_ROWS};
    ops->import(s->cpu, s->blocks, type_bytes(s->type, n), &s->rows.w.at.buf, &s->e);
    ops->alloc(s->cpu, sizeof ids, &s->rows.ids.buf, &s->e);
    ops->alloc(s->cpu, n * sizeof *s->out, &s->rows.out.buf, &s->e);
    if (s->e.st == ST_OK) ops->upload(s->cpu, s->rows.ids, ids, sizeof ids, &s->e);
    return test_ok(t, s->e.st, &s->e);
}

static void speed_close(struct speed *s)
{
    if (!s->cpu) return;
    const struct backend_ops *ops = backend_ops_of(s->cpu);
    ops->release(s->cpu, s->rows.w.at.buf);
    ops->release(s->cpu, s->rows.ids.buf);
    ops->release(s->cpu, s->rows.out.buf);
    backend_close(s->cpu);
}

static void run_speed(struct test *t, const struct test_case *c)
{
    struct speed s = {.type = c->arg};
    const size_t n = (size_t)SPEED_ROWS * SPEED_COLS, bytes = type_bytes(s.type, n);
    struct rng r = rng_of(t);
    uint8_t *blocks = test_alloc(t, bytes, 1);
    s.out = test_alloc(t, n, sizeof *s.out);
    if (!blocks || !s.out || !open_library(t) || !(s.theirs = ggml_decoder(t, s.type))) return;
    for (size_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)rng_u64(&r) & 0x3f; /* no infinities */
    s.blocks = blocks;
    if (speed_open(t, &s)) {
        const double cpu = speed_of(&s, speed_cpu), theirs = speed_of(&s, speed_ggml),
                     reference = speed_of(&s, speed_reference);
        snprintf(t->result.message, sizeof t->result.message,
                 "million weights/s on one thread: cpu %.0f, ggml %.0f, reference %.0f", cpu,
                 theirs, reference);
        test_ok(t, s.e.st, &s.e);
    }
    speed_close(&s);
}

/* ---- collecting ---------------------------------------------------------------------------- */

/* ggml has no decoder of rows for the two types that need none. */
static bool has_decoder(const struct type_spec *type)
{
    return type_decodes(type) && type->id != TYPE_F32 && type->id != TYPE_F64;
}

static void add(struct case_list *l, const char *op, const struct type_spec *type,
                const char *shape, const char *subject,
                void (*run)(struct test *, const struct test_case *))
{
    case_add(l, &(struct test_case){.suite = "peers",
                                    .op = op,
                                    .type = type ? type->name : NULL,
                                    .shape = shape,
                                    .subject = subject,
                                    .run = run,
                                    .arg = type});
}

static void add_subject(struct case_list *l, const char *subject)
{
    for (const struct type_spec *type = type_next(NULL); type; type = type_next(type)) {
        if (!has_decoder(type)) continue;
        add(l, "decode", type, "random", subject, run_random);
        if (type->use != USE_W) continue;
        add(l, "decode", type, "encoded", subject, run_encoded);
        if (strcmp(subject, "reference") == 0) add(l, "encode", type, NULL, subject, run_encode);
    }
}

/* Unless told otherwise, the reference and the CPU: the streams are long. */
void suite_peers(struct case_list *l)
{
    char name[SUBJECT_NAME];
    const char *subjects = l->options->subjects ? l->options->subjects : "reference,cpu";
    add(l, "facts", NULL, NULL, NULL, run_facts);
    for (size_t i = 0; subject_name_at(subjects, i, name, sizeof name); i++)
        add_subject(l, case_text(l, "%s", name));
    for (const struct type_spec *type = type_next(NULL); type; type = type_next(type))
        if (has_decoder(type)) add(l, "speed", type, NULL, NULL, run_speed);
}
