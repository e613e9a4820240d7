/* The suite of sequences and rings: several sequences in one batch, each as if it were alone;
 * layers with a window whose cells are used over and over; going back. What each sequence should
 * give comes from the reference, which evaluates it alone; memory starts as NaN. */
#include "conformance/conformance.h"
#include "models/golden.h"
#include "judge/logits.h"
#include "harness/poison.h"
#include "models/source.h"
#include "subject/subject.h"

#include <stdio.h>
#include <string.h>

enum { N_SEQS = 3, LONGEST = 100, N_ALL = LONGEST + 41 + 23, BATCH = 8 };
/* The first leaves windows of 16 tokens, and rings of 32 cells, far behind. */
static const size_t lengths[N_SEQS] = {LONGEST, 41, 23};

struct stage {
    struct test *t;
    struct backend *b; /* the subject's, behind poison */
    struct engine_model *m;
    struct expected x;     /* of the sequences, one after the other */
    int32_t tokens[N_ALL]; /* likewise */
    size_t start[N_SEQS];  /* where each begins */
    size_t done[N_SEQS];   /* how much of each has been evaluated */
    size_t vocab;
    bool windowed;
    float *got; /* (N_ALL, vocab) */
    struct err e;
};

static bool did(struct stage *s, enum status st)
{
    return test_ok(s->t, st, &s->e);
}

static struct engine_session *open_session(struct stage *s, struct engine_session_options o)
{
    struct engine_session *session = NULL;
    for (size_t q = 0; q < N_SEQS; q++) s->done[q] = 0;
    if (o.n_batch == 0) o.n_batch = BATCH;
    o.n_ctx = LONGEST;
    did(s, engine_session_open(&session, s->m, s->b, &o, &s->e));
    return session;
}

/* Logits of row i of the last call belong to token `at` of all. */
static bool keep_row(struct stage *s, const struct engine_session *session, size_t i, size_t at)
{
    const float *row = engine_logits(session, i);
    if (!test_check(s->t, row != NULL, "row %zu of logits is missing", i)) return false;
    memcpy(s->got + at * s->vocab, row, s->vocab * sizeof *row);
    return true;
}

/* n more tokens of the text of sequence `text`, as sequence `seq` of the session. */
static bool append(struct stage *s, struct engine_session *session, uint32_t seq, size_t text,
                   size_t n)
{
    uint32_t seqs[LONGEST];
    bool keep[LONGEST];
    const size_t at = s->start[text] + s->done[text];
    for (size_t i = 0; i < n; i++) {
        seqs[i] = seq;
        keep[i] = true;
    }
    struct engine_batch b = {s->tokens + at, seqs, keep, n};
    if (!did(s, engine_eval_batch(session, &b, &s->e))) return false;
    for (size_t i = 0; i < n; i++)
        if (!keep_row(s, session, i, at + i)) return false;
    s->done[text] += n;
    return true;
}

static const struct axes logit_axes = {.row = "position", .col = "token"};

/* Tokens [from, from + n) of a text against the reference. */
static void judge(struct stage *s, size_t text, size_t from, size_t n, const char *what)
{
    const size_t at = (s->start[text] + from) * s->vocab;
    compare_within_on(&s->t->result, s->got + at, s->x.logits + at, s->x.dev + at, n, s->vocab,
                      &logit_axes);
    if (s->t->result.bad) test_fail(s->t, "sequence %zu is wrong %s", text, what);
}

static void judge_all(struct stage *s, const char *what)
{
    for (size_t q = 0; q < N_SEQS; q++) judge(s, q, 0, s->done[q], what);
}

/* ---- behaviours
 * ------------------------------------------------------------------------------- */

/* Two or three tokens of each sequence in turn, until all are through. */
static bool weave(struct stage *s, struct engine_session *session, size_t share, const bool *mask)
{
    int32_t tokens[N_ALL];
    uint32_t seqs[N_ALL];
    bool keep[N_ALL];
    size_t places[N_ALL], n = 0, row = 0;
    for (size_t round = 0; n < N_ALL; round++)
        for (uint32_t q = 0; q < N_SEQS; q++)
            for (size_t i = 0; i < share + (round + q) % 2 && s->done[q] < lengths[q]; i++) {
                places[n] = s->start[q] + s->done[q]++;
                tokens[n] = s->tokens[places[n]];
                keep[n] = mask ? mask[places[n]] : true;
                seqs[n++] = q;
            }
    struct engine_batch b = {tokens, seqs, keep, n};
    if (!did(s, engine_eval_batch(session, &b, &s->e))) return false;
    for (size_t i = 0; i < n; i++)
        if (keep[i] && !keep_row(s, session, row++, places[i])) return false;
    return test_check(s->t, !engine_logits(session, row), "more rows of logits than were kept");
}

static void together(struct stage *s, size_t n_batch, bool full_cells, const char *what)
{
    struct engine_session_options o = {
        .n_seqs = N_SEQS, .n_batch = n_batch, .full_cells = full_cells};
    struct engine_session *session = open_session(s, o);
    if (session && weave(s, session, 2, NULL)) judge_all(s, what);
    engine_session_close(session);
}

static void woven(struct stage *s)
{
    together(s, BATCH, false, "in batches of three sequences");
}

static void woven_at_once(struct stage *s)
{
    together(s, N_ALL, true, "when all tokens of all sequences are one batch");
}

static void woven_by_one(struct stage *s)
{
    together(s, 1, false, "token by token of three sequences");
}

/* Every token's logits, then some: the same bits, if one kernel serves few rows and many. */
static void some_rows(struct stage *s)
{
    const struct engine_session_options o = {.n_seqs = N_SEQS, .always_matmul = true};
    bool mask[N_ALL];
    size_t n = N_ALL * s->vocab;
    float *all = test_alloc(s->t, n, sizeof *all);
    struct engine_session *one = open_session(s, o);
    struct engine_session *two = NULL;
    if (!all || !one || !weave(s, one, 2, NULL)) goto out;
    memcpy(all, s->got, n * sizeof *all);
    two = open_session(s, o);
    for (size_t i = 0; i < N_ALL; i++) mask[i] = i % 3 == 1 || i % 7 == 2;
    if (!two || !weave(s, two, 2, mask)) goto out;
    compare_bits_on(&s->t->result, s->got, all, N_ALL, s->vocab, &logit_axes);
    if (s->t->result.bad) test_fail(s->t, "logits depend on which rows are kept");
    judge_all(s, "when some rows are kept");
out:
    engine_session_close(one);
    engine_session_close(two);
}

/* A long prompt by batches that wrap the rings, by one batch, and with a cell for every token. */
static void wraps(struct stage *s)
{
    static const struct {
        size_t n_batch;
        bool full_cells;
        const char *what;
    } ways[] = {{1, false, "token by token"},
                {7, false, "in batches of 7"},
                {32, false, "in batches of 32"},
                {LONGEST, false, "in one batch"},
                {7, true, "in batches of 7, with all cells"}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct engine_session_options o = {.n_batch = ways[i].n_batch,
                                           .full_cells = ways[i].full_cells};
        struct engine_session *session = open_session(s, o);
        if (session && append(s, session, 0, 0, LONGEST)) judge(s, 0, 0, LONGEST, ways[i].what);
        engine_session_close(session);
    }
}

/* Goes back by n tokens and appends them anew; refused: nothing may have changed. */
static bool back(struct stage *s, struct engine_session *session, size_t n, bool refused)
{
    struct err e = {0};
    const size_t pos = s->done[0];
    enum status st = engine_rewind(session, pos - n, &e);
    if (!test_check(s->t, refused ? st == ST_RANGE && *e.text : st == ST_OK,
                    "going back by %zu of %zu: %s", n, pos, *e.text ? e.text : "not refused"))
        return false;
    if (!test_check(s->t, engine_position(session) == (refused ? pos : pos - n),
                    "position %zu after going back by %zu of %zu", engine_position(session), n,
                    pos))
        return false;
    if (refused) return true;
    s->done[0] -= n;
    return append(s, session, 0, 0, n);
}

/* Rings of 32 cells hold 16 tokens beyond a window of 16. */
static void goes_back(struct stage *s)
{
    struct engine_session *session = open_session(s, (struct engine_session_options){0});
    if (!session || !append(s, session, 0, 0, 70)) goto out;
    if (!back(s, session, 1, false) || !back(s, session, 16, false)) goto out;
    /* Whatever the ring holds now is behind what it held before. */
    if (s->windowed && (!back(s, session, 40, true) || !back(s, session, 69, true))) goto out;
    if (!s->windowed && !back(s, session, 69, false)) goto out;
    if (!append(s, session, 0, 0, LONGEST - 70)) goto out;
    judge(s, 0, 0, LONGEST, "after going back within the window's cells");
    if (!did(s, engine_rewind(session, 0, &s->e))) goto out;
    s->done[0] = 0;
    if (append(s, session, 0, 0, LONGEST)) judge(s, 0, 0, LONGEST, "after going back to the start");
out:
    engine_session_close(session);
}

/* One sequence starts anew, with another text, between the others. */
static void starts_anew(struct stage *s)
{
    struct engine_session *session =
        open_session(s, (struct engine_session_options){.n_seqs = N_SEQS});
    if (!session || !append(s, session, 0, 0, 30) || !append(s, session, 1, 1, 41)) goto out;
    if (!append(s, session, 2, 0, 20)) goto out; /* goes on with text 0, at a position it is not */
    s->done[0] -= 20;
    if (!append(s, session, 0, 0, 20)) goto out;
    if (!did(s, engine_seq_rewind(session, 2, 0, &s->e))) goto out;
    if (!append(s, session, 2, 2, 23) || !append(s, session, 0, 0, LONGEST - 50)) goto out;
    judge_all(s, "when the third started anew");
    test_check(s->t,
               engine_seq_position(session, 0) == LONGEST &&
                   engine_seq_position(session, 1) == 41 && engine_seq_position(session, 2) == 23,
               "positions %zu, %zu, %zu", engine_seq_position(session, 0),
               engine_seq_position(session, 1), engine_seq_position(session, 2));
out:
    engine_session_close(session);
}

/* What cannot be is one line, and the session goes on. */
static void refuses(struct stage *s)
{
    struct engine_session *session =
        open_session(s, (struct engine_session_options){.n_seqs = N_SEQS});
    const uint32_t beyond = N_SEQS, last = N_SEQS - 1;
    struct engine_batch b = {.tokens = s->tokens, .seqs = &beyond, .n = 1};
    struct err e[4] = {{0}, {0}, {0}, {0}};
    if (!session) return;
    test_check(s->t, engine_eval_batch(session, &b, &e[0]) == ST_RANGE, "a sequence too many");
    test_check(s->t, engine_seq_rewind(session, beyond, 0, &e[1]) == ST_RANGE,
               "going back in a sequence that is not");
    test_check(s->t, engine_seq_rewind(session, last, 1, &e[2]) == ST_RANGE,
               "going back to what is still to come");
    if (append(s, session, 0, 0, LONGEST)) {
        b = (struct engine_batch){.tokens = s->tokens, .n = 1};
        test_check(s->t, engine_eval_batch(session, &b, &e[3]) == ST_RANGE,
                   "a token beyond the context");
        judge(s, 0, 0, LONGEST, "between refusals");
    }
    engine_session_close(session);
}

static const struct behaviour {
    const char *name;
    void (*run)(struct stage *s);
    bool quick;
} behaviours[] = {
    {"woven", woven, true},
    {"woven-at-once", woven_at_once, false},
    {"woven-by-one", woven_by_one, false},
    {"some-rows", some_rows, false},
    {"wraps", wraps, true},
    {"back", goes_back, true},
    {"anew", starts_anew, false},
    {"refuses", refuses, true},
};
enum { N_BEHAVIOURS = sizeof behaviours / sizeof *behaviours };

/* ---- cases
 * ------------------------------------------------------------------------------------ */

static bool read_texts(struct stage *s, const struct gguf *g)
{
    static const size_t from[N_SEQS] = {0, 50, 17};
    struct golden_prompt p, longest = {0};
    size_t n = 0;
    for (size_t i = 0; golden_prompt(g, i, &p, &s->e); i++)
        if (p.n_tokens > longest.n_tokens) longest = p;
    if (!did(s, s->e.st) || !test_check(s->t, longest.n_tokens >= LONGEST,
                                        "the longest prompt has %zu tokens", longest.n_tokens))
        return false;
    for (size_t q = 0; q < N_SEQS; q++) {
        s->start[q] = n;
        memcpy(s->tokens + n, longest.tokens + from[q], lengths[q] * sizeof *s->tokens);
        n += lengths[q];
    }
    return true;
}

static bool expect(struct stage *s, const struct gguf *g)
{
    struct ref_model *ref = NULL;
    bool ok = did(s, source_open(&ref, g, &s->e)) &&
              did(s, expected_make(&s->x, ref, s->tokens, lengths, N_SEQS, TYPE_F32, TYPE_F32,
                                   &(struct ref_forward){.n_ctx = LONGEST}, &s->e));
    ref_model_close(ref);
    return ok;
}

static void run_behaviour(struct test *t, const struct test_case *c)
{
    struct stage s = {.t = t};
    const struct subject *subject;
    struct gguf g;
    char path[4096];
    if (!did(&s, subject_open(&subject, c->subject, &s.e))) return;
    if (!subject->backend) {
        test_skip(t, "%s does not evaluate models", c->subject);
        return;
    }
    const struct backend_ops *ops = backend_by_name(c->subject);
    if (ops && ops->simulated && strcmp(c->arg, "gpt-oss-plain") != 0) {
        test_skip(t, "takes minutes on %s; sequences.%s.gpt-oss-plain runs there", c->subject,
                  c->op);
        return;
    }
    snprintf(path, sizeof path, "%s/forward/%s.gguf.gz", t->options->vectors, (const char *)c->arg);
    if (!did(&s, gguf_open(&g, path, &s.e))) return;
    struct backend_stats before = {0}, after = {0};
    backend_ops_of(subject->backend)->stats(subject->backend, &before);
    if (did(&s, poison_open(&s.b, subject->backend, &s.e)) && read_texts(&s, &g) &&
        did(&s, engine_model_from_gguf(&s.m, &g, &s.e)) && expect(&s, &g)) {
        s.vocab = engine_model_shape(s.m).n_vocab;
        s.windowed = engine_model_shape(s.m).window > 0;
        s.got = test_alloc(t, N_ALL * s.vocab, sizeof *s.got);
        if (s.got) behaviours[c->index].run(&s);
    }
    backend_ops_of(subject->backend)->stats(subject->backend, &after);
    t->result.dispatches = after.dispatches - before.dispatches;
    snprintf(t->result.variant, sizeof t->result.variant, "%s", after.variant);
    expected_free(&s.x);
    engine_model_close(s.m);
    poison_close(s.b);
    gguf_close(&g);
}

void suite_sequences(struct case_list *l)
{
    /* Full layers; windows; windows with sinks and experts; latents; positions that are looked up;
     * queries that grow with the position. */
    static const char *const models[] = {"llama-plain",      "gemma3-plain", "gpt-oss-plain",
                                         "deepseek2-mla-v3", "gpt2-plain",   "mistral3-temp"};
    char name[SUBJECT_NAME];
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++) {
        const char *subject = case_text(l, "%s", name);
        if (strcmp(subject, "reference") == 0) continue;
        for (size_t k = 0; k < N_BEHAVIOURS; k++)
            for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
                struct test_case c = {.suite = "sequences",
                                      .op = behaviours[k].name,
                                      .shape = models[m],
                                      .subject = subject,
                                      .quick = behaviours[k].quick && (m == 1 || m == 2),
                                      .run = run_behaviour,
                                      .arg = models[m],
                                      .index = k};
                case_add(l, &c);
            }
    }
}
