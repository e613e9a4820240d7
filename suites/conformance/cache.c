/* The suite of KV caches: every type for keys and for values, in whole models, in full layers and
 * in rings; and the refusal where heads do not fill the blocks. */
#include "conformance/conformance.h"
#include "harness/files.h"
#include "engine/gguf/gguf.h"
#include "models/golden.h"
#include "judge/logits.h"
#include "models/source.h"
#include "subject/subject.h"
#include "models/synth.h"

#include <stdio.h>
#include <string.h>

enum { N_TOKENS = 64 };
#define LATENT "deepseek2" /* values are a part of the keys, and of their type */

static const struct pair {
    enum tensor_type k, v;
} pairs[] = {
    {TYPE_F16, TYPE_F16},   {TYPE_BF16, TYPE_BF16}, {TYPE_Q8_0, TYPE_Q8_0},
    {TYPE_Q4_0, TYPE_Q4_0}, {TYPE_Q5_1, TYPE_Q5_1}, {TYPE_IQ4_NL, TYPE_IQ4_NL},
    {TYPE_Q8_0, TYPE_Q4_0}, {TYPE_F32, TYPE_Q5_1},  {TYPE_IQ4_NL, TYPE_F16},
};
enum { N_PAIRS = sizeof pairs / sizeof *pairs };

struct model {
    struct gguf g;
    struct engine_model *m;
    int32_t tokens[N_TOKENS];
};

/* A random model, and any tokens; of latents no golden model has some that fill blocks. */
static bool open_random(struct test *t, struct model *x, const char *arch)
{
    const char *dir = temp_dir(t), *path = dir ? dir_path(t, dir, "model") : NULL;
    const struct synth_options o = {
        .arch = arch, .shape = "tiny", .type = type_by_id(TYPE_F32), .out = path, .seed = 1};
    struct synth_done done;
    struct err e = {0};
    if (!path) return false;
    enum status st = synth_write(&o, &done, &e);
    if (st == ST_OK) st = gguf_open(&x->g, path, &e);
    temp_remove(dir);
    if (st == ST_OK) st = engine_model_from_gguf(&x->m, &x->g, &e);
    if (!test_ok(t, st, &e)) return false;
    const uint32_t n_vocab = engine_model_shape(x->m).n_vocab;
    for (uint32_t i = 0; i < N_TOKENS; i++) x->tokens[i] = (int32_t)(i * 37 % n_vocab);
    return true;
}

static bool open_model(struct test *t, struct model *x, const char *file)
{
    char path[4096];
    struct golden_prompt p;
    struct err e = {0};
    if (strcmp(file, LATENT) == 0) return open_random(t, x, LATENT);
    snprintf(path, sizeof path, "%s/forward/%s.gguf.gz", t->options->vectors, file);
    if (!test_ok(t, gguf_open(&x->g, path, &e), &e)) return false;
    if (!test_ok(t, engine_model_from_gguf(&x->m, &x->g, &e), &e)) return false;
    for (size_t i = 0; golden_prompt(&x->g, i, &p, &e); i++)
        if (p.n_tokens >= N_TOKENS) {
            memcpy(x->tokens, p.tokens, N_TOKENS * sizeof *x->tokens);
            return true;
        }
    return test_check(t, false, "no prompt has %d tokens: %s", N_TOKENS, e.text);
}

static void close_model(struct model *x)
{
    engine_model_close(x->m);
    gguf_close(&x->g);
}

static bool expect(struct test *t, const struct model *x, const struct pair *p, double *logits,
                   double *dev)
{
    static const size_t length = N_TOKENS;
    struct ref_model *ref = NULL;
    struct ref_err why = {{0}, false};
    struct err e = {0};
    struct ref_forward f = {
        .tokens = x->tokens, .lengths = &length, .n_seqs = 1, .k_type = p->k, .v_type = p->v};
    if (!test_ok(t, source_open(&ref, &x->g, &e), &e)) return false;
    bool ok = test_check(t, ref_forward(ref, &f, logits, dev, &why), "reference: %s", why.text);
    ref_model_close(ref);
    return ok;
}

/* By batches of 7, which wrap the rings of 32 cells. */
static bool evaluate(struct test *t, const struct subject *s, const struct model *x,
                     const struct pair *p, float *out)
{
    struct err e = {0};
    struct engine_session *session = NULL;
    struct engine_session_options o = {.k_type = p->k, .v_type = p->v, .n_batch = 7};
    enum status st = engine_session_open(&session, x->m, s->backend, &o, &e);
    if (st == ST_OK) st = engine_eval(session, x->tokens, N_TOKENS, true, &e);
    const size_t n_vocab = engine_model_shape(x->m).n_vocab;
    bool ok = test_ok(t, st, &e);
    for (size_t i = 0; ok && i < N_TOKENS; i++)
        memcpy(out + i * n_vocab, engine_logits(session, i), n_vocab * sizeof *out);
    engine_session_close(session);
    return ok;
}

static bool has_backend(struct test *t, const struct test_case *c, const struct subject **s)
{
    struct err e = {0};
    if (!test_ok(t, subject_open(s, c->subject, &e), &e)) return false;
    if (!(*s)->backend) test_skip(t, "%s does not evaluate models", c->subject);
    return (*s)->backend != NULL;
}

static void run_pair(struct test *t, const struct test_case *c)
{
    const struct subject *s;
    struct model x = {0};
    if (!has_backend(t, c, &s)) return;
    if (open_model(t, &x, c->arg)) {
        const size_t n_vocab = engine_model_shape(x.m).n_vocab, n = N_TOKENS * n_vocab;
        double *logits = test_alloc(t, n, sizeof *logits), *dev = test_alloc(t, n, sizeof *dev);
        float *got = test_alloc(t, n, sizeof *got);
        struct backend_stats before = {0}, after = {0};
        backend_ops_of(s->backend)->stats(s->backend, &before);
        if (logits && dev && got && expect(t, &x, &pairs[c->index], logits, dev) &&
            evaluate(t, s, &x, &pairs[c->index], got))
            compare_within(&t->result, got, logits, dev, N_TOKENS, n_vocab);
        backend_ops_of(s->backend)->stats(s->backend, &after);
        t->result.dispatches = after.dispatches - before.dispatches;
    }
    close_model(&x);
}

/* Heads of 16 dimensions are half a block. */
static void run_refusal(struct test *t, const struct test_case *c)
{
    const struct subject *s;
    struct model x = {0};
    if (!has_backend(t, c, &s)) return;
    if (open_model(t, &x, c->arg))
        for (size_t i = 0; i < N_PAIRS; i++) {
            const struct type_spec *k = type_by_id(pairs[i].k), *v = type_by_id(pairs[i].v);
            struct engine_session *session = NULL;
            struct err e = {0};
            struct engine_session_options o = {.k_type = pairs[i].k, .v_type = pairs[i].v};
            enum status st = engine_session_open(&session, x.m, s->backend, &o, &e);
            const bool blocks = k->block_elems > 1 || v->block_elems > 1;
            test_check(
                t, blocks ? st == ST_UNSUPPORTED && strstr(e.text, "multiple of 32") : st == ST_OK,
                "keys of %s, values of %s: %s", k->name, v->name, *e.text ? e.text : "not refused");
            engine_session_close(session);
        }
    close_model(&x);
}

void suite_cache(struct case_list *l)
{
    static const char *const models[] = {"llama-head-dim-32", "gemma2-plain", LATENT};
    char name[SUBJECT_NAME];
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++) {
        const char *subject = case_text(l, "%s", name);
        if (strcmp(subject, "reference") == 0) continue;
        struct test_case c = {.suite = "cache", .subject = subject, .quick = true};
        for (size_t i = 0; i < N_PAIRS; i++)
            for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
                c.type = case_text(l, "%s-%s", type_by_id(pairs[i].k)->name,
                                   type_by_id(pairs[i].v)->name);
                c.shape = c.arg = models[m];
                c.quick = strcmp(models[m], LATENT) != 0;
                c.run = run_pair;
                c.index = i;
                case_add(l, &c);
            }
        c.type = NULL;
        c.quick = true;
        c.op = "refusal";
        c.shape = c.arg = "llama-plain";
        c.run = run_refusal;
        case_add(l, &c);
    }
}
