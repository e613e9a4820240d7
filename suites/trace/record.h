/* Values at the sites of one sequence: the reference's with their bounds, or a subject's. The
 * numbers lie in an unlinked, mapped file, so that models larger than memory can be recorded. */
#ifndef LOCATE_RECORD_H
#define LOCATE_RECORD_H

#include "engine/base/base.h"
#include "spec/spec.h"

/* One site. (rows, cols): rows are the last ones of the sequence, first_row is the first's
 * position. SCORES and WEIGHTS have n_heads * n_cells columns with n_cells = n_tokens. */
struct record_site {
    enum site site;
    uint32_t layer;
    size_t rows, cols, first_row;
    const double *value, *local, *dev; /* of the reference, else NULL */
    float *got;                        /* of a subject, else NULL */
    bool *filled;                      /* rows that a subject gave */
    char kernel[64];                   /* that computed it, if known */
};

struct recording {
    uint32_t n_layers, n_heads;
    size_t n_tokens;
    struct record_site *sites; /* (n) in order of arrival */
    size_t n, cap;
    int fd;
    uint64_t end; /* of the file */
    struct record_map *maps;
    struct err err; /* the first failure inside a callback */
};

enum status record_open(struct recording *r, uint32_t n_layers, uint32_t n_heads, size_t n_tokens,
                        struct err *e);
void record_close(struct recording *r);

/* NULL if the site is not there. */
struct record_site *record_find(const struct recording *r, enum site site, uint32_t layer);

/* A new site with room for a subject's values, all NaN and not filled; NULL: r->err is set. */
struct record_site *record_add(struct recording *r, enum site site, uint32_t layer, size_t rows,
                               size_t cols, size_t first_row);

struct ref_values;
/* Keeps a copy of what the reference hands out; local and dev may be NULL. */
void record_reference(struct recording *r, const struct ref_values *v);

/* Keeps rows of a batch that begins at position first_row of the sequence. Scores have columns for
 * n_cells cells per head, n_cells = cols / n_heads; cells to come are hidden. */
void record_subject(struct recording *r, enum site site, uint32_t layer, const float *values,
                    size_t rows, size_t cols, size_t first_row);

/* True if every row has been given. */
bool record_complete(const struct record_site *s);

#endif
