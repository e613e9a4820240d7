/* Every tolerance of the project: how far a result may be from the reference's. bounds.c holds
 * the formulas, one after the other, each with its reason and the source of its constants; read
 * it to check a verdict. No suite has a unit roundoff or a tolerance of its own. The comment of a
 * function names the value whose error the function bounds, and then its arguments.
 *
 * Two kinds of bounds are elsewhere. Those that a whole forward pass carries from operation to
 * operation (`dev` and `local` of struct ref_values) are computed by the reference with its
 * values; reference/forward_priv.h opens with their analysis. Those to which the reference
 * itself is held (in binary64) are in vectors_op_claims.c.
 *
 * All bounds are absolute, in the unit of the values that they bound, unless the comment says
 * "relative" (to the magnitude of the value). They are never negative, and infinite or NaN only
 * if an argument is. */
#ifndef BOUNDS_H
#define BOUNDS_H

#include "spec/spec.h"

/* A value that is rounded once to binary32. */
double bound_rounded(double x);

/* ---- verdicts: what share of the bounds may be used ---- */

/* True if a result that is within its bound uses so much of it that the case counts as marginal.
 * used: error / bound. */
bool bound_is_marginal(double used);
/* The largest sum of squared errors that a row may have. squares, fourths: sums of the second
 * and of the fourth powers of the bounds of its elements. */
double bound_row(double squares, double fourths);
/* The error that is reported of two values that are equal but not bit for bit (0 and -0). */
double bound_of_bits(void);

/* ---- operations, by their class of tolerance (ops.def) ---- */

/* One element of a result. want: the reference's value; mag: its magnitude, for DOT and REDUCE
 * the sum of the absolute terms, for ULP8 what is allowed beside the ulps, unused by EXACT; n:
 * the number of terms summed per element; flushes: the device may flush subnormal numbers to
 * zero. */
double bound_class(enum tol_class cls, double want, double mag, size_t n, bool flushes);

/* ULP8: what functions of one value may lose beside 8 ulp. x: the first operand; gain: what the
 * function of x is multiplied by (1 if by nothing); cap: the factor of cap * tanh(x / cap); up:
 * the second operand. */
double bound_exp_floor(double x, double gain);
double bound_tanh_floor(double x, double gain);
double bound_sigmoid_floor(double x, double gain);
double bound_cap_floor(double x, double cap);
double bound_swiglu_oai_floor(double x, double up);

/* REDUCE: the magnitude of a probability y of a softmax. gap: the largest logit of the row minus
 * its own. */
double bound_softmax_magnitude(double y, double gap);

/* A score of attention. score: the reference's, after the cap; cap: 0 if there is none; mag: sum
 * of |q_d k_d| times the scale; n: head_dim. */
double bound_score(double score, double cap, double mag, size_t n);
/* REDUCE: the factor on the magnitude of an attention's result for the errors of its scores.
 * score_bounds: of the n cells of a (token, head); sink: the head's sink, 0 if it has none. */
double bound_attention_gain(const double *score_bounds, size_t n, double sink);

/* ---- choosing experts ---- */

/* The probability of an expert, relative. gap: as above; n: logits of the softmax. */
double bound_gate_sigmoid(void);
double bound_gate_softmax(double gap, size_t n);
/* What an expert is chosen by: its probability, whose absolute bound is `noise`, plus a bias. */
double bound_selection(double noise, double selection, double bias);
/* The score of a group of experts: the sum of two selection values, each with a bound of
 * `noise`. */
double bound_group_score(double noise, double score);
/* The difference of two weights of chosen experts that have nearly the same logit. */
double bound_weight_order(double logit, double weight);
/* True if no rounding can exchange a and b: they are equal by construction, or further apart
 * than rounding moves them. noise: the sum of their bounds. */
bool bound_clear(double a, double b, double noise);
/* The relative bound of a weight that is divided by the sum of n_used weights. own, worst: the
 * relative bounds of its probability and of the worst of them. */
double bound_normalised(double own, double worst, size_t n_used);
/* A weight as the operation returns it. relative: the bound of its probability, normalised if it
 * is. */
double bound_route_weight(double relative, double weight);

/* ---- engines from outside (assay locate PLUGIN, assay compare) ---- */

/* A value of a free-running engine that rounds what enters its products. dev: the propagated
 * bound with these roundings; exact_dev: that without them; moved: how far sums in f16 move the
 * values of the site, as rms, 0 if it has none; shape: dev over the rms of dev at the site. */
double bound_foreign_value(double dev, double exact_dev, double moved, double shape);
/* A score of a token that the query does not see, which the reference does not bound. scale: of
 * the scores; var: sum over head_dim of the squared bounds of the products. */
double bound_hidden_score(double scale, double var);
/* One operation, computed from the engine's own inputs. local: the reference's bound of the
 * operation at the reference's values; n: terms summed per element; mag: sum of the absolute
 * terms. */
double bound_foreign_op(double local, size_t n, double mag);
/* Beside it, RoPE with angles computed in binary32. pos: position of the token; top: largest
 * value. */
double bound_foreign_angle(size_t pos, double top);
/* Beside it, one block of activations in Q8_1. top: largest magnitude of its weights; sum: of
 * its inputs. */
double bound_q8_1_sum(double top, double sum);
/* A result that nothing bounds, when causes of a wrong one are looked for. */
double bound_unknown(double value);

/* ---- printed logs of llama-eval-callback ---- */

/* A printed value. */
double bound_printed(void);
/* The rest of the distance between a shown value, taken as near to want as its digits allow, and
 * want. dev: what the engine's precision allows. */
double bound_log_value(double want, double dev);
/* A printed sum of the n values that the log shows. mag: the sum of their magnitudes. */
double bound_log_sum_shown(size_t n, double mag);
/* A printed sum of all values of a tensor. squares: sum of the squared bounds of the values. */
double bound_log_sum_all(double squares, double mag);

/* ---- two recordings without a model ---- */

/* share: what --tolerance says, of the rms of the values. */
double bound_share(double share, double rms);
double bound_share_default(void);
/* Two printed values. */
double bound_log_share(double share, double rms);

/* ---- whole models and encoders, as normalised mean squared error (NMSE) ---- */

/* The reference against llama.cpp's logits in binary32; and against those with activations in 8
 * bits, which are `distance` from the former. */
double bound_golden(void);
double bound_golden_native(double distance);
/* An encoder of the reference against ggml's on the same data, whose NMSE is `theirs`. */
double bound_encoder(double theirs);

/* ---- statistics of the self-tests ---- */

/* How far a count of n draws, each with probability p, may be from n p. */
double bound_count(double n, double p);
/* How many standard deviations the reference allows for the rounding of activations. */
double bound_rounding_deviations(void);

#endif
