/* Angles of rotary position embeddings: what the metadata says, turned into cos and sin on the
 * host, in double precision, once per batch. */
#ifndef ROPE_TABLE_H
#define ROPE_TABLE_H

#include "engine/backend.h"

/* As the model file has it. */
struct rope_params {
    uint32_t n_dims; /* rotated dimensions of a head, even */
    enum rope_pairing pairing;
    double freq_base;
    double freq_scale; /* 1/factor: interpolation */
    double ext_factor; /* share of YaRN's extrapolation; 0 = no YaRN */
    double beta_fast, beta_slow;
    uint32_t n_ctx_orig;
    double magnitude; /* factor on cos and sin */
};

/* theta of pair p at position pos is pos * rate[p]. */
struct rope_table {
    uint32_t n_pairs;
    double magnitude;
    double *rate; /* (n_pairs), in the arena given to rope_table_init */
};

/* factors: n_dims/2 divisors of the frequencies, or NULL. ST_FORMAT if a rate comes out that is
 * not finite. */
enum status rope_table_init(struct rope_table *t, const struct rope_params *r, const float *factors,
                            struct arena *a, struct err *e);

/* out (n, n_pairs, 2): cos and sin, times the magnitude, rounded once to f32. */
void rope_table_fill(const struct rope_table *t, const int32_t *pos, size_t n, float *out);

#endif
