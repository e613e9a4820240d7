/* What the files of hypotheses share. */
#ifndef HYPOTHESES_PRIV_H
#define HYPOTHESES_PRIV_H

#include "locate/cause.h"

/* A site under trial, at a choice of its rows (tokens) and columns. */
struct trial {
    const struct suspect *s;
    size_t n_cols_all;
    const size_t *rows, *cols; /* (n_rows), (n_cols) */
    size_t n_rows, n_cols;
    const double *want, *got; /* (n_rows, n_cols) */
    double *guess;            /* likewise: room for a prediction */
    double best;              /* share that the best cause so far leaves */
    char cause[200];
};

enum ref_site_kind cause_kind(const struct suspect *s);
/* Inputs of the site, all tokens; NULL: not seen, or no such input. */
const double *cause_input(const struct trial *t, size_t i);
/* The reference's value of another site of the same layer, or NULL. */
const double *cause_value(const struct trial *t, enum site site);

/* Compares t->guess with what the subject gave; elements whose guess is NaN do not count. */
void cause_try(struct trial *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The guess is taken from whole values (rows of the site, n_cols_all). */
void cause_try_whole(struct trial *t, const double *values, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void cause_linear(struct trial *t);
void cause_norm(struct trial *t);
void cause_rope(struct trial *t);
void cause_attention(struct trial *t); /* scores, weights, attention */
void cause_lookup(struct trial *t);    /* decoders of the embedding */
void cause_simple(struct trial *t);    /* embedding, residuals, activation */

/* A fault of a block decoder, done to a row of encoded blocks in place. False: the type cannot
 * have it. */
struct block_fault {
    const char *what;
    bool (*damage)(enum tensor_type type, uint8_t *row, size_t n_blocks);
};
extern const struct block_fault cause_block_faults[];
extern const size_t cause_n_block_faults;

#endif
