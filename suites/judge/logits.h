/* Conformance of logits: an engine against the reference on the same bytes, within the bound that
 * the reference propagates, and the rule for top tokens. */
#ifndef JUDGE_H
#define JUDGE_H

#include "judge/compare.h"
#include "engine/engine.h"
#include "reference/ref.h"

/* A different top token is a tie when the reference's margin between the two is within their
 * bounds, a defect when it is above. */
enum verdict { VERDICT_AGREE, VERDICT_TIE, VERDICT_DEFECT, VERDICT_NOT_RUN };
const char *verdict_name(enum verdict v);

struct judged_top {
    enum verdict verdict;
    size_t want, got; /* token ids */
    double margin;    /* want's logit over got's, by the reference */
    double bound;     /* of that difference */
};
struct judged_top judge_top(const float *got, const double *want, const double *bound, size_t n);

/* The reference's results for a batch of prompts, one after the other. Owned: expected_free. */
struct expected {
    const int32_t *tokens;
    const size_t *lengths;
    size_t n_prompts, n_tokens, n_vocab;
    double *logits, *dev; /* (n_tokens, n_vocab) */
};
enum status expected_make(struct expected *x, const struct ref_model *m, const int32_t *tokens,
                          const size_t *lengths, size_t n_prompts, enum tensor_type k,
                          enum tensor_type v, const struct ref_forward *probe, struct err *e);
void expected_free(struct expected *x);

/* How the logits of all positions of a prompt are had: all of one evaluation; token by token; or of
 * every beginning of the prompt the last position alone. */
enum judge_way { JUDGE_AT_ONCE, JUDGE_BY_ONE, JUDGE_LAST_ROWS };

/* Evaluates the prompts on a session, one after the other from position 0, and judges every
 * position: fills r as compare_within does; worst: the worst verdict of all positions, first: of
 * the last position of the first prompt. */
struct judged {
    struct case_result r;
    enum verdict worst;
    size_t prompt, token; /* where the worst verdict is */
    struct judged_top where, first;
};
enum status judge_session(struct judged *j, struct engine_session *s, const struct expected *x,
                          enum judge_way way, struct err *e);
/* Its two halves. The first looks at the prompts of x and at n_vocab alone; *got is malloc'd. */
enum status judge_collect(float **got, struct engine_session *s, const struct expected *x,
                          enum judge_way way, struct err *e);
void judge_logits(struct judged *j, const float *got, const struct expected *x);

#endif
