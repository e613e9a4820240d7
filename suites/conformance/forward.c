/* The suite of whole models: every tensor type and every variation of an architecture, on every
 * subject, prompt at once and token by token: logits within the propagated bound, top tokens by
 * the margin rule. The models are those of the golden files; that the reference itself is right
 * about them is the vectors suite's business. Random models stand in where the golden ones have
 * rows too short for a type's blocks: further architectures in all types, and all types of cache.
 * A model that the engine refuses is a failure: what may be missing is a device, or an operation
 * of a backend. */
#include "conformance/conformance.h"
#include "harness/files.h"
#include "engine/gguf/gguf.h"
#include "models/golden.h"
#include "judge/logits.h"
#include "models/prompts.h"
#include "models/source.h"
#include "subject/subject.h"
#include "models/synth.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPTS = 4, MAX_TOKENS = 256 };

/* One way of running the same model. */
static const struct mode {
    const char *name;
    enum judge_way way;
    size_t longest; /* tokens of a prompt; what is beyond is cut */
    enum tensor_type k, v;
    bool unfused, always_matmul;
} modes[] = {
    {"prefill", JUDGE_AT_ONCE, 48, TYPE_F32, TYPE_F32, false, false},
    {"decode", JUDGE_BY_ONE, 48, TYPE_F32, TYPE_F32, false, false},
    {"kv-f16", JUDGE_BY_ONE, 48, TYPE_F16, TYPE_F16, false, false},
    {"unfused", JUDGE_AT_ONCE, 48, TYPE_F32, TYPE_F32, true, false},
    {"matmul", JUDGE_BY_ONE, 48, TYPE_F32, TYPE_F32, false, true},
    {"last", JUDGE_LAST_ROWS, 9, TYPE_F32, TYPE_F32, false, false},
};
enum { N_MODES = sizeof modes / sizeof *modes };

struct prompts {
    int32_t tokens[MAX_TOKENS];
    size_t lengths[MAX_PROMPTS], n, total;
};

/* Prompts of the golden file, as many as fit; the longest is cut. */
static void read_prompts(struct test *t, const struct gguf *g, size_t longest, struct prompts *p)
{
    struct golden_prompt one;
    struct err e = {0};
    *p = (struct prompts){.n = 0};
    while (p->n < MAX_PROMPTS && golden_prompt(g, p->n, &one, &e)) {
        size_t take = one.n_tokens < longest ? one.n_tokens : longest;
        memcpy(p->tokens + p->total, one.tokens, take * sizeof *one.tokens);
        p->lengths[p->n++] = take;
        p->total += take;
    }
    if (e.st != ST_OK) test_fail(t, "%s", e.text);
    test_check(t, p->n > 0, "the file holds no prompts");
}

/* The case's subject, which evaluates models; else the case is over, before anything was
 * computed. */
static const struct subject *subject_of(struct test *t, const struct test_case *c)
{
    const struct subject *s;
    struct err e = {0};
    if (!test_ok(t, subject_open(&s, c->subject, &e), &e)) return NULL;
    if (s->backend) return s;
    test_skip(t, "%s does not evaluate models", c->subject);
    return NULL;
}

static void judge_engine(struct test *t, const struct subject *s, const struct mode *mode,
                         struct gguf *g, const struct expected *x)
{
    struct err e = {0};
    struct engine_model *model = NULL;
    struct engine_session *session = NULL;
    struct engine_session_options o = {.k_type = mode->k,
                                       .v_type = mode->v,
                                       .n_ctx = 0,
                                       .n_batch = 32,
                                       .unfused = mode->unfused,
                                       .always_matmul = mode->always_matmul};
    struct backend_stats before = {0}, after = {0};
    backend_ops_of(s->backend)->stats(s->backend, &before);
    enum status st = engine_model_from_gguf(&model, g, &e);
    if (st != ST_OK) {
        test_fail(t, "the engine refuses the model: %s", e.text);
        return;
    }
    st = engine_session_open(&session, model, s->backend, &o, &e);
    struct judged j = {0};
    if (st == ST_OK) st = judge_session(&j, session, x, mode->way, &e);
    if (test_ok(t, st, &e)) {
        t->result = j.r;
        if (j.worst == VERDICT_DEFECT)
            test_fail(t,
                      "prompt %zu, position %zu: top token %zu, the reference has %zu by %.4g "
                      "(bound %.4g)",
                      j.prompt, j.token, j.where.got, j.where.want, j.where.margin, j.where.bound);
    }
    backend_ops_of(s->backend)->stats(s->backend, &after);
    t->result.dispatches = after.dispatches - before.dispatches;
    snprintf(t->result.variant, sizeof t->result.variant, "%s", after.variant);
    engine_session_close(session);
    engine_model_close(model);
}

/* A model in a mode: what the reference says, and then the engine. */
static void judge_model(struct test *t, const struct subject *s, const struct mode *mode,
                        struct gguf *g, const int32_t *tokens, const size_t *lengths, size_t n)
{
    struct err e = {0};
    struct ref_model *ref = NULL;
    struct expected x;
    if (source_open(&ref, g, &e) != ST_OK) {
        test_fail(t, "the reference refuses the model: %s", e.text);
        return;
    }
    enum status st = expected_make(&x, ref, tokens, lengths, n, mode->k, mode->v, NULL, &e);
    if (test_ok(t, st, &e)) {
        judge_engine(t, s, mode, g, &x);
        expected_free(&x);
    }
    ref_model_close(ref);
}

static void run_forward(struct test *t, const struct test_case *c)
{
    const struct mode *mode = &modes[c->index];
    const struct subject *s = subject_of(t, c);
    char path[4096];
    struct gguf g;
    struct err e = {0};
    struct prompts p;
    if (!s) return;
    snprintf(path, sizeof path, "%s/forward/%s.gguf.gz", t->options->vectors, (const char *)c->arg);
    if (!test_ok(t, gguf_open(&g, path, &e), &e)) return;
    read_prompts(t, &g, mode->longest, &p);
    if (p.n) judge_model(t, s, mode, &g, p.tokens, p.lengths, p.n);
    gguf_close(&g);
}

/* ---- random models ------------------------------------------------------------------------ */

/* The tiny model of an architecture; the prompt is longer than its windows. */
static void judge_random(struct test *t, const struct test_case *c, const struct mode *mode)
{
    static const size_t lengths[] = {20};
    struct synth_options o = {
        .arch = c->arg, .shape = "tiny", .type = type_by_name(c->type), .seed = 1};
    struct synth_done done;
    struct prompt_set p;
    struct gguf g;
    struct err e = {0};
    const struct subject *s = subject_of(t, c);
    const char *dir = s ? temp_dir(t) : NULL;
    if (!dir) return;
    o.out = dir_path(t, dir, "model");
    if (o.out && test_ok(t, synth_write(&o, &done, &e), &e) &&
        test_ok(t, gguf_open(&g, o.out, &e), &e)) {
        test_check(t, done.n_other == 0, "%zu matrices have another type", done.n_other);
        if (test_ok(t, prompts_random(&p, 2, lengths, 1, 512, &e), &e)) {
            judge_model(t, s, mode, &g, p.tokens, p.lengths, p.n);
            prompts_free(&p);
        }
        gguf_close(&g);
    }
    temp_remove(dir);
}

static void run_random(struct test *t, const struct test_case *c)
{
    judge_random(t, c, &modes[c->index]);
}

static const enum tensor_type cache_types[] = {TYPE_F32,  TYPE_F16,  TYPE_BF16,  TYPE_Q8_0,
                                               TYPE_Q4_0, TYPE_Q5_1, TYPE_IQ4_NL};
enum { N_CACHE_TYPES = sizeof cache_types / sizeof *cache_types };

/* index: k, v and one way of evaluation. */
static void run_cache(struct test *t, const struct test_case *c)
{
    const struct mode mode = {.name = "cache",
                              .way = c->index % 2 ? JUDGE_AT_ONCE : JUDGE_BY_ONE,
                              .k = cache_types[c->index / 2 % N_CACHE_TYPES],
                              .v = cache_types[c->index / 2 / N_CACHE_TYPES]};
    judge_random(t, c, &mode);
}

/* NEOX RoPE and biases; caps and windows; experts and sinks: in every type, token by token. (The
 * prompt at once, also on a simulated GPU: `assay qualify --arch`, CTest entries
 * matrix.types.*) */
static void add_types(struct case_list *l, const char *subject)
{
    static const char *const archs[] = {"qwen2", "gemma2", "gpt-oss"};
    for (size_t a = 0; a < sizeof archs / sizeof *archs; a++)
        for (const struct type_spec *t = type_next(NULL); t; t = type_next(t)) {
            struct test_case c = {.suite = "forward",
                                  .type = t->name,
                                  .subject = subject,
                                  .run = run_random,
                                  .arg = archs[a],
                                  .index = 1,
                                  .shape = case_text(l, "%s-tiny-decode", archs[a])};
            if (t->use == USE_W) case_add(l, &c);
        }
}

/* Each cache type for K beside the next one for V, on llama and on a model with latent attention,
 * whose values are a part of its keys. (Golden models in rings, and alike types: suite cache.) */
static void add_caches(struct case_list *l, const char *subject)
{
    static const char *const archs[] = {"llama", "deepseek2"};
    for (size_t a = 0; a < sizeof archs / sizeof *archs; a++)
        for (size_t k = 0; k < N_CACHE_TYPES; k++) {
            const size_t v = (k + 1) % N_CACHE_TYPES;
            struct test_case c = {.suite = "forward",
                                  .type = "f32",
                                  .subject = subject,
                                  .run = run_cache,
                                  .arg = archs[a],
                                  .index = (v * N_CACHE_TYPES + k) * 2 + k % 2};
            c.shape = case_text(l, "%s-tiny-k-%s-v-%s", archs[a],
                                type_by_id((int64_t)cache_types[k])->name,
                                type_by_id((int64_t)cache_types[v])->name);
            case_add(l, &c);
        }
}

static bool begins(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* A simulated GPU takes a second per prompt of a small model. */
static bool simulated(const char *subject)
{
    const struct backend_ops *ops = backend_of_spec(subject);
    return ops && ops->simulated;
}

/* The processor itself, with the kernels that it chooses. */
static bool on_processor(const char *subject)
{
    const struct backend_ops *ops = backend_by_name(subject);
    return ops && ops->on_host && !ops->simulated;
}

/* The later modes judge how a session runs, not what an architecture or a type is: away from the
 * processor, which is quick, llama's models are enough for them, and one of those and one type on a
 * simulated GPU, which does not repeat layers by the dozen either. */
static size_t modes_on(const char *subject, const char *file)
{
    if (simulated(subject) && begins(file, "micro") && strcmp(file, "micro-q4_K") != 0) return 2;
    if (on_processor(subject) || begins(file, "micro") || strcmp(file, "llama-plain") == 0)
        return N_MODES;
    if (!simulated(subject)) return begins(file, "llama") ? N_MODES : 2;
    return strstr(file, "-layers") ? 0 : 1;
}

static void add_model(struct case_list *l, const char *subject, const char *file, const char *type,
                      const char *shape)
{
    const size_t n_modes = modes_on(subject, file);
    for (size_t m = 0; m < n_modes; m++) {
        struct test_case c = {.suite = "forward",
                              .type = type,
                              .subject = subject,
                              .quick = m < 2,
                              .run = run_forward,
                              .arg = file,
                              .index = m,
                              .shape = shape ? case_text(l, "%s-%s", shape, modes[m].name)
                                             : modes[m].name};
        case_add(l, &c);
    }
}

static int other_models(const struct dirent *d)
{
    return strstr(d->d_name, ".gguf.gz") && strncmp(d->d_name, "micro-", 6) != 0 &&
           strncmp(d->d_name, "primer", 6) != 0;
}

void suite_forward(struct case_list *l)
{
    char name[SUBJECT_NAME];
    struct dirent **names;
    const char *dir = case_text(l, "%s/forward", l->options->vectors);
    int n = scandir(dir, &names, other_models, alphasort);
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++) {
        const char *subject = case_text(l, "%s", name);
        if (strcmp(subject, "reference") == 0) continue;
        for (const struct type_spec *t = type_next(NULL); t; t = type_next(t))
            if (t->use == USE_W && t->id != TYPE_F32)
                add_model(l, subject, case_text(l, "micro-%s", t->name), t->name, NULL);
        for (int i = 0; i < n; i++) {
            const char *file =
                case_text(l, "%.*s", (int)(strstr(names[i]->d_name, ".gguf") - names[i]->d_name),
                          names[i]->d_name);
            add_model(l, subject, file, "f32", file);
        }
        if (!simulated(subject)) add_types(l, subject);
        add_caches(l, subject);
    }
    for (int i = 0; i < n; i++) free(names[i]);
    if (n >= 0) free(names);
}
