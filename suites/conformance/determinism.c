/* The suite of how a session behaves: what was computed before, how a prompt is cut into batches,
 * what lies in memory, how many threads there are, must not matter. Same shapes give the same
 * bits; another cut of the prompt gives other sums, within the bound that the reference
 * propagates. */
#include "conformance/conformance.h"
#include "models/golden.h"
#include "judge/logits.h"
#include "harness/poison.h"
#include "models/source.h"
#include "subject/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TOKENS = 37, N_SHORT = 11 }; /* beyond a tile of 32; a part of it */

/* A model on a subject, a prompt, and what a fresh session makes of it, all at once. */
struct stage {
    struct test *t;
    struct backend *b;
    struct gguf g;
    struct engine_model *m;
    int32_t tokens[N_TOKENS];
    size_t vocab;
    float *fresh; /* (N_TOKENS, vocab) */
    float *again; /* the same, for what is compared with it */
    struct err e;
};

/* ---- running ----------------------------------------------------------------------------- */

static bool did(struct stage *s, enum status st)
{
    return test_ok(s->t, st, &s->e);
}

/* Appends n tokens in calls of at most `piece` (0: one call); logits of every position to out. */
static bool append(struct stage *s, struct engine_session *session, const int32_t *tokens, size_t n,
                   size_t piece, float *out)
{
    for (size_t i = 0; i < n;) {
        size_t take = piece && piece < n - i ? piece : n - i;
        if (!did(s, engine_eval(session, tokens + i, take, true, &s->e))) return false;
        for (size_t k = 0; k < take; k++)
            memcpy(out + (i + k) * s->vocab, engine_logits(session, k), s->vocab * sizeof *out);
        i += take;
    }
    return true;
}

static struct engine_session *open_session(struct stage *s, struct backend *b,
                                           struct engine_session_options o)
{
    struct engine_session *session = NULL;
    did(s, engine_session_open(&session, s->m, b, &o, &s->e));
    return session;
}

/* The prompt on a session of its own. */
static bool run_fresh(struct stage *s, struct backend *b, struct engine_session_options o,
                      size_t piece, float *out)
{
    struct engine_session *session = open_session(s, b, o);
    bool ok = session && append(s, session, s->tokens, N_TOKENS, piece, out);
    engine_session_close(session);
    return ok;
}

static const struct axes logit_axes = {.row = "position", .col = "token"};

/* Bits of rows [first, first + n). */
static void same_bits(struct stage *s, size_t first, size_t n, const char *after)
{
    size_t at = first * s->vocab;
    compare_bits_on(&s->t->result, s->again + at, s->fresh + at, n, s->vocab, &logit_axes);
    if (s->t->result.bad) test_fail(s->t, "the logits differ %s", after);
}

/* ---- behaviours -------------------------------------------------------------------------- */

static void again_and_again(struct stage *s)
{
    struct engine_session *session = open_session(s, s->b, (struct engine_session_options){0});
    for (int i = 0; session && i < 12 && s->t->result.status == CASE_PASS; i++) {
        if (!did(s, engine_rewind(session, 0, &s->e))) break;
        if (!append(s, session, s->tokens, N_TOKENS, 0, s->again)) break;
        same_bits(s, 0, N_TOKENS, "from one evaluation of the same tokens to the next");
    }
    engine_session_close(session);
}

/* Sizes of batches by the session's own limit, and by the caller's calls. */
static void splits(struct stage *s, enum tensor_type kv)
{
    static const size_t sizes[] = {1, 2, 3, 5, 7, 16, 32, 36};
    struct ref_model *ref = NULL;
    struct expected x;
    size_t n = N_TOKENS;
    if (!did(s, source_open(&ref, &s->g, &s->e))) return;
    if (did(s, expected_make(&x, ref, s->tokens, &n, 1, kv, kv, NULL, &s->e))) {
        struct engine_session_options o = {.k_type = kv, .v_type = kv};
        bool ok = run_fresh(s, s->b, o, 0, s->fresh);
        if (ok) compare_within(&s->t->result, s->fresh, x.logits, x.dev, n, s->vocab);
        for (size_t i = 0; ok && i < n * s->vocab; i++) x.logits[i] = (double)s->fresh[i];
        for (size_t i = 0; ok && i < 2 * (sizeof sizes / sizeof *sizes); i++) {
            size_t size = sizes[i / 2];
            o.n_batch = i % 2 ? size : 0;
            ok = run_fresh(s, s->b, o, i % 2 ? 0 : size, s->again);
            if (!ok) break;
            compare_within(&s->t->result, s->again, x.logits, x.dev, n, s->vocab);
            if (s->t->result.bad) test_fail(s->t, "batches of %zu give other logits", size);
        }
        expected_free(&x);
    }
    ref_model_close(ref);
}

static void splits_f32(struct stage *s)
{
    splits(s, TYPE_F32);
}

static void splits_f16(struct stage *s)
{
    splits(s, TYPE_F16);
}

static void splits_q8_0(struct stage *s)
{
    splits(s, TYPE_Q8_0);
}

static void splits_q5_1(struct stage *s)
{
    splits(s, TYPE_Q5_1);
}

/* A short prompt, a long one, the short one again; then the second half anew after another. */
static void longer_and_back(struct stage *s)
{
    int32_t other[N_TOKENS];
    size_t part = N_SHORT * s->vocab;
    struct engine_session *session = open_session(s, s->b, (struct engine_session_options){0});
    float *scrap = test_alloc(s->t, N_TOKENS * s->vocab, sizeof *scrap);
    if (!session || !scrap) goto out;
    for (size_t i = 0; i < N_TOKENS; i++) other[i] = s->tokens[N_TOKENS - 1 - i];
    if (!append(s, session, s->tokens, N_SHORT, 0, s->fresh)) goto out;
    if (!append(s, session, s->tokens + N_SHORT, N_TOKENS - N_SHORT, 0, s->fresh + part)) goto out;
    if (!did(s, engine_rewind(session, 0, &s->e))) goto out;
    if (!append(s, session, other, N_TOKENS, 0, scrap)) goto out;
    if (!did(s, engine_rewind(session, 0, &s->e))) goto out;
    if (!append(s, session, s->tokens, N_SHORT, 0, s->again)) goto out;
    same_bits(s, 0, N_SHORT, "after a longer prompt");
    if (!append(s, session, other, N_TOKENS - N_SHORT, 0, scrap)) goto out;
    if (!did(s, engine_rewind(session, N_SHORT, &s->e))) goto out;
    if (!append(s, session, s->tokens + N_SHORT, N_TOKENS - N_SHORT, 0, s->again + part)) goto out;
    same_bits(s, 0, N_TOKENS, "after going back to the middle of another prompt");
out:
    engine_session_close(session);
}

/* Memory that starts as NaN, and cells that hold NaN when they are taken anew. */
static void poisoned_memory(struct stage *s)
{
    struct backend *b;
    size_t caches = 0, part = N_SHORT * s->vocab;
    if (!did(s, poison_open(&b, s->b, &s->e))) return;
    struct engine_session *session = NULL;
    if (!run_fresh(s, b, (struct engine_session_options){0}, 0, s->again)) goto out;
    same_bits(s, 0, N_TOKENS, "when memory starts as NaN");
    session = open_session(s, s->b, (struct engine_session_options){0});
    if (!session || !append(s, session, s->tokens, N_SHORT, 0, s->fresh) ||
        !append(s, session, s->tokens + N_SHORT, N_TOKENS - N_SHORT, 0, s->fresh + part))
        goto out;
    engine_session_close(session);
    session = open_session(s, b, (struct engine_session_options){0});
    if (!session || !append(s, session, s->tokens, N_TOKENS, 0, s->again)) goto out;
    if (!did(s, engine_rewind(session, N_SHORT, &s->e))) goto out;
    if (!did(s, poison_cells(b, N_SHORT, &caches, &s->e))) goto out;
    test_check(s->t, caches > 0, "no cache was written");
    if (!append(s, session, s->tokens + N_SHORT, N_TOKENS - N_SHORT, 0, s->again + part)) goto out;
    same_bits(s, N_SHORT, N_TOKENS - N_SHORT, "when the cells to come hold NaN");
out:
    engine_session_close(session);
    poison_close(b);
}

/* Two models in turns on one backend, each with a session of its own. */
static void two_models(struct stage *s)
{
    char path[4096];
    struct gguf g;
    struct engine_model *m = NULL;
    struct engine_session *one = NULL, *two = NULL;
    struct engine_session_options o = {.n_ctx = 128};
    snprintf(path, sizeof path, "%s/forward/llama-mqa.gguf.gz", s->t->options->vectors);
    if (!did(s, gguf_open(&g, path, &s->e))) return;
    if (!run_fresh(s, s->b, o, 9, s->fresh)) goto out;
    if (!did(s, engine_model_from_gguf(&m, &g, &s->e))) goto out;
    if (!did(s, engine_session_open(&two, m, s->b, &o, &s->e))) goto out;
    one = open_session(s, s->b, o);
    size_t other_vocab = engine_model_shape(m).n_vocab;
    for (size_t i = 0; one && i < N_TOKENS; i += 9) {
        size_t take = N_TOKENS - i < 9 ? N_TOKENS - i : 9;
        int32_t token = (int32_t)(i % other_vocab);
        if (!did(s, engine_eval(two, &token, 1, false, &s->e))) goto out;
        if (!append(s, one, s->tokens + i, take, 0, s->again + i * s->vocab)) goto out;
    }
    same_bits(s, 0, N_TOKENS, "with another model at work between");
out:
    engine_session_close(one);
    engine_session_close(two);
    engine_model_close(m);
    gguf_close(&g);
}

/* The size of the context, and whether all logits are kept or only the last ones. */
static void room(struct stage *s)
{
    static const size_t sizes[] = {N_TOKENS, N_TOKENS + 1, 64, 100};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (!run_fresh(s, s->b, (struct engine_session_options){.n_ctx = sizes[i]}, 0, s->again))
            return;
        same_bits(s, 0, N_TOKENS, "with the size of the context");
    }
}

/* Threads share rows, never sums. */
static void threads(struct stage *s)
{
    static const int counts[] = {1, 2, 3, 8};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct backend *b = NULL;
        struct backend_options o = {.n_threads = counts[i]};
        if (!did(s, backend_open(&b, "cpu", &o, &s->e))) return;
        if (run_fresh(s, b, (struct engine_session_options){0}, 0, s->again))
            same_bits(s, 0, N_TOKENS, "with the number of threads");
        backend_close(b);
    }
}

static const struct behaviour {
    const char *name;
    void (*run)(struct stage *s);
    const char *only; /* subject, or NULL */
    bool quick;
} behaviours[] = {
    {"again", again_and_again, NULL, true},
    {"splits", splits_f32, NULL, true},
    {"splits-kv-f16", splits_f16, NULL, false},
    {"splits-kv-q8_0", splits_q8_0, NULL, false},
    {"splits-kv-q5_1", splits_q5_1, NULL, false},
    {"longer-and-back", longer_and_back, NULL, true},
    {"poison", poisoned_memory, NULL, true},
    {"two-models", two_models, NULL, false},
    {"room", room, NULL, false},
    {"threads", threads, "cpu", true},
};
enum { N_BEHAVIOURS = sizeof behaviours / sizeof *behaviours };

/* ---- cases ------------------------------------------------------------------------------- */

/* Tokens of the file's prompts, one after the other, as often as needed. */
static bool read_tokens(struct stage *s)
{
    struct golden_prompt p;
    size_t n = 0;
    while (n < N_TOKENS) {
        size_t before = n;
        for (size_t i = 0; n < N_TOKENS && golden_prompt(&s->g, i, &p, &s->e); i++)
            for (size_t k = 0; k < p.n_tokens && n < N_TOKENS; k++) s->tokens[n++] = p.tokens[k];
        if (!did(s, s->e.st)) return false;
        if (!test_check(s->t, n > before, "the file holds no prompts")) return false;
    }
    return true;
}

/* Token by token, a model takes long where a processor plays a GPU's threads one by one. */
static bool is_slow(const struct test_case *c)
{
    bool splits = strncmp(behaviours[c->index].name, "splits", 6) == 0;
    const struct backend_ops *ops = backend_by_name(c->subject);
    return splits && ops && ops->simulated;
}

static void run_behaviour(struct test *t, const struct test_case *c)
{
    const struct behaviour *how = &behaviours[c->index];
    struct stage s = {.t = t};
    const struct subject *subject;
    char path[4096];
    if (!did(&s, subject_open(&subject, c->subject, &s.e))) return;
    if (is_slow(c) && strcmp(c->type, "q4_K") != 0) {
        test_skip(t, "takes minutes on %s; determinism.%s.q4_K runs there", c->subject, c->op);
        return;
    }
    s.b = subject->backend;
    if (!s.b) {
        test_skip(t, "%s does not evaluate models", c->subject);
        return;
    }
    snprintf(path, sizeof path, "%s/forward/%s.gguf.gz", t->options->vectors, (const char *)c->arg);
    if (!did(&s, gguf_open(&s.g, path, &s.e))) return;
    struct backend_stats before = {0}, after = {0};
    backend_ops_of(s.b)->stats(s.b, &before);
    if (did(&s, engine_model_from_gguf(&s.m, &s.g, &s.e)) && read_tokens(&s)) {
        s.vocab = engine_model_shape(s.m).n_vocab;
        s.fresh = test_alloc(t, N_TOKENS * s.vocab, sizeof *s.fresh);
        s.again = test_alloc(t, N_TOKENS * s.vocab, sizeof *s.again);
        if (s.fresh && s.again &&
            run_fresh(&s, s.b, (struct engine_session_options){0}, 0, s.fresh))
            how->run(&s);
        backend_ops_of(s.b)->stats(s.b, &after);
        t->result.dispatches = after.dispatches - before.dispatches;
        snprintf(t->result.variant, sizeof t->result.variant, "%s", after.variant);
        test_check(t, t->result.dispatches > 0, "nothing was dispatched to %s", c->subject);
    }
    engine_model_close(s.m);
    gguf_close(&s.g);
}

void suite_determinism(struct case_list *l)
{
    static const struct {
        const char *type, *file;
    } models[] = {{"f32", "llama-plain"}, {"q4_K", "micro-q4_K"}, {"q8_0", "micro-q8_0"}};
    char name[SUBJECT_NAME];
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++) {
        const char *subject = case_text(l, "%s", name);
        if (strcmp(subject, "reference") == 0) continue;
        for (size_t k = 0; k < N_BEHAVIOURS; k++) {
            if (behaviours[k].only && strcmp(behaviours[k].only, subject) != 0) continue;
            for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
                struct test_case c = {.suite = "determinism",
                                      .op = behaviours[k].name,
                                      .type = models[m].type,
                                      .shape = models[m].file,
                                      .subject = subject,
                                      .quick = behaviours[k].quick && m == 1,
                                      .run = run_behaviour,
                                      .arg = models[m].file,
                                      .index = k};
                if (is_slow(&c)) c.quick = false;
                case_add(l, &c);
            }
        }
    }
}
