/* out (n_cols, n_out) = W x (+ bias) for devices that are processors: each invocation takes a row,
 * so that the lanes of a subgroup decode as many rows at once, without a reduction. One dispatch
 * adds 256 elements of every row. Their activations are staged in shared memory, and a full chunk
 * is straight-line code: only outside of loops and branches, and only at places known from constants
 * and push constants, does llvmpipe read what all lanes want alike once instead of lane by lane. The
 * weights of a block are loaded into registers and decoded from there with constant indices. So a
 * workgroup whose tile lists nothing (BY_EXPERT) does not leave early: it works for nothing.
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

void stage(uint tile)
{
    const uint from = base[1], length = n_in, last = n_cols - 1u, first = k0; /* read once */
    for (uint i = gl_LocalInvocationID.x; i < COLS * UNIT_ELEMS; i += gl_WorkGroupSize.x) {
        const uint c = i / UNIT_ELEMS, k = first + i % UNIT_ELEMS;
        const uint col = BY_EXPERT ? input_of(tile, COLS, c) : min(c, last);
        staged[i] = k < length ? x[from + col * length + k] : 0.0;
    }
    barrier();
}

/* Adds the elements of the row whose unit begins at byte a. */
void add_unit(uint a)
{
    load_unit(a, (base[0] + n_rows * ROW_BYTES) >> 4, ALIGNED);
    vec2 scale_min;
    /* The first activation of every eight is read from the buffer: the check of its range is a
     * branch, and LLVM, which orders instructions between branches only, would otherwise spread all
     * 256 elements over the stack, as weights, as products, as sums. */
    [[unroll]] for (uint g = 0u; g < UNIT_ELEMS / 8u; g++) {
        float w[8];
        unit_values8(g, scale_min, w);
        if (!FULL) /* what follows the row in memory may be anything */
            [[unroll]] for (uint j = 0u; j < 8u; j++) w[j] = k0 + 8u * g + j < n_in ? w[j] : 0.0;
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            const uint at = UNIT_ELEMS * c + 8u * g;
            float p[8]; /* summed as a tree: a chain of additions would wait for each other */
            [[unroll]] for (uint j = 0u; j < 8u; j++) 
                p[j] = w[j] * (FULL && !BY_EXPERT && c == 0u && j == 0u ? x[base[1] + k0 + 8u * g]
                                                                        : staged[at + j]);
            acc[c] += ((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]));
        }
    }
}

void main()
{
    /* Parameters are read here: in a branch each costs as much as a load of the lanes' own. */
    const uint rows = n_rows, columns = n_cols, stride = n_out;
    const uint strips = BY_EXPERT ? (stride + gl_WorkGroupSize.x - 1u) / gl_WorkGroupSize.x : 1u;
    const uint tile = BY_EXPERT ? group_index() / strips : 0u;
    const uint first = group_index() % strips * gl_WorkGroupSize.x;
    const uint own = first + gl_LocalInvocationID.x; /* of the expert's rows */
    const uint row = BY_EXPERT ? window_row(tile, COLS, own) : global_index();
    const uint at = base[3] + (BY_EXPERT ? own : row0 + row), bias_at = base[2] + row0 + row;
    const bool begins = k0 == 0u, biased = begins && (flags & FLAG_BIAS) != 0u;
    uint place[COLS]; /* of the columns' results */
    if (BY_EXPERT)
        [[unroll]] for (uint c = 0u; c < COLS; c++) {
            const uint pair = column_of(tile, COLS, c);
            place[c] = pair == NONE ? NONE : at + pair * stride;
        }
    stage(tile);
    [[unroll]] for (uint c = 0u; c < COLS; c++) acc[c] = 0.0;
    /* Rows past the end repeat the last one: no branch around the work. */
    add_unit(base[0] + min(row, rows - 1u) * ROW_BYTES + k0 / BLOCK_ELEMS * BLOCK_BYTES);
    if (row >= rows) return;
    float offset = 0.0;
    if (biased) offset = bias[bias_at];
    [[unroll]] for (uint c = 0u; c < COLS; c++)
        if (BY_EXPERT ? place[c] != NONE : c == 0u || c < columns) {
            const uint to = BY_EXPERT ? place[c] : at + c * stride;
            /* Two uses of the sum: one that is used once LLVM makes anew, lane by lane, in the loop
             * over lanes that llvmpipe stores by. */
            if (begins) result[to] = acc[c] + offset;
            else result[to] += acc[c];
        }
}
