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

void load_tiles(uint first, uint col0, uint k)
{
    const uint t = gl_LocalInvocationID.x, i = t / 4u, g = t % 4u, at = i * STRIDE + 8u * g;
    float w[8];
    row_values8(base[0] + min(first + i, n_rows - 1u) * ROW_BYTES, k / 8u + g, w);
    const uint col = min(col0 + i, n_cols - 1u);
    const vec4 lo = load_x(col, k + 8u * g), hi = load_x(col, k + 8u * g + 4u);
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        tile_w[at + j] = w[j];
        tile_x[at + j] = j < 4u ? lo[j & 3u] : hi[j & 3u];
    }
}

void main()
{
    const uint tiles = (n_rows + TILE - 1u) / TILE;
    const uint first = group_index() % tiles * TILE, col0 = group_index() / tiles * TILE;
    if (col0 >= n_cols) return;
    const uint ty = gl_LocalInvocationID.x / 16u, tx = gl_LocalInvocationID.x % 16u;
    float acc[4][4];
    [[unroll]] for (uint r = 0u; r < 4u; r++)
        [[unroll]] for (uint c = 0u; c < 4u; c++) acc[r][c] = 0.0;
    for (uint k = 0u; k < n_in; k += DEPTH) {
        load_tiles(first, col0, k);
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
            const uint row = first + ty + 16u * r, col = col0 + tx + 16u * c;
            if (row < n_rows && col < n_cols) store(row, col, acc[r][c]);
        }
}
