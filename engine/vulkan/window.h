/* Which rows of a matrix one dispatch sees. A storage buffer may be bound over a limited range
 * only, and an imported tensor may be too large for one buffer, so kernels work on windows of
 * whole rows. Pure arithmetic on 64-bit sizes. */
#ifndef WINDOW_H
#define WINDOW_H

#include <stdbool.h>
#include <stdint.h>

/* A large import lies in several buffers: segment i begins at byte i * stride and holds overlap
 * further bytes, so that a row that begins in it also ends in it. */
struct segments {
    uint64_t bytes;  /* of the whole */
    uint64_t stride; /* 0: one segment only */
    uint64_t overlap;
};
uint32_t segment_count(const struct segments *s);
uint64_t segment_bytes(const struct segments *s, uint32_t i);

struct window_plan {
    struct segments segments;
    uint64_t at, row_bytes; /* the matrix begins at byte at */
    uint32_t n_rows;
    uint64_t limit; /* longest range that may be bound, at most WINDOW_LIMIT */
    uint64_t align; /* of the start of a range, a power of two */
};

struct window {
    uint32_t row0, n_rows;
    uint32_t segment;
    uint64_t offset, size; /* range to bind */
    uint32_t residual;     /* byte of the range at which row0 begins */
};

/* Kernels address bytes of a window with 32 bits; a load of 16 bytes may begin at the last byte
 * of a row and end WINDOW_SLACK bytes later at most. Buffers have more spare bytes than that. */
#define WINDOW_LIMIT (UINT64_C(1) << 31)
#define WINDOW_SLACK 32u

/* The window that begins at row: as many rows as fit. False if not one does. */
bool window_at(const struct window_plan *p, uint32_t row, struct window *out);

#endif
