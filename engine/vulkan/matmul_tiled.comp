/* out (n_cols, n_out) = W x (+ bias) for many columns, on GPUs: a workgroup of 256 makes 64 rows by
 * 64 columns in steps of 32 elements. Each invocation decodes one group of eight weights and loads
 * eight activations into shared memory, then accumulates 4 x 4 results. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "words.glsl"
#include "product.glsl"


#define TILE 64u
#define DEPTH 32u
#define STRIDE (DEPTH + 1u) /* columns of a tile fall into different banks */

shared float tile_w[TILE * STRIDE];
shared float tile_x[TILE * STRIDE];

void load_tiles(uint first, uint tile, uint k)
{
    const uint t = gl_LocalInvocationID.x, i = t / 4u, g = t % 4u, at = i * STRIDE + 8u * g;
    float w[8];
    const uint row = min(window_row(tile, TILE, first + i), n_rows - 1u);
    row_values8(base[0] + row * ROW_BYTES, k / 8u + g, w);
    const uint col = input_of(tile, TILE, i);
    const vec4 lo = load_x(col, k + 8u * g), hi = load_x(col, k + 8u * g + 4u);
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        tile_w[at + j] = w[j];
        tile_x[at + j] = j < 4u ? lo[j & 3u] : hi[j & 3u];
    }
}

void main()
{
    const uint strips = (MATRIX_ROWS + TILE - 1u) / TILE;
    const uint first = group_index() % strips * TILE, tile = group_index() / strips;
    if (is_idle(tile, TILE, first, TILE)) return;
    const uint ty = gl_LocalInvocationID.x / 16u, tx = gl_LocalInvocationID.x % 16u;
    float acc[4][4];
    [[unroll]] for (uint r = 0u; r < 4u; r++)
        [[unroll]] for (uint c = 0u; c < 4u; c++) acc[r][c] = 0.0;
    for (uint k = 0u; k < n_in; k += DEPTH) {
        load_tiles(first, tile, k);
        barrier();
        for (uint d = 0u; d < DEPTH; d++) {
            vec4 w, y;
            [[unroll]] for (uint i = 0u; i < 4u; i++) {
                w[i] = tile_w[(ty + 16u * i) * STRIDE + d];
                y[i] = tile_x[(tx + 16u * i) * STRIDE + d];
            }
            [[unroll]] for (uint r = 0u; r < 4u; r++)
                [[unroll]] for (uint c = 0u; c < 4u; c++)
                    acc[r][c] = fma(w[r], y[c], acc[r][c]);
        }
        barrier();
    }
    [[unroll]] for (uint r = 0u; r < 4u; r++)
        [[unroll]] for (uint c = 0u; c < 4u; c++) {
            const uint row = window_row(tile, TILE, first + ty + 16u * r);
            const uint col = column_of(tile, TILE, tx + 16u * c);
            if (row < n_rows && col != NONE) store(row, col, acc[r][c]);
        }
}
