/* matvec and matmul: out = W x (+ bias). Weights are decoded exactly to f32 and multiplied in f32;
 * the sum of one output is that of simd.h whichever way it is computed, so both operations, and
 * any number of columns, give the same bits.
 *
 *   pieces (matvec):  256 weights of each of 4 rows are decoded at a time, into the first cache
 *   panels (matmul):  whole rows are decoded once and meet all columns
 */
#include "cpu/cpu.h"
#include "cpu/simd.h"

enum { TILE_ROWS = 4, TILE_COLS = 4, MATVEC_COLS = 8, PANEL_FLOATS = 1 << 15 };

struct job {
    const struct cpu *cpu;
    const struct op_matmul *a;
    const struct cpu_type *type;
    const uint8_t *w;
    const float *x, *bias; /* (n_cols, n_in), (n_out) or NULL */
    float *out;            /* (n_cols, n_out) */
    size_t row_bytes, piece_bytes;
};

/* acc[r][c] += n products of row w[r] and column x[c]. Inlined with constant sizes: the
 * sums stay in registers. */
static inline void tile(const float *const *w, const float *const *x, size_t n, size_t n_rows,
                        size_t n_cols, struct f32x16 acc[][TILE_COLS])
{
    struct f32x16 s[TILE_ROWS][TILE_COLS], wv[TILE_ROWS];
    size_t k = 0;
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_cols; c++) s[r][c] = acc[r][c];
    }
    for (; k + LANES <= n; k += LANES) {
        for (size_t r = 0; r < n_rows; r++) wv[r] = f32x16_load(w[r] + k);
        for (size_t c = 0; c < n_cols; c++) {
            struct f32x16 xv = f32x16_load(x[c] + k);
            for (size_t r = 0; r < n_rows; r++) s[r][c] = f32x16_madd(wv[r], xv, s[r][c]);
        }
    }
    if (k < n) {
        for (size_t r = 0; r < n_rows; r++) wv[r] = f32x16_load_some(w[r] + k, n - k);
        for (size_t c = 0; c < n_cols; c++) {
            struct f32x16 xv = f32x16_load_some(x[c] + k, n - k);
            for (size_t r = 0; r < n_rows; r++) s[r][c] = f32x16_madd(wv[r], xv, s[r][c]);
        }
    }
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_cols; c++) acc[r][c] = s[r][c];
    }
}

/* Any tile up to 4 x 4, by the sizes that are compiled. */
static void tile_any(const float *const *w, const float *const *x, size_t n, size_t n_rows,
                     size_t n_cols, struct f32x16 acc[][TILE_COLS])
{
    if (n_rows == TILE_ROWS && n_cols == TILE_COLS) {
        tile(w, x, n, TILE_ROWS, TILE_COLS, acc);
    } else if (n_rows == TILE_ROWS && n_cols == 1) {
        tile(w, x, n, TILE_ROWS, 1, acc);
    } else if (n_rows == 1 && n_cols == TILE_COLS) {
        tile(w, x, n, 1, TILE_COLS, acc);
    } else {
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t c = 0; c < n_cols; c++) {
                struct f32x16 one[1][TILE_COLS] = {{acc[r][c]}};
                tile(w + r, x + c, n, 1, 1, one);
                acc[r][c] = one[0][0];
            }
        }
    }
}

void cpu_dots(const float *w, const float *const *x, size_t n_x, size_t n, float *out)
{
    for (size_t i = 0; i < n_x; i += TILE_COLS) {
        struct f32x16 acc[1][TILE_COLS];
        size_t cols = n_x - i < TILE_COLS ? n_x - i : TILE_COLS;
        for (size_t c = 0; c < TILE_COLS; c++) acc[0][c] = f32x16_zero();
        tile_any(&w, x + i, n, 1, cols, acc);
        for (size_t c = 0; c < cols; c++) out[i + c] = f32x16_sum(acc[0][c]);
    }
}

static void columns_at(const float *x[TILE_COLS], const float *first, size_t step, size_t n)
{
    for (size_t c = 0; c < n; c++) x[c] = first + c * step;
}

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void clear_tile(struct f32x16 acc[][TILE_COLS])
{
    for (size_t r = 0; r < TILE_ROWS; r++) {
        for (size_t c = 0; c < TILE_COLS; c++) acc[r][c] = f32x16_zero();
    }
}

static void store_tile(const struct job *j, size_t row, size_t n_rows, size_t col, size_t n_cols,
                       struct f32x16 acc[][TILE_COLS])
{
    for (size_t c = 0; c < n_cols; c++) {
        float *out = j->out + (col + c) * j->a->w.n_out + row;
        for (size_t r = 0; r < n_rows; r++) {
            float sum = f32x16_sum(acc[r][c]);
            out[r] = j->bias ? sum + j->bias[row + r] : sum;
        }
    }
}

static void run_pieces(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    size_t n_in = j->a->w.n_in, n_cols = j->a->n_cols;
    float *buf = cpu_scratch_of(j->cpu, thread);
    for (size_t row = begin; row < end; row += TILE_ROWS) {
        size_t n_rows = least(TILE_ROWS, end - row);
        struct f32x16 acc[MATVEC_COLS / TILE_COLS][TILE_ROWS][TILE_COLS];
        for (size_t g = 0; g * TILE_COLS < n_cols; g++) clear_tile(acc[g]);
        for (size_t p = 0; p * CPU_PIECE < n_in; p++) {
            const float *w[TILE_ROWS], *x = j->x + p * CPU_PIECE;
            size_t n = least(CPU_PIECE, n_in - p * CPU_PIECE);
            for (size_t r = 0; r < n_rows; r++) {
                const uint8_t *src = j->w + (row + r) * j->row_bytes + p * j->piece_bytes;
                w[r] = cpu_row(j->a->w.type, src, n, buf + r * CPU_PIECE);
            }
            for (size_t col = 0, g = 0; col < n_cols; col += TILE_COLS, g++) {
                const float *columns[TILE_COLS];
                size_t cols = least(TILE_COLS, n_cols - col);
                columns_at(columns, x + col * n_in, n_in, cols);
                tile_any(w, columns, n, n_rows, cols, acc[g]);
            }
        }
        for (size_t col = 0, g = 0; col < n_cols; col += TILE_COLS, g++) {
            store_tile(j, row, n_rows, col, least(TILE_COLS, n_cols - col), acc[g]);
        }
    }
}

/* Rows decoded at once: a panel that stays in the second cache. */
static size_t panel_rows(size_t n_in)
{
    size_t rows = PANEL_FLOATS / (n_in > 0 ? n_in : 1) / TILE_ROWS * TILE_ROWS;
    return rows < TILE_ROWS ? TILE_ROWS : least(rows, 64);
}

static void run_panels(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    size_t n_in = j->a->w.n_in, n_cols = j->a->n_cols, most = panel_rows(n_in);
    float *buf = cpu_scratch_of(j->cpu, thread);
    const float *w[64];
    for (size_t row = begin; row < end; row += most) {
        size_t n_rows = least(most, end - row);
        for (size_t r = 0; r < n_rows; r++) {
            w[r] = cpu_row(j->a->w.type, j->w + (row + r) * j->row_bytes, n_in, buf + r * n_in);
        }
        for (size_t col = 0; col < n_cols; col += TILE_COLS) {
            const float *x[TILE_COLS];
            size_t cols = least(TILE_COLS, n_cols - col);
            columns_at(x, j->x + col * n_in, n_in, cols);
            for (size_t r = 0; r < n_rows; r += TILE_ROWS) {
                struct f32x16 acc[TILE_ROWS][TILE_COLS];
                clear_tile(acc);
                tile_any(w + r, x, n_in, least(TILE_ROWS, n_rows - r), cols, acc);
                store_tile(j, row + r, least(TILE_ROWS, n_rows - r), col, cols, acc);
            }
        }
    }
}

/* Rows per share of a thread at least: less work is not worth waking one. */
static size_t grain(const struct op_matmul *a)
{
    size_t per_row = (size_t)a->w.n_in * a->n_cols;
    return TILE_ROWS * (1 + (size_t)PANEL_FLOATS / TILE_ROWS / (per_row > 0 ? per_row : 1));
}

static enum status product(struct cpu *c, const struct op_matmul *a, bool panels, const char *op,
                           struct err *e)
{
    size_t n_in = a->w.n_in, n_out = a->w.n_out;
    struct job j = {.cpu = c, .a = a};
    enum status st = cpu_type_of(&j.type, a->w.type, op, e);
    if (st == ST_OK && panels) st = cpu_scratch(c, panel_rows(n_in) * n_in, e);
    if (st != ST_OK) return st;
    j.row_bytes = type_bytes(type_by_id(a->w.type), n_in);
    j.piece_bytes = type_bytes(type_by_id(a->w.type), CPU_PIECE);
    j.w = cpu_at(a->w.at, j.row_bytes * n_out);
    j.x = cpu_floats(a->x, n_in * a->n_cols);
    j.out = cpu_floats(a->out, n_out * a->n_cols);
    j.bias = a->bias.buf ? cpu_floats(a->bias, n_out) : NULL;
    pool_run(c->pool, n_out, grain(a), panels ? run_panels : run_pieces, &j);
    cpu_count(c, op, j.type->name, panels ? "panels" : "pieces");
    return ST_OK;
}

enum status cpu_matvec(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    if (a->n_cols > MATVEC_COLS) {
        return fail(e, ST_USAGE, "cpu: matvec: %u columns, at most %d", a->n_cols,
                    (int)MATVEC_COLS);
    }
    return product(c, a, c->panels_only, "matvec", e);
}

enum status cpu_matmul(struct backend *b, const struct op_matmul *a, struct err *e)
{
    return product(cpu_of(b), a, true, "matmul", e);
}
