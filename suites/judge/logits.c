/* Judging logits; see judge.h. */
#include "judge/logits.h"

#include <math.h>
#include <stdlib.h>

const char *verdict_name(enum verdict v)
{
    static const char *const names[] = {"agree", "tie", "defect", "not_run"};
    return names[v];
}

struct judged_top judge_top(const float *got, const double *want, const double *bound, size_t n)
{
    struct judged_top t = {.want = ref_argmax(want, n)};
    for (size_t i = 1; i < n; i++)
        if (got[i] > got[t.got] || isnan(got[t.got])) t.got = i;
    t.margin = want[t.want] - want[t.got];
    t.bound = bound[t.want] + bound[t.got];
    if (t.got == t.want && !isnan(got[t.got]))
        t.verdict = VERDICT_AGREE;
    else
        t.verdict = t.margin <= t.bound && !isnan(got[t.got]) ? VERDICT_TIE : VERDICT_DEFECT;
    return t;
}

enum status expected_make(struct expected *x, const struct ref_model *m, const int32_t *tokens,
                          const size_t *lengths, size_t n_prompts, enum tensor_type k,
                          enum tensor_type v, const struct ref_forward *probe, struct err *e)
{
    *x = (struct expected){.tokens = tokens,
                           .lengths = lengths,
                           .n_prompts = n_prompts,
                           .n_vocab = ref_model_shape(m).n_vocab};
    for (size_t i = 0; i < n_prompts; i++) x->n_tokens += lengths[i];
    x->logits = alloc_array(x->n_tokens * x->n_vocab, sizeof(double));
    x->dev = alloc_array(x->n_tokens * x->n_vocab, sizeof(double));
    struct ref_forward f = probe ? *probe : (struct ref_forward){0};
    f.tokens = tokens;
    f.lengths = lengths;
    f.n_seqs = n_prompts;
    f.k_type = k;
    f.v_type = v;
    struct ref_err why = {{0}, false};
    enum status st = ST_OK;
    if (!x->logits || !x->dev)
        st = fail(e, ST_NOMEM, "no memory for %zu x %zu logits", x->n_tokens, x->n_vocab);
    else if (!ref_forward(m, &f, x->logits, x->dev, &why))
        st = fail(e, why.unsupported ? ST_UNSUPPORTED : ST_RANGE, "reference: %s", why.text);
    if (st != ST_OK) expected_free(x);
    return st;
}

void expected_free(struct expected *x)
{
    free(x->logits);
    free(x->dev);
    x->logits = x->dev = NULL;
}

/* Writes the logits of all n positions of one prompt into out (n, n_vocab). */
static enum status run_prompt(struct engine_session *s, const int32_t *tokens, size_t n,
                              size_t n_vocab, enum judge_way way, float *out, struct err *e)
{
    enum status st = engine_rewind(s, 0, e);
    if (way == JUDGE_AT_ONCE && st == ST_OK) st = engine_eval(s, tokens, n, true, e);
    for (size_t i = 0; i < n && st == ST_OK; i++) {
        if (way == JUDGE_BY_ONE) st = engine_eval(s, tokens + i, 1, false, e);
        if (way == JUDGE_LAST_ROWS) {
            st = engine_rewind(s, 0, e);
            if (st == ST_OK) st = engine_eval(s, tokens, i + 1, false, e);
        }
        const float *row = st == ST_OK ? engine_logits(s, way == JUDGE_AT_ONCE ? i : 0) : NULL;
        for (size_t k = 0; row && k < n_vocab; k++) out[i * n_vocab + k] = row[k];
    }
    return st;
}

static void judge_positions(struct judged *j, const struct expected *x, const float *got)
{
    size_t prompt = 0, start = 0;
    for (size_t i = 0; i < x->n_tokens; i++) {
        if (i == start + x->lengths[prompt]) start += x->lengths[prompt++];
        size_t at = i * x->n_vocab;
        struct judged_top t = judge_top(got + at, x->logits + at, x->dev + at, x->n_vocab);
        if (prompt == 0 && i + 1 == x->lengths[0]) j->first = t;
        if (t.verdict <= j->worst) continue;
        j->worst = t.verdict;
        j->prompt = prompt;
        j->token = i - start;
        j->where = t;
    }
}

enum status judge_collect(float **out, struct engine_session *s, const struct expected *x,
                          enum judge_way way, struct err *e)
{
    float *got = alloc_array(x->n_tokens * x->n_vocab, sizeof *got);
    enum status st = got ? ST_OK : fail(e, ST_NOMEM, "no memory for %zu logits", x->n_tokens);
    size_t at = 0;
    for (size_t p = 0; p < x->n_prompts && st == ST_OK; p++) {
        st =
            run_prompt(s, x->tokens + at, x->lengths[p], x->n_vocab, way, got + at * x->n_vocab, e);
        at += x->lengths[p];
    }
    *out = st == ST_OK ? got : NULL;
    if (st != ST_OK) free(got);
    return st;
}

void judge_logits(struct judged *j, const float *got, const struct expected *x)
{
    *j = (struct judged){.r = {.nmse_worst_row = NAN}, .worst = VERDICT_AGREE};
    compare_within(&j->r, got, x->logits, x->dev, x->n_tokens, x->n_vocab);
    judge_positions(j, x, got);
    if (j->worst == VERDICT_DEFECT) j->r.status = CASE_FAIL;
}

enum status judge_session(struct judged *j, struct engine_session *s, const struct expected *x,
                          enum judge_way way, struct err *e)
{
    float *got;
    enum status st = judge_collect(&got, s, x, way, e);
    *j = (struct judged){.r = {.nmse_worst_row = NAN}, .worst = VERDICT_AGREE};
    if (st == ST_OK) judge_logits(j, got, x);
    free(got);
    return st;
}
