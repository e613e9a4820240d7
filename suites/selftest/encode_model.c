/* The suite of encoders, second half: which type each tensor gets, and whole models. */
#include "selftest/encode.h"
#include "judge/compare.h"
#include "models/mix.h"
#include "models/quantize.h"
#include "reference/ref.h"
#include "harness/random.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- mixes ---- */

/* The file lists what llama-quantize made of each tensor of one model. */
static void run_mix(struct test *t, const struct test_case *c)
{
    char path[1024], name[32];
    json_error_t je;
    struct err e = {0};
    struct mix m;
    snprintf(path, sizeof path, "%s/mixes/primer-4m.json", t->options->vectors);
    json_t *doc = json_load_file(path, 0, &je);
    if (!test_check(t, doc != NULL, "%s: %s", path, je.text)) return;
    json_t *rows = json_object_get(json_object_get(doc, "mixes"), c->type);
    snprintf(name, sizeof name, "mix:%s", c->type);
    test_check(t, json_object_size(rows) > 0, "%s: nothing on %s", path, c->type);
    if (test_ok(t, mix_find(&m, name, &e), &e)) {
        m.n_layers = 6;
        m.n_heads = 4;
        m.n_kv_heads = 2;
        m.has_output = true;
        const char *tensor;
        json_t *type;
        json_object_foreach(rows, tensor, type)
        {
            bool vector = strstr(tensor, "norm") != NULL;
            enum tensor_type got =
                mix_type(&m, tensor, vector ? 1 : 2, 256, vector ? TYPE_F32 : TYPE_F16);
            const char *got_name = type_by_id((int64_t)got)->name, *want = json_string_value(type);
            t->result.total++;
            if (strcasecmp(got_name, want) == 0) continue;
            t->result.bad++;
            test_fail(t, "%s is %s, expected %s", tensor, got_name, want);
        }
    }
    json_decref(doc);
}

/* Whatever the row length: a type whose blocks it fills, and the asked one if that is possible. */
static void run_fallback(struct test *t, const struct test_case *c)
{
    (void)c;
    static const uint64_t lengths[] = {256, 768, 384, 192, 96, 80, 7};
    for (const struct type_spec *s = type_next(NULL); s; s = type_next(s)) {
        struct err e = {0};
        struct mix m;
        if (s->use != USE_W) continue;
        if (!test_ok(t, mix_find(&m, s->name, &e), &e)) return;
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            uint64_t row = lengths[i];
            enum tensor_type got = mix_type(&m, "blk.0.ffn_up.weight", 2, row, TYPE_F32);
            const struct type_spec *spec = type_by_id((int64_t)got);
            bool fits = row % s->block_elems == 0;
            t->result.total++;
            if (row % spec->block_elems == 0 && (!fits || got == s->id)) continue;
            t->result.bad++;
            test_fail(t, "rows of %d as %s became %s", (int)row, s->name, spec->name);
        }
    }
}

/* ---- whole models ---- */

enum { N_COLS = 256, N_ROWS = 5 };

struct small_model {
    float matrix[N_COLS * N_ROWS], router[N_COLS * 2], norm[N_COLS];
    char dir[64], in[96], out[96];
};

static void fill_model(struct small_model *m, struct rng *r)
{
    for (size_t i = 0; i < N_COLS * N_ROWS; i++) m->matrix[i] = (float)rng_gauss(r);
    for (size_t i = 0; i < N_COLS * 2; i++) m->router[i] = (float)rng_gauss(r);
    for (size_t i = 0; i < N_COLS; i++) m->norm[i] = (float)rng_gauss(r);
}

static enum status save_model(const struct small_model *m, struct err *e)
{
    struct gguf_writer *w;
    const uint64_t matrix[] = {N_COLS, N_ROWS}, router[] = {N_COLS, 2}, norm[] = {N_COLS};
    enum status st = gguf_writer_open(&w, e);
    if (st != ST_OK) return st;
    st = gguf_put_str(w, "general.architecture", "llama", e);
    if (!st) st = gguf_put_u32(w, "general.file_type", 0, e);
    if (!st) st = gguf_put_u32(w, "llama.block_count", 1, e);
    if (!st) st = gguf_put_u32(w, "split.count", 1, e);
    if (!st) st = gguf_put_tensor(w, "blk.0.ffn_up.weight", TYPE_F32, 2, matrix, m->matrix, e);
    if (!st)
        st = gguf_put_tensor(w, "blk.0.ffn_gate_inp.weight", TYPE_F32, 2, router, m->router, e);
    if (!st) st = gguf_put_tensor(w, "blk.0.ffn_norm.weight", TYPE_F32, 1, norm, m->norm, e);
    if (!st) st = gguf_writer_save(w, m->in, false, e);
    gguf_writer_close(w);
    return st;
}

static void expect_tensor(struct test *t, const struct gguf *g, const char *name,
                          enum tensor_type type, const void *bytes, size_t n)
{
    const struct gguf_tensor *x = gguf_find_tensor(g, name);
    if (!test_check(t, x && x->type->id == type && x->bytes == n, "%s is not as expected", name)) {
        return;
    }
    compare_bytes(&t->result, x->data, bytes, n);
}

/* The file that came out: types, bytes and metadata. */
static void check_model(struct test *t, const struct small_model *m)
{
    struct gguf g;
    struct err e = {0};
    uint32_t v;
    uint8_t blocks[N_ROWS * 144];
    if (!test_ok(t, gguf_open(&g, m->out, &e), &e)) return;
    ref_encode(TYPE_Q4_K, m->matrix, N_COLS * N_ROWS, NULL, blocks);
    expect_tensor(t, &g, "blk.0.ffn_up.weight", TYPE_Q4_K, blocks, sizeof blocks);
    expect_tensor(t, &g, "blk.0.ffn_gate_inp.weight", TYPE_F32, m->router, sizeof m->router);
    expect_tensor(t, &g, "blk.0.ffn_norm.weight", TYPE_F32, m->norm, sizeof m->norm);
    test_check(t, gguf_get_u32(&g, "general.file_type", &v, NULL) == ST_OK && v == 14,
               "general.file_type is wrong");
    test_check(t, gguf_get_u32(&g, "general.quantization_version", &v, NULL) == ST_OK && v == 2,
               "general.quantization_version is wrong");
    test_check(t, gguf_get_u32(&g, "llama.block_count", &v, NULL) == ST_OK && v == 1,
               "a key was lost");
    test_check(t, !gguf_find(&g, "split.count"), "split.count is still there");
    gguf_close(&g);
}

static enum status quantize_file(const struct small_model *m, struct err *e)
{
    struct gguf g;
    struct quantize_options o = {0};
    enum status st = save_model(m, e);
    if (st == ST_OK) st = gguf_open(&g, m->in, e);
    if (st != ST_OK) return st;
    st = quantize_model(&g, "q4_K", m->out, &o, e);
    gguf_close(&g);
    return st;
}

static void run_model(struct test *t, const struct test_case *c)
{
    (void)c;
    struct small_model *m = test_alloc(t, 1, sizeof *m);
    struct rng r = rng_of(t);
    struct err e = {0};
    if (!m) return;
    snprintf(m->dir, sizeof m->dir, "/tmp/assay-XXXXXX");
    if (!test_check(t, mkdtemp(m->dir) != NULL, "no directory under /tmp")) return;
    snprintf(m->in, sizeof m->in, "%s/in.gguf", m->dir);
    snprintf(m->out, sizeof m->out, "%s/out.gguf", m->dir);
    fill_model(m, &r);
    if (test_ok(t, quantize_file(m, &e), &e)) check_model(t, m);
    unlink(m->out);
    m->matrix[N_COLS + 3] = NAN;
    e = (struct err){0};
    test_check(t, quantize_file(m, &e) == ST_FORMAT && strstr(e.text, "row 1, column 3"),
               "a NaN was not refused: %s", e.text);
    test_check(t, access(m->out, F_OK) != 0, "a file was left behind");
    unlink(m->in);
    rmdir(m->dir);
}

void encode_add_model_cases(struct case_list *l)
{
    static const char *const names[] = {
#define FILE_TYPE(type, number)
#define MIX(name, base, number) #name,
#define RULE(mix, role, when, n, type)
#define FALLBACK(type, other)
#define KEEP(text)
#include "models/mixes.def"
    };
    struct test_case c = {.suite = "encode", .op = "mix", .quick = true, .run = run_mix};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        c.type = names[i];
        case_add(l, &c);
    }
    case_add(l, &(struct test_case){.suite = "encode",
                                    .op = "mix",
                                    .shape = "fallback",
                                    .quick = true,
                                    .run = run_fallback});
    case_add(
        l, &(struct test_case){
               .suite = "encode", .op = "model", .type = "q4_K", .quick = true, .run = run_model});
}
