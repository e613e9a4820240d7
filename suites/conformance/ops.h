/* Rows of cases.def and the functions that run them. */
#ifndef OPS_H
#define OPS_H

#include "harness/inputs.h"
#include "harness/rig.h"

enum rope_scaling { SCALING_none, SCALING_linear, SCALING_yarn, SCALING_llama3, SCALING_factors };

/* Which types a row is for: ALL of them, one of each FAMILY of layouts, the PLAIN ones; of a cache,
 * ALL of seven or F32 and F16. */
enum row_types { TYPES_ALL, TYPES_FAMILY, TYPES_PLAIN };

/* Which experts the tokens of matmul_id choose. */
enum expert_choice {
    CHOICE_any,    /* each slot one of all of them, at random */
    CHOICE_one,    /* all the same one, not the first */
    CHOICE_few,    /* two of them, each often, all others never */
    CHOICE_spread, /* every expert by about as many tokens, none twice by one */
};

/* How the cells of a cache lie. */
enum cell_layout {
    CELLS_dense,     /* cell c holds position c: as the engine's own cache */
    CELLS_holes,     /* shuffled, with empty cells and cells of later positions between */
    CELLS_blind,     /* as holes, and the first queries see nothing */
    CELLS_ring,      /* a ring that has turned: of window + tokens cells, if there is a window */
    CELLS_sequences, /* as holes, of three sequences, with queries anywhere in them */
};
/* What the scores of a query are like. */
enum score_kind {
    SCORES_gauss,
    SCORES_rising,  /* they grow with the cell: a running maximum changes in every tile */
    SCORES_falling, /* the first cell is the largest */
    SCORES_huge,    /* up to +-5e4 */
    SCORES_equal,   /* all the same */
};

struct op_row {
    enum op op;
    uint32_t rows, n, cols;             /* n in blocks unless in_values */
    uint32_t heads, kv_heads, head_dim; /* attention, rope */
    uint32_t past, first, n_dims;
    uint32_t w_rows, n_sinks;                            /* norms; softmax */
    uint32_t groups, x_row, x_group, out_row, out_group; /* copy */
    uint32_t n_experts, n_used, n_groups, n_groups_used; /* route, matmul_id, moe_sum */
    enum route_gating gating;
    enum expert_choice choice;
    float scale;
    bool bias, normalise, x_per_slot;
    enum rope_pairing pairing;
    enum rope_scaling scaling;
    bool mixed;                 /* values are of another type than keys */
    bool sinks;                 /* attention: one for each head */
    uint32_t value_dim, window; /* 0: head_dim; none */
    float cap;                  /* 0: none */
    enum cell_layout cells;
    enum score_kind scores;
    enum input_kind input;
    enum weight_kind weights;
    enum row_types types;
    float base, eps;
    bool in_values, quick; /* in_values: n counts values, whatever the type */
    const char *shape;
};

void ops_run_matmul(struct test *t, const struct test_case *c);
void ops_run_lookup(struct test *t, const struct test_case *c);
void ops_run_rows(struct test *t, const struct test_case *c);
void ops_run_rope(struct test *t, const struct test_case *c);
void ops_run_attention(struct test *t, const struct test_case *c);
void ops_run_kv_write(struct test *t, const struct test_case *c);
void ops_run_flat(struct test *t, const struct test_case *c);
void ops_run_scale_rows(struct test *t, const struct test_case *c);
void ops_run_copy(struct test *t, const struct test_case *c);
void ops_run_route(struct test *t, const struct test_case *c);
void ops_run_matmul_id(struct test *t, const struct test_case *c);
void ops_run_moe_sum(struct test *t, const struct test_case *c);

/* Dimensions of the values' heads. */
size_t ops_value_dim(const struct op_row *row);
/* The type of a cache's values beside keys of a type: where a row mixes them, one of another
 * layout. */
enum tensor_type ops_value_type(const struct op_row *row, enum tensor_type keys);
/* Values in a row of weights of a type. */
size_t ops_row_length(const struct op_row *row, const struct type_spec *type);
/* Checks that sizes differ: a shape of equal ones would fit swapped arguments. */
bool ops_sizes_differ(struct test *t, size_t m, size_t n, size_t k);

/* Of an operation whose output may be its input, run so once more: the same bits are due. v: where
 * the second result is; first: the one in a buffer of its own. */
void ops_compare_in_place(struct rig *g, struct view v, const float *first, size_t rows, size_t n);

/* n f32 values as doubles, test memory. */
double *ops_widen(struct test *t, const float *x, size_t n);

#endif
