/* What the files of the cases "locate.cause" share: a small random model, the reference's values at
 * its sites, and one site whose values a fault makes anew. Nothing of the hypotheses is used. */
#ifndef LOCATE_CAUSES_H
#define LOCATE_CAUSES_H

#include "harness/harness.h"
#include "locate/foreign.h"
#include "models/prompts.h"

struct scene {
    struct gguf g;
    struct ref_model *ref;
    struct site_model m;
    struct prompt_set prompts;
    struct recording truth, got;
    struct compare_options how;
    enum site site;
    uint32_t layer;
    size_t n, cols; /* tokens, columns of the site */
    float *y;       /* (n, cols): what the engine is said to have given */
};

/* The right values of a site of the same layer; x of the site: its i-th input. (n, its columns) */
const double *scene_value(const struct scene *s, enum site site);
const double *scene_input(const struct scene *s, size_t i);

/* A fault writes s->y; `way` chooses among those of a kind. False: the model has no place for
 * it. */
typedef bool fault_maker(struct scene *s, int way);

/* Faults of products and of block decoders (locate_causes_product.c). */
enum {
    MATRIX_TRANSPOSED,
    MATRIX_ROWS_AS_LONG_AS_COLUMNS,
    MATRIX_ARGUMENTS_SWAPPED,
    MATRIX_ROW_AFTER,
    MATRIX_ROW_BEFORE,
    MATRIX_NEOX_ORDER,
    MATRIX_NORM_ORDER,
    MATRIX_HEADS_REVERSED,
    MATRIX_CUT,
    MATRIX_SHORT,
    MATRIX_NO_BIAS,
    MATRIX_OTHER_INPUT,
    MATRIX_OTHER_LAYER
};
fault_maker break_matrix;
enum {
    BLOCK_AS_BF16,
    BLOCK_AS_IQ4_NL,
    BLOCK_NIBBLES_SWAPPED,
    BLOCK_NIBBLES_PAIRED,
    BLOCK_NO_MINIMUM,
    BLOCK_MINIMUM_SIGN,
    BLOCK_SCALE_FOR_MINIMUM,
    BLOCK_NO_SCALE,
    BLOCK_SCALE_BYTES,
    BLOCK_SCALE_BEFORE,
    BLOCK_NO_HIGH_BITS,
    BLOCK_REVERSED,
    BLOCK_BY_COLUMNS
};
fault_maker break_block;
enum {
    Q4K_LOW_BITS = 100,
    Q4K_LOW_BITS_OF_SCALES,
    Q4K_CONSECUTIVE,
    Q4K_CROSSED,
    Q4K_NEXT,
    Q4K_SWAPPED,
    Q4K_NO_MINIMUM,
    Q4K_NIBBLES
};
fault_maker break_q4_k;
enum { SUM_OF_HALVES, INPUT_F16, INPUT_BF16, INPUT_Q8_0, INPUT_Q8_K };
fault_maker break_rounded;

/* Faults of other operations (locate_causes_other.c). */
enum {
    NORM_WITHOUT_WEIGHT,
    NORM_WEIGHT_TWICE,
    NORM_ONE_MORE,
    NORM_EPSILON,
    NORM_EPSILON_OUTSIDE,
    NORM_NOT_DONE,
    NORM_MEAN_TOO,
    NORM_OF_SUM,
    NORM_WITHOUT_BIAS
};
fault_maker break_norm;
enum {
    ROPE_NONE,
    ROPE_PAIRS,
    ROPE_AFTER,
    ROPE_BEFORE,
    ROPE_BACKWARDS,
    ROPE_HALF,
    ROPE_BASE,
    ROPE_NO_FACTORS,
    ROPE_NO_SCALE
};
fault_maker break_rope;
enum {
    ATTN_MODULO,
    ATTN_K_FAR,
    ATTN_K_NEAR,
    ATTN_V_FAR,
    ATTN_SEES_NEXT,
    ATTN_NOT_ITSELF,
    ATTN_NO_MASK,
    ATTN_UNIFORM,
    ATTN_UNIFORM_ALL,
    ATTN_NO_SCALE,
    ATTN_SCALE_TWICE,
    ATTN_K_UNTURNED,
    ATTN_Q_UNTURNED,
    ATTN_HALF_CACHE,
    ATTN_NO_WINDOW,
    ATTN_NO_CAP,
    ATTN_NO_SINKS
};
fault_maker break_attention;
enum {
    SUM_NO_RESIDUAL,
    SUM_NO_BRANCH,
    SUM_BRANCH_TWICE,
    SUM_RESIDUAL_TWICE,
    SUM_SUBTRACTED,
    SUM_AFTER_NORM,
    SUM_UNSCALED
};
fault_maker break_sum;
enum { ACT_SWAPPED, ACT_OTHER, ACT_RELU, ACT_NONE, ACT_NO_UP, ACT_TABLE };
fault_maker break_act;
enum {
    VALUES_CLIPPED,
    VALUES_ZERO,
    VALUES_SCALED,
    VALUES_NAN,
    VALUES_F16,
    VALUES_BF16,
    VALUES_OTHER_F16,
    VALUES_OF_NEXT_TOKEN,
    VALUES_OF_TOKEN_BEFORE,
    VALUES_OF_FIRST_TOKEN
};
fault_maker break_values;
enum { EMBD_ID_AFTER, EMBD_ID_BEFORE, EMBD_NO_BOS, EMBD_TWO_BOS };
fault_maker break_embedding;

#endif
