/* What the files of the suite of golden op vectors share: reading a case, judging a result. */
#ifndef OPVEC_H
#define OPVEC_H

#include "engine/gguf/gguf.h"
#include "harness/harness.h"
#include "reference/ref.h"

static const double VEC_U64 = 0x1p-53; /* unit roundoff of binary64 */

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
