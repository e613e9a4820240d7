/* What matrix products share: a row's weights and the activations, 8 or 32 at a time. Elements past
 * the end of a row (plain types only, whose rows have any length) are zeros.
 *
 * A workgroup multiplies rows with a tile of columns. BY_EXPERT, there are many matrices of n_out rows
 * one after the other, and the columns of a tile are those of one of them: pairs, numbered token *
 * n_used + slot, that chose this expert. expert_tiles.comp has listed them: for each of extra[0] tiles
 * the expert and as many pairs as a tile is wide, NONE where there is no more. Rows are then those of
 * the expert; which of them are in the bound window is told by window_row. There may be tiles of
 * nothing, in which there is no row and no column. */
#ifndef PRODUCT_GLSL
#define PRODUCT_GLSL

layout(constant_id = 1) const uint COLS = 1;        /* columns per workgroup */
layout(constant_id = 2) const bool ALIGNED = false; /* what is read by 16 bytes begins at such */
layout(set = 0, binding = 1) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer X4 { vec4 x4[]; };
layout(set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 3) buffer Out { float result[]; };
layout(constant_id = 4) const bool BY_EXPERT = false;
layout(set = 0, binding = 4) readonly buffer Tiles { uint tiles[]; };

#define NONE 0xffffffffu
#define MATRIX_ROWS (BY_EXPERT ? n_out : n_rows)

/* Entry i of the tile's list: the expert, then pairs. */
uint listed(uint tile, uint width, uint i)
{
    return tile < extra[0] ? tiles[base[4] + tile * (width + 1u) + i] : NONE;
}

/* Whether nothing of rows first .. first + count - 1 times the tile is to be done. */
bool is_idle(uint tile, uint width, uint first, uint count)
{
    if (!BY_EXPERT) return tile * width >= n_cols;
    const uint expert = listed(tile, width, 0u);
    if (expert == NONE) return true;
    const uint at = expert * n_out + first; /* of all rows; the window ends at row0 + n_rows */
    return at >= row0 + n_rows || at + count <= row0;
}

/* The row of the window that is row r of the tile's matrix; n_rows or more: not in the window. */
uint window_row(uint tile, uint width, uint r)
{
    if (!BY_EXPERT) return r;
    const uint expert = listed(tile, width, 0u);
    return expert != NONE && r < n_out ? expert * n_out + r - row0 : NONE;
}

/* Column c of the tile; NONE past the last. */
uint column_of(uint tile, uint width, uint c)
{
    if (BY_EXPERT) return listed(tile, width, 1u + c);
    return tile * width + c < n_cols ? tile * width + c : NONE;
}

/* The row of x that column c is made of; that of another column past the last. */
uint input_of(uint tile, uint width, uint c)
{
    if (!BY_EXPERT) return min(tile * width + c, n_cols - 1u);
    uint pair = column_of(tile, width, c);
    if (pair == NONE) pair = column_of(tile, width, 0u);
    if (pair == NONE) return 0u;
    return (flags & FLAG_PER_SLOT) != 0u ? pair : pair / n_used;
}

#define ROW_BYTES (n_in / BLOCK_ELEMS * BLOCK_BYTES)

/* Activations i .. i+3 of a row of x. */
vec4 load_x(uint col, uint i)
{
    const uint at = base[1] + col * n_in + i;
#ifdef PLAIN
    if (i + 4u > n_in)
        return vec4(i < n_in ? x[at] : 0.0, i + 1u < n_in ? x[at + 1u] : 0.0,
                    i + 2u < n_in ? x[at + 2u] : 0.0, 0.0);
#endif
    if (ALIGNED) return x4[at / 4u];
    return vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

#ifdef IN_REGISTERS
/* Elements 8g .. 8g+7 of the loaded unit. For g in rising order: scales are taken when a new group
 * begins, and kept in sm. */
void unit_values8(uint g, inout vec2 sm, out float w[8])
{
#ifdef PLAIN
    [[unroll]] for (uint j = 0u; j < 8u; j++)
        w[j] = uintBitsToFloat(element_bits(0u, 8u * g + j));
#else
    const uint per = BLOCK_ELEMS / 8u, a = g / per * BLOCK_BYTES;
    if (g % (GROUP / 8u) == 0u) sm = scales(a, g % per);
    quants(a, g % per, w);
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        w[j] = sm.x * w[j];
#ifdef HAS_MIN
        w[j] -= sm.y;
#endif
    }
#endif
}
#else
/* Elements 8g .. 8g+7 of the row at byte a. */
void row_values8(uint a, uint g, out float w[8])
{
#ifdef PLAIN
    [[unroll]] for (uint j = 0u; j < 8u; j++)
        w[j] = 8u * g + j < n_in ? uintBitsToFloat(element_bits(a, 8u * g + j)) : 0.0;
#else
    const uint per = BLOCK_ELEMS / 8u;
    decode_values(a + g / per * BLOCK_BYTES, g % per, w);
#endif
}
#endif

uint result_at(uint row, uint col) { return base[3] + col * n_out + (row0 + row) % n_out; }

void store(uint row, uint col, float y)
{
    const float b = (flags & FLAG_BIAS) != 0u ? bias[base[2] + row0 + row] : 0.0;
    result[result_at(row, col)] = y + b;
}

#endif
