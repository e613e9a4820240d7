/* matvec, matmul, matmul_id: out = W x (+ bias). Weights are decoded exactly to f32 and multiplied
 * in f32; the sum of one output is that of simd.h whichever way it is computed, so all operations,
 * and any number of columns, give the same bits.
 *
 *   pieces (matvec):  256 weights of each of 4 rows are decoded at a time, into the first cache
 *   panels (matmul):  whole rows are decoded once and meet all columns
 *
 * matmul_id is one product per expert, with the columns that chose it.
 */
#include "engine/cpu/cpu.h"
#include "engine/cpu/simd.h"

#include <string.h>

enum { TILE_ROWS = 4, TILE_COLS = 3, MATVEC_COLS = 8, BLOCK = 512, PANEL_FLOATS = 1 << 15 };

/* One column of x and of out. */
struct column {
    const float *x; /* (n_in) */
    float *out;     /* (n_out) */
};

/* A matrix and the columns that meet it. */
struct product {
    const uint8_t *w;
    const float *bias; /* (n_out) or NULL */
    const struct column *columns;
    size_t n_cols;
};

struct job {
    const struct cpu *cpu;
    const struct cpu_type *type;
    const struct product *products;
    enum tensor_type type_id;
    size_t n_products, n_in, n_out, row_bytes, piece_bytes;
    bool panels;
};

static inline size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* acc[r][c] += products begin to end (multiples of 16) of row w[r] and column x[c], in the parts of
 * the sixteen sums from `part` on. A macro, for the sizes must be constants: the sums then stay in
 * registers. */
#define TILE(rows, cols, parts)                                                                    \
    static void tile_##rows##_##cols(const float *const *w, const float *const *x, size_t begin,   \
                                     size_t end, size_t part, struct f32x16 acc[][TILE_COLS])      \
    {                                                                                              \
        struct f32part s[parts][rows][cols];                                                       \
        for (size_t i = 0; i < (parts) * (rows) * (cols); i++) {                                   \
            size_t p = i / ((rows) * (cols)), r = i / (cols) % (rows), c = i % (cols);             \
            s[p][r][c] = acc[r][c].part[part + p];                                                 \
        }                                                                                          \
        for (size_t k = begin + part * PART; k < end; k += LANES) {                                \
            for (size_t p = 0; p < (parts); p++) {                                                 \
                struct f32part xv[cols];                                                           \
                for (size_t c = 0; c < (cols); c++) xv[c] = f32part_load(x[c] + k + p * PART);     \
                for (size_t r = 0; r < (rows); r++) {                                              \
                    struct f32part wv = f32part_load(w[r] + k + p * PART);                         \
                    for (size_t c = 0; c < (cols); c++) {                                          \
                        s[p][r][c] = f32part_madd(wv, xv[c], s[p][r][c]);                          \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (size_t i = 0; i < (parts) * (rows) * (cols); i++) {                                   \
            size_t p = i / ((rows) * (cols)), r = i / (cols) % (rows), c = i % (cols);             \
            acc[r][c].part[part + p] = s[p][r][c];                                                 \
        }                                                                                          \
    }

/* A few columns fill the registers with one part of the sums; one column needs all for the
 * processor to have enough to do. */
TILE(4, 1, PARTS)
TILE(4, 2, 1)
TILE(4, 3, 1)
TILE(1, 1, PARTS)
TILE(1, 3, PARTS)

/* n products by one of those; between its parts, rows and columns are still in the first cache. */
#define RUN_TILE(rows, cols, parts, w, x, n, acc)                                                  \
    for (size_t at = 0; at < (n); at += BLOCK) {                                                   \
        for (size_t part = 0; part < PARTS; part += (parts)) {                                     \
            tile_##rows##_##cols(w, x, at, least(at + BLOCK, n), part, acc);                       \
        }                                                                                          \
    }

/* Any tile up to 4 x 3, by the sizes that are compiled. */
static void tile_whole(const float *const *w, const float *const *x, size_t n, size_t n_rows,
                       size_t n_cols, struct f32x16 acc[][TILE_COLS])
{
    if (n_rows == TILE_ROWS && n_cols == 1) {
        RUN_TILE(4, 1, PARTS, w, x, n, acc)
    } else if (n_rows == TILE_ROWS && n_cols == 2) {
        RUN_TILE(4, 2, 1, w, x, n, acc)
    } else if (n_rows == TILE_ROWS) {
        RUN_TILE(4, 3, 1, w, x, n, acc)
    } else if (n_cols == TILE_COLS) {
        for (size_t r = 0; r < n_rows; r++) RUN_TILE(1, 3, PARTS, w + r, x, n, acc + r)
    } else {
        for (size_t r = 0; r < n_rows; r++) {
            for (size_t c = 0; c < n_cols; c++) {
                struct f32x16 one[1][TILE_COLS] = {{acc[r][c]}};
                RUN_TILE(1, 1, PARTS, w + r, x + c, n, one)
                acc[r][c] = one[0][0];
            }
        }
    }
}

/* What is left of a row, zeros behind it. */
static void pad(float to[][LANES], const float *padded[], const float *const *from, size_t n_from,
                size_t begin, size_t end)
{
    for (size_t i = 0; i < n_from; i++) {
        memset(to[i], 0, sizeof to[i]);
        memcpy(to[i], from[i] + begin, (end - begin) * sizeof(float));
        padded[i] = to[i];
    }
}

static void tile_any(const float *const *w, const float *const *x, size_t n, size_t n_rows,
                     size_t n_cols, struct f32x16 acc[][TILE_COLS])
{
    size_t whole = n / LANES * LANES;
    tile_whole(w, x, whole, n_rows, n_cols, acc);
    if (whole < n) {
        float w_rest[TILE_ROWS][LANES], x_rest[TILE_COLS][LANES];
        const float *w_padded[TILE_ROWS], *x_padded[TILE_COLS];
        pad(w_rest, w_padded, w, n_rows, whole, n);
        pad(x_rest, x_padded, x, n_cols, whole, n);
        tile_whole(w_padded, x_padded, LANES, n_rows, n_cols, acc);
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

static void clear_tile(struct f32x16 acc[][TILE_COLS])
{
    for (size_t r = 0; r < TILE_ROWS; r++) {
        for (size_t c = 0; c < TILE_COLS; c++) acc[r][c] = f32x16_zero();
    }
}

static void store_tile(const struct product *p, size_t row, size_t n_rows, size_t col,
                       size_t n_cols, struct f32x16 acc[][TILE_COLS])
{
    for (size_t c = 0; c < n_cols; c++) {
        float *out = p->columns[col + c].out + row;
        for (size_t r = 0; r < n_rows; r++) {
            float sum = f32x16_sum(acc[r][c]);
            out[r] = p->bias ? sum + p->bias[row + r] : sum;
        }
    }
}

static void run_pieces(const struct job *j, const struct product *m, size_t begin, size_t end,
                       float *buf)
{
    for (size_t row = begin; row < end; row += TILE_ROWS) {
        size_t n_rows = least(TILE_ROWS, end - row);
        struct f32x16 acc[MATVEC_COLS / TILE_COLS + 1][TILE_ROWS][TILE_COLS];
        for (size_t g = 0; g * TILE_COLS < m->n_cols; g++) clear_tile(acc[g]);
        for (size_t p = 0; p * CPU_PIECE < j->n_in; p++) {
            const float *w[TILE_ROWS], *x[MATVEC_COLS];
            size_t n = least(CPU_PIECE, j->n_in - p * CPU_PIECE);
            for (size_t c = 0; c < m->n_cols; c++) x[c] = m->columns[c].x + p * CPU_PIECE;
            for (size_t r = 0; r < n_rows; r++) {
                const uint8_t *src = m->w + (row + r) * j->row_bytes + p * j->piece_bytes;
                w[r] = cpu_row(j->type_id, src, n, buf + r * CPU_PIECE);
            }
            for (size_t col = 0, g = 0; col < m->n_cols; col += TILE_COLS, g++) {
                tile_any(w, x + col, n, n_rows, least(TILE_COLS, m->n_cols - col), acc[g]);
            }
        }
        for (size_t col = 0, g = 0; col < m->n_cols; col += TILE_COLS, g++) {
            store_tile(m, row, n_rows, col, least(TILE_COLS, m->n_cols - col), acc[g]);
        }
    }
}

/* Rows decoded at once: a panel that stays in the second cache. */
static size_t panel_rows(size_t n_in)
{
    size_t rows = PANEL_FLOATS / (n_in > 0 ? n_in : 1) / TILE_ROWS * TILE_ROWS;
    return rows < TILE_ROWS ? TILE_ROWS : least(rows, 64);
}

static void run_panels(const struct job *j, const struct product *m, size_t begin, size_t end,
                       float *buf)
{
    size_t most = panel_rows(j->n_in);
    const float *w[64];
    for (size_t row = begin; row < end; row += most) {
        size_t n_rows = least(most, end - row);
        for (size_t r = 0; r < n_rows; r++) {
            w[r] = cpu_row(j->type_id, m->w + (row + r) * j->row_bytes, j->n_in, buf + r * j->n_in);
        }
        for (size_t col = 0; col < m->n_cols; col += TILE_COLS) {
            const float *x[TILE_COLS];
            size_t cols = least(TILE_COLS, m->n_cols - col);
            for (size_t c = 0; c < cols; c++) x[c] = m->columns[col + c].x;
            for (size_t r = 0; r < n_rows; r += TILE_ROWS) {
                struct f32x16 acc[TILE_ROWS][TILE_COLS];
                clear_tile(acc);
                tile_any(w + r, x, j->n_in, least(TILE_ROWS, n_rows - r), cols, acc);
                store_tile(m, row + r, least(TILE_ROWS, n_rows - r), col, cols, acc);
            }
        }
    }
}

/* Threads share the rows of every matrix: their work is equal however the columns fall. */
static void run_rows(void *ctx, size_t begin, size_t end, int thread)
{
    const struct job *j = ctx;
    float *buf = cpu_scratch_of(j->cpu, thread);
    for (size_t i = 0; i < j->n_products; i++) {
        const struct product *m = &j->products[i];
        if (j->panels || m->n_cols > MATVEC_COLS) {
            run_panels(j, m, begin, end, buf);
        } else {
            run_pieces(j, m, begin, end, buf);
        }
    }
}

/* Rows per share of a thread at least: less work is not worth waking one. */
static size_t grain(const struct job *j)
{
    size_t per_row = 0;
    for (size_t i = 0; i < j->n_products; i++) per_row += j->n_in * j->products[i].n_cols;
    return TILE_ROWS * (1 + (size_t)PANEL_FLOATS / TILE_ROWS / (per_row > 0 ? per_row : 1));
}

/* The sizes of w; scratch for panels of it. */
static enum status prepare(struct job *j, struct cpu *c, const struct weight *w, bool panels,
                           const char *op, struct err *e)
{
    *j = (struct job){
        .cpu = c, .type_id = w->type, .n_in = w->n_in, .n_out = w->n_out, .panels = panels};
    enum status st = cpu_type_of(&j->type, w->type, op, e);
    if (st == ST_OK) st = cpu_scratch(c, panel_rows(j->n_in) * j->n_in, e);
    if (st != ST_OK) return st;
    j->row_bytes = type_bytes(type_by_id(w->type), j->n_in);
    j->piece_bytes = type_bytes(type_by_id(w->type), CPU_PIECE);
    return ST_OK;
}

static void run(struct cpu *c, const struct job *j, const char *op)
{
    pool_run(c->pool, j->n_out, grain(j), run_rows, (void *)(uintptr_t)j);
    cpu_count(c, op, j->type->name, j->panels ? "panels" : "pieces");
}

static enum status multiply(struct cpu *c, const struct op_matmul *a, bool panels, const char *op,
                            struct err *e)
{
    struct job j;
    enum status st = prepare(&j, c, &a->w, panels, op, e);
    if (st == ST_OK) st = cpu_list(c, a->n_cols * sizeof(struct column), e);
    if (st != ST_OK) return st;
    const float *x = cpu_floats(a->x, j.n_in * a->n_cols);
    float *out = cpu_floats(a->out, j.n_out * a->n_cols);
    struct column *columns = c->list;
    for (size_t i = 0; i < a->n_cols; i++) {
        columns[i] = (struct column){x + i * j.n_in, out + i * j.n_out};
    }
    const struct product m = {.w = cpu_at(a->w.at, j.row_bytes * j.n_out),
                              .bias = a->bias.buf ? cpu_floats(a->bias, j.n_out) : NULL,
                              .columns = columns,
                              .n_cols = a->n_cols};
    j.products = &m;
    j.n_products = 1;
    run(c, &j, op);
    return ST_OK;
}

enum status cpu_matvec(struct backend *b, const struct op_matmul *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    if (a->n_cols > MATVEC_COLS) {
        return fail(e, ST_USAGE, "cpu: matvec: %u columns, at most %d", a->n_cols,
                    (int)MATVEC_COLS);
    }
    return multiply(c, a, c->panels_only, "matvec", e);
}

enum status cpu_matmul(struct backend *b, const struct op_matmul *a, struct err *e)
{
    return multiply(cpu_of(b), a, true, "matmul", e);
}

/* Sorts the slots by expert: products (n_experts), columns (slots). Returns how many experts were
 * chosen; their products come first. */
static size_t group_slots(const struct job *j, const struct op_matmul_id *a,
                          struct product *products, struct column *columns)
{
    size_t slots = (size_t)a->n_tokens * a->n_used, begin = 0, n = 0;
    size_t x_rows = a->x_per_slot ? slots : a->n_tokens, matrix = j->row_bytes * j->n_out;
    const int32_t *ids = cpu_ints(a->ids, slots);
    const float *x = cpu_floats(a->x, x_rows * j->n_in);
    const float *bias = a->bias.buf ? cpu_floats(a->bias, j->n_out * a->n_experts) : NULL;
    const uint8_t *w = cpu_at(a->w.at, matrix * a->n_experts);
    float *out = cpu_floats(a->out, slots * j->n_out);
    for (size_t i = 0; i < a->n_experts; i++) products[i] = (struct product){.n_cols = 0};
    for (size_t s = 0; s < slots; s++) products[ids[s]].n_cols++;
    for (size_t i = 0; i < a->n_experts; i++) {
        products[i].columns = columns + begin;
        begin += products[i].n_cols;
        products[i].n_cols = 0;
    }
    for (size_t s = 0; s < slots; s++) {
        struct product *m = &products[ids[s]];
        columns[(size_t)(m->columns - columns) + m->n_cols++] =
            (struct column){x + (a->x_per_slot ? s : s / a->n_used) * j->n_in, out + s * j->n_out};
    }
    for (size_t i = 0; i < a->n_experts; i++) {
        struct product m = products[i];
        if (m.n_cols == 0) continue;
        m.w = w + i * matrix;
        m.bias = bias ? bias + i * j->n_out : NULL;
        products[n++] = m;
    }
    return n;
}

enum status cpu_matmul_id(struct backend *b, const struct op_matmul_id *a, struct err *e)
{
    struct cpu *c = cpu_of(b);
    struct job j;
    size_t heads = a->n_experts * sizeof(struct product);
    size_t slots = (size_t)a->n_tokens * a->n_used;
    enum status st = prepare(&j, c, &a->w, c->panels_only, "matmul_id", e);
    if (st == ST_OK) st = cpu_list(c, heads + slots * sizeof(struct column), e);
    if (st != ST_OK) return st;
    struct product *products = c->list;
    struct column *columns = (struct column *)(void *)((uint8_t *)c->list + heads);
    j.n_products = group_slots(&j, a, products, columns);
    j.products = products;
    run(c, &j, "matmul_id");
    return ST_OK;
}
