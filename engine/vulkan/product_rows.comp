/* out (n_cols, n_out) = W x (+ bias) for devices that are processors: each invocation takes a row,
 * so that the lanes of a subgroup decode as many rows at once, without a reduction. One dispatch
 * adds 256 elements of every row. Their activations are staged in shared memory, and a full chunk
 * is straight-line code: only outside of loops and branches, and only at constant places, does
 * llvmpipe read what all lanes want alike once instead of lane by lane. The weights of a block are
 * loaded into registers and decoded from there with constant indices.
 */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#define IN_REGISTERS
#include "words.glsl"
#include "product.glsl"

layout(constant_id = 3) const bool FULL = false; /* all elements of the unit are there */

shared float staged[COLS * UNIT_ELEMS];
float acc[COLS];

void stage(uint col0)
{
    for (uint i = gl_LocalInvocationID.x; i < COLS * UNIT_ELEMS; i += gl_WorkGroupSize.x) {
        const uint col = min(col0 + i / UNIT_ELEMS, n_cols - 1u), k = k0 + i % UNIT_ELEMS;
        staged[i] = k < n_in ? x[base[1] + col * n_in + k] : 0.0;
    }
    barrier();
}

/* Adds the elements of the row whose unit begins at byte a. */
void add_unit(uint a)
{
    load_unit(a, (base[0] + n_rows * ROW_BYTES) >> 4, ALIGNED);
    vec2 scale_min;
    [[unroll]] for (uint g = 0u; g < UNIT_ELEMS / 8u; g++) {
        float w[8];
        unit_values8(g, scale_min, w);
        if (!FULL) /* what follows the row in memory may be anything */
            [[unroll]] for (uint j = 0u; j < 8u; j++) w[j] = k0 + 8u * g + j < n_in ? w[j] : 0.0;
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            const uint at = UNIT_ELEMS * c + 8u * g;
            float p[8]; /* summed as a tree: a chain of additions would wait for each other */
            [[unroll]] for (uint j = 0u; j < 8u; j++) p[j] = w[j] * staged[at + j];
            acc[c] += ((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]));
        }
    }
}

void main()
{
    const uint tiles = (n_rows + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x;
    const uint row = group_index() % tiles * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint col0 = group_index() / tiles * COLS;
    stage(col0);
    [[unroll]] for (uint c = 0u; c < COLS; c++) acc[c] = 0.0;
    /* Rows past the end repeat the last one: no branch around the work. */
    const uint a = base[0] + min(row, n_rows - 1u) * ROW_BYTES + k0 / BLOCK_ELEMS * BLOCK_BYTES;
    add_unit(a);
    if (row >= n_rows) return;
    [[unroll]] for (uint c = 0u; c < COLS; c++)
        if (col0 + c < n_cols) {
            if (k0 == 0u) store(row, col0 + c, acc[c]);
            else result[base[3] + (col0 + c) * n_out + row0 + row] += acc[c];
        }
}
