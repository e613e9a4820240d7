/* What the files of the suite of golden op vectors share: reading a case, judging a result. */
#ifndef OPVEC_H
#define OPVEC_H

#include "engine/gguf/gguf.h"
#include "harness/harness.h"
#include "reference/ref.h"

struct vec {
    struct test *t;
    const struct gguf *g;
    const char *op, *name;
    bool ok; /* false: something was missing, the case has failed */
};

/* Inputs, parameters and results by their names; what is missing fails the case and gives NULL. */
bool vec_has(struct vec *v, const char *key);
const float *vec_f32(struct vec *v, const char *key, size_t n);
const int32_t *vec_i32(struct vec *v, const char *key, size_t n);
const double *vec_f64(struct vec *v, const char *key, size_t n);
/* F32 inputs as the reference takes them. */
double *vec_wide(struct vec *v, const char *key, size_t n);
/* Room for n results, NaN. */
double *vec_room(struct vec *v, size_t n);
double vec_number(struct vec *v, const char *key);
uint32_t vec_count(struct vec *v, const char *key);
/* Dimensions of a tensor, innermost first; a tensor that is missing has none. */
const uint64_t *vec_dims(struct vec *v, const char *key);

struct vec_judged {
    const char *what; /* "weights" */
    const double *got, *want, *bound;
    size_t rows, cols;
};
/* Errors within bounds; infinities must be the same, NaN never passes. */
void vec_judge(struct vec *v, const struct vec_judged *j);

double vec_row_max(const double *x, size_t n);

/* ---- claims (vectors_op_claims.c): bounds on the errors of the reference, u = 2^-53 ---- */

/* What is added to each of them. */
double claim_floor(void);
double claim_rms_norm(size_t n, double y);
double claim_layer_norm(size_t n, double mag);
/* Functions of one value, in units of u |y|. x: the operand. */
double claim_silu(double x); /* sigmoid too */
double claim_gelu(double x);
double claim_gelu_erf(double x);
double claim_softcap(double x);
double claim_swiglu_oai(double x);
/* From these units; gated: the function is multiplied by a second operand. */
double claim_flat(double units, bool gated, double y);
double claim_softmax(size_t n, double gap, double y);
/* The probability of an expert, in units of u y; a weight from the units of its probability,
 * worst: of all probabilities, n_used: weights in the sum by which it is divided, 0 if it is
 * not. */
double claim_gate_sigmoid(void);
double claim_gate_softmax(size_t n, double top, double x);
double claim_route(double units, double worst, size_t n_used, double weight);
/* What the error of an angle theta costs cos and sin. turn: the exponent of base, 2 pair /
 * n_dims; yarn: how often the unscaled angle counts; m: the magnitude of cos and sin. */
double claim_angle(double theta, double turn, double base, double yarn, double m);
/* cos or sin; the engine's, rounded to binary32; a rotated value of a pair whose magnitudes add
 * up to `pair`. angle: what claim_angle gives. */
double claim_table(double angle, double m);
double claim_table_f32(double angle, double m, double want);
double claim_rope(double angle, double m, double pair);
/* Attention: a score; what the errors of scores cost a weight, relative (worst: the worst bound
 * of a score of the row); a weight of n cells and a result from the latter. */
double claim_score(size_t head_dim, double mag, bool capped, double score);
double claim_gap(double worst, double gap);
double claim_weight(double gap_cost, size_t n, double weight);
double claim_attention(double gap_cost, size_t n, double mag);

/* ---- cases ---- */

/* One case each. */
void opvec_rms_norm(struct vec *v);
void opvec_layer_norm(struct vec *v);
void opvec_softmax(struct vec *v);
void opvec_flat(struct vec *v); /* the operation named by v->op */
void opvec_rope(struct vec *v);
void opvec_rope_table(struct vec *v);
void opvec_route(struct vec *v);
void opvec_attention(struct vec *v);
void opvec_cache(struct vec *v);

#endif
