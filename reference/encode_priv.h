/* The encoders' common part: one block of a row made ready, and the searches that every type is
 * an instance of. Encoding is least squares: among all blocks that a type can express, find one
 * whose decoded values lie close to the given ones, sum w (x - y)^2.
 *
 * Everything here works on values divided by a power of two such that the largest magnitude of
 * the block lies in [1, 2): sums neither overflow nor vanish, whatever the model holds.
 */
#ifndef ENCODE_PRIV_H
#define ENCODE_PRIV_H

#include "reference/ref.h"

enum { ENC_MAX = 256, ENC_SUBS = 16 };

struct enc_block {
    size_t n;         /* values */
    float x[ENC_MAX]; /* the values, divided by 2^shift */
    float w[ENC_MAX]; /* the importance of each, divided by the largest */
    int shift;
};

/* Fills b with n <= ENC_MAX values; weight: n of them, or NULL. False if all values are zero: b is
 * then not filled. */
bool ref_enc_load(struct enc_block *b, const float *x, const float *weight, size_t n);

/* The bits of the binary16 number nearest to d * 2^shift, which is held inside the finite range. */
uint16_t ref_enc_f16(double d, int shift);
/* What those bits stand for in the unit of the block: their value / 2^shift. */
double ref_enc_f16_value(uint16_t bits, int shift);

/* A type without an offset: y_i = d * 2^unit * sc * level_i. sc is a small integer of each
 * sub-block (one fixed value for types that have none); the levels are what the type's indices
 * stand for. */
struct enc_form {
    size_t n_sub, len;         /* sub-blocks in a block; values in a sub-block */
    int sc_lo, sc_hi, sc_step; /* the integers that the scale of a sub-block may be */
    int unit;
    bool both_signs;     /* the levels are not symmetric, so that -d offers something new */
    float top;           /* the largest magnitude among the levels */
    float reach, growth; /* guess k puts the largest value at top * reach * growth^k */
    int n_guess;
    /* level (len): for each x * inv the level of least error; w is the importance of each. */
    void (*nearest)(const struct enc_form *f, const float *x, const float *w, float inv,
                    float *level);
    float lo, hi;       /* of ref_enc_nearest_int */
    const float *table; /* of ref_enc_nearest_table: (n_table), ascending */
    int n_table;
    const struct enc_book *book; /* of the codebook searches */
};

/* What a block is encoded as. */
struct enc_fit {
    uint16_t d;           /* bits of a binary16 */
    int sc[ENC_SUBS];     /* (n_sub) */
    float level[ENC_MAX]; /* (n_sub, len) */
};
/* The fit of least error that the search finds. */
void ref_enc_fit(const struct enc_form *f, const struct enc_block *b, struct enc_fit *out);

/* Encodes the n values of a row: each block is fitted and handed to put, which writes its
 * block_bytes bytes; p is zeroed before. A block of zeros stays zero bytes: its scale is then zero,
 * and so are its decoded values. */
void ref_enc_blocks(const struct enc_form *f, size_t block_bytes, const float *x, size_t n,
                    const float *weight, uint8_t *out,
                    void (*put)(const struct enc_fit *fit, uint8_t *p));

/* Functions for enc_form.nearest: levels that are the integers f->lo to f->hi, */
void ref_enc_nearest_int(const struct enc_form *f, const float *x, const float *w, float inv,
                         float *level);
/* and levels of a table that is not evenly spaced. */
void ref_enc_nearest_table(const struct enc_form *f, const float *x, const float *w, float inv,
                           float *level);
/* Index of a level in an ascending table of n entries, which holds it. */
int ref_enc_table_index(const float *table, int n, float level);

/* sum w (x - scale * level)^2 over n values, a multiple of 8. */
double ref_enc_error(const float *x, const float *w, const float *level, double scale, size_t n);
/* num = sum w x level, den = sum w level^2: the least-squares scale is num / den. */
void ref_enc_sums(const float *x, const float *w, const float *level, size_t n, double *num,
                  double *den);

/* A type with an offset: y_i = d * sc * q_i - m * mn, with q from 0 to q_max. */
struct enc_min_form {
    size_t n_sub, len; /* sub-blocks in a block; values in a sub-block */
    int q_max;
    int sc_max; /* sc and mn are 0 to sc_max; 0: one sub-block, y = d * q - m, any m */
    float reach_lo, reach_hi; /* the first guesses put the range of values at q_max * reach */
    int n_guess;
};
struct enc_min_fit {
    uint16_t d, m;                  /* bits of a binary16 */
    int sc[ENC_SUBS], mn[ENC_SUBS]; /* (n_sub) */
    float q[ENC_MAX];               /* (n_sub, len) */
};
void ref_enc_min_fit(const struct enc_min_form *f, const struct enc_block *b,
                     struct enc_min_fit *out);

/* The doubled FP4 values in ascending order, and the values of IQ4_NL. */
extern const float ref_enc_fp4[15];
extern const float ref_enc_iq4[16];

/* ---- codebooks ----------------------------------------------------------------------------- */

enum enc_book_id {
    BOOK_IQ2XXS,
    BOOK_IQ2XS,
    BOOK_IQ2S,
    BOOK_IQ3XXS,
    BOOK_IQ3S,
    BOOK_IQ1S,
    BOOK_COUNT
};

/* A grid made searchable. It is built at first use, by whichever thread comes first, and stays for
 * the life of the process. */
const struct enc_book *ref_enc_book(enum enc_book_id id);

/* Functions for enc_form.nearest: each group of as many values as an entry has goes to the nearest
 * entry of the grid, */
void ref_enc_nearest_book(const struct enc_form *f, const float *x, const float *w, float inv,
                          float *level);
/* or to entries that are moved by +1/8 or -1/8: one choice for a sub-block, or one for 8 values. */
void ref_enc_nearest_delta(const struct enc_form *f, const float *x, const float *w, float inv,
                           float *level);
void ref_enc_nearest_delta8(const struct enc_form *f, const float *x, const float *w, float inv,
                            float *level);
/* Index in the grid of the entry that has these levels. */
uint32_t ref_enc_book_index(const struct enc_book *book, const float *level);

/* Sums are made in eight lanes, so that the order of additions is fixed and compilers may use
 * vectors. This adds up the lanes. */
static inline double enc_lanes_sum(const double *a)
{
    return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
}

/* ---- bytes, little-endian ------------------------------------------------------------------ */

static inline void enc_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v & 255);
    p[1] = (uint8_t)(v >> 8 & 255);
}

static inline void enc_put32(uint8_t *p, uint32_t v)
{
    enc_put16(p, v);
    enc_put16(p + 2, v >> 16);
}

#endif
