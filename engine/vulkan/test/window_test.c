/* Row windows over matrices of any size, with sizes only: every row is covered once, lies in its
 * window as a whole, and no range leaves its buffer or the limit. Beyond 4 GiB, this is all that
 * needs proving: kernels see nothing but a window. */
#include "engine/vulkan/window.h"

#include <inttypes.h>
#include <stdio.h>

static int n_failed;

static void check(bool ok, const char *what, const struct window_plan *p, uint32_t row)
{
    if (ok) return;
    n_failed++;
    printf("%s: at %" PRIu64 ", rows of %" PRIu64 " bytes, limit %" PRIu64 ", stride %" PRIu64
           ", row %" PRIu32 "\n",
           what, p->at, p->row_bytes, p->limit, p->segments.stride, row);
}

/* Walks all windows; returns their number. */
static uint32_t walk(const struct window_plan *p)
{
    struct window w;
    uint32_t n = 0;
    for (uint32_t row = 0; row < p->n_rows; row += w.n_rows, n++) {
        if (!window_at(p, row, &w)) {
            check(false, "no window", p, row);
            return n;
        }
        uint64_t segment_at = w.segment * p->segments.stride;
        uint64_t first = p->at + row * p->row_bytes, end = first + w.n_rows * p->row_bytes;
        check(w.row0 == row && w.n_rows > 0, "no progress", p, row);
        check(w.offset % p->align == 0, "not aligned", p, row);
        check(segment_at + w.offset + w.residual == first, "wrong place", p, row);
        check(w.offset + w.size <= segment_bytes(&p->segments, w.segment) + WINDOW_SLACK,
              "leaves the buffer", p, row);
        check(segment_at + w.offset + w.size >= end, "last row cut", p, row);
        check(w.size <= p->limit && w.size <= WINDOW_LIMIT, "longer than the limit", p, row);
        check(w.residual + w.n_rows * p->row_bytes <= UINT32_MAX, "32 bits overflow", p, row);
        check(w.n_rows <= p->n_rows - row, "rows past the end", p, row);
    }
    return n;
}

/* A cache's keys and values of different widths, bound together as attention binds them: as many
 * cells as fit both. */
static uint32_t walk_cells(uint64_t k_bytes, uint64_t v_bytes, uint32_t n_cells, uint64_t limit)
{
    struct window_plan k = {.row_bytes = k_bytes, .n_rows = n_cells, .limit = limit, .align = 16};
    struct window_plan v = {.row_bytes = v_bytes, .n_rows = n_cells, .limit = limit, .align = 256};
    struct window kw, vw;
    uint32_t n = 0;
    k.segments.bytes = k_bytes * n_cells;
    v.segments.bytes = v_bytes * n_cells;
    for (uint32_t cell = 0, cells; cell < n_cells; cell += cells, n++) {
        if (!window_at(&k, cell, &kw) || !window_at(&v, cell, &vw)) {
            check(false, "no window of cells", &k, cell);
            return n;
        }
        cells = kw.n_rows < vw.n_rows ? kw.n_rows : vw.n_rows;
        check(kw.offset + kw.residual == k_bytes * cell, "keys of another cell", &k, cell);
        check(vw.offset + vw.residual == v_bytes * cell, "values of another cell", &v, cell);
        check(kw.residual + cells * k_bytes <= kw.size, "keys cut", &k, cell);
        check(vw.residual + cells * v_bytes <= vw.size, "values cut", &v, cell);
        check(kw.size <= limit && vw.size <= limit, "cells longer than the limit", &k, cell);
    }
    return n;
}

int main(void)
{
    const uint64_t gib = UINT64_C(1) << 30, mib = UINT64_C(1) << 20;
    const uint64_t row_bytes[] = {17, 18, 54, 144, 1152, 8192, 98304, 4 * mib};
    const uint64_t limits[] = {128 * mib, gib - 1, 4 * gib - 1};
    const uint64_t totals[] = {144, 100 * mib, 5 * gib, 9 * gib + 12345, 40 * gib};
    const uint64_t begins[] = {0, 4, 252, 3 * gib + 28};
    uint32_t n_plans = 0, n_windows = 0;
    for (int r = 0; r < 8; r++)
        for (int l = 0; l < 3; l++)
            for (int t = 0; t < 5; t++)
                for (int a = 0; a < 4; a++)
                    for (uint64_t align = 4; align <= 256; align *= 4) {
                        uint64_t rows = totals[t] / row_bytes[r] + 1;
                        if (rows > UINT32_MAX) rows = UINT32_MAX;
                        struct window_plan p = {.at = begins[a],
                                                .row_bytes = row_bytes[r],
                                                .n_rows = (uint32_t)rows,
                                                .limit = limits[l],
                                                .align = align};
                        p.segments = (struct segments){p.at + rows * row_bytes[r], gib, 4 * mib};
                        n_windows += walk(&p);
                        n_plans++;
                    }
    const uint64_t cell_bytes[] = {18, 34, 576, 1152, 2304, 8192, 69632};
    for (int k = 0; k < 7; k++)
        for (int v = 0; v < 7; v++)
            for (int l = 0; l < 3; l++) {
                uint32_t n_cells = (uint32_t)(9 * gib / cell_bytes[k > v ? k : v]);
                uint32_t n = walk_cells(cell_bytes[k], cell_bytes[v], n_cells, limits[l]);
                check(n > 1, "one window holds too much", &(struct window_plan){0}, 0);
            }
    struct window w;
    struct window_plan wide = {.segments = {.bytes = gib},
                               .row_bytes = 200 * mib,
                               .n_rows = 2,
                               .limit = 128 * mib,
                               .align = 16};
    check(!window_at(&wide, 0, &w), "a row longer than the limit was bound", &wide, 0);
    printf("%" PRIu32 " matrices, %" PRIu32 " windows, %d failed\n", n_plans, n_windows, n_failed);
    return n_failed || n_windows <= n_plans;
}
