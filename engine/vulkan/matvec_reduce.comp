/* out (n_cols, n_out) = W x (+ bias) for few columns, on GPUs: a workgroup takes two rows, its
 * invocations the groups of eight elements in turn, so that neighbours read neighbouring bytes; the
 * partial sums are reduced at the end. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#ifdef NARROW
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#endif
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "common.glsl"
#include "words.glsl"
#include "product.glsl"

#include "reduce.glsl"

#define ROWS 2u

void main()
{
    const uint strips = (MATRIX_ROWS + ROWS - 1u) / ROWS;
    const uint first = group_index() % strips * ROWS, tile = group_index() / strips;
    if (is_idle(tile, COLS, first, ROWS)) return;
    uint rows[ROWS];
    [[unroll]] for (uint r = 0u; r < ROWS; r++) rows[r] = window_row(tile, COLS, first + r);
    float acc[ROWS][COLS];
    [[unroll]] for (uint r = 0u; r < ROWS; r++)
        [[unroll]] for (uint c = 0u; c < COLS; c++) acc[r][c] = 0.0;
    for (uint g = gl_LocalInvocationID.x; g < (n_in + 7u) / 8u; g += gl_WorkGroupSize.x) {
        float w[ROWS][8];
        [[unroll]] for (uint r = 0u; r < ROWS; r++)
            row_values8(base[0] + min(rows[r], n_rows - 1u) * ROW_BYTES, g, w[r]);
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            const uint col = input_of(tile, COLS, c);
            const vec4 lo = load_x(col, 8u * g), hi = load_x(col, 8u * g + 4u);
            [[unroll]] for (uint r = 0u; r < ROWS; r++)
                [[unroll]] for (uint j = 0u; j < 4u; j++) {
                    acc[r][c] = fma(w[r][j], lo[j], acc[r][c]);
                    acc[r][c] = fma(w[r][j + 4u], hi[j], acc[r][c]);
                }
        }
    }
    [[unroll]] for (uint r = 0u; r < ROWS; r++)
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            const float y = reduce_add(acc[r][c]);
            const uint col = column_of(tile, COLS, c);
            if (gl_LocalInvocationID.x == 0u && rows[r] < n_rows && col != NONE)
                store(rows[r], col, y);
        }
}
