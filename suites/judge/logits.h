/* Judging logits: an engine's against the reference's on the same bytes. Each logit has the
 * bound that the reference carries through the model (ref_forward's dev); the top tokens have a
 * rule of their own, since a rounding may exchange two tokens that are nearly equal. */
#ifndef JUDGE_H
#define JUDGE_H

#include "judge/compare.h"
#include "engine/engine.h"
#include "reference/ref.h"

/* AGREE: both have the same top token. TIE: they differ, and the reference's margin between the two
 * tokens is within the bounds of their logits. DEFECT: the margin is above, or a logit is NaN. */
enum verdict { VERDICT_AGREE, VERDICT_TIE, VERDICT_DEFECT, VERDICT_NOT_RUN };
/* "agree", "tie", "defect", "not_run", as in reports. */
const char *verdict_name(enum verdict v);

/* The verdict on the top token of one position. */
struct judged_top {
    enum verdict verdict;
    size_t want, got; /* token ids: the reference's top token and the engine's */
    double margin; /* the reference's logit of want minus its logit of got; 0 if they are equal */
    double bound;  /* the sum of the bounds of these two logits */
};
/* got, want, bound: the n logits of one position. */
struct judged_top judge_top(const float *got, const double *want, const double *bound, size_t n);

/* The reference's logits for several prompts, one after the other. */
struct expected {
    const int32_t *tokens; /* (n_tokens): all prompts; belongs to the caller */
    const size_t *lengths; /* (n_prompts): tokens of each prompt; belongs to the caller */
    size_t n_prompts, n_tokens, n_vocab;
    double *logits; /* (n_tokens, n_vocab) */
    double *dev;    /* (n_tokens, n_vocab): bounds on the errors of the logits, absolute */
};
/* Runs the reference on the prompts. k, v: types of the KV cache. probe: what else ref_forward
 * is to do; NULL: nothing. Frees what it made if it fails; else expected_free does. */
enum status expected_make(struct expected *x, const struct ref_model *m, const int32_t *tokens,
                          const size_t *lengths, size_t n_prompts, enum tensor_type k,
                          enum tensor_type v, const struct ref_forward *probe, struct err *e);
void expected_free(struct expected *x);

/* How the engine is asked for the logits of every position of a prompt: by one evaluation of the
 * whole prompt (AT_ONCE); by one evaluation per token (BY_ONE); or by one evaluation of each
 * prefix, of which only the last row is kept (LAST_ROWS). */
enum judge_way { JUDGE_AT_ONCE, JUDGE_BY_ONE, JUDGE_LAST_ROWS };

/* The verdict on all positions of all prompts. */
struct judged {
    struct case_result r; /* of all logits, as compare_within fills it */
    enum verdict worst;   /* of all positions */
    size_t prompt, token; /* the first position that has the worst verdict: prompt, token in it */
    struct judged_top where; /* the top tokens of that position */
    struct judged_top first; /* the top tokens of the last position of the first prompt */
};
/* Evaluates the prompts of x on s, each from position 0, and judges every position. */
enum status judge_session(struct judged *j, struct engine_session *s, const struct expected *x,
                          enum judge_way way, struct err *e);
/* The two steps of judge_session. judge_collect needs only the prompts and n_vocab of x, so it
 * can run before the reference is done. *got (n_tokens, n_vocab) is malloc'd and belongs to the
 * caller. */
enum status judge_collect(float **got, struct engine_session *s, const struct expected *x,
                          enum judge_way way, struct err *e);
void judge_logits(struct judged *j, const float *got, const struct expected *x);

#endif
