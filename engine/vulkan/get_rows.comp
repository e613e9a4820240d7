/* out row i = row ids[i] of the matrix, decoded. One invocation per 8 elements. Rows outside the
 * bound window are left to the dispatch of their own window. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef NARROW
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_8bit_storage : require
#endif
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "common.glsl"
#include "words.glsl"

layout(set = 0, binding = 1) readonly buffer Ids { uint ids[]; };
layout(set = 0, binding = 2) writeonly buffer Out { uint result[]; };

void main()
{
    const uint groups = (n_in + 7u) / 8u, i = global_index();
    if (i >= groups * n_cols) return;
    const uint col = i / groups, g = i % groups;
    const uint row = ids[base[1] + col] - row0; /* wraps below row0: not in the window either */
    if (row >= n_rows) return;
    const uint at = base[2] + col * n_in + 8u * g;
#ifdef PLAIN
    const uint a = base[0] + row * n_in * BLOCK_BYTES;
    for (uint j = 0u; j < min(8u, n_in - 8u * g); j++)
        result[at + j] = element_bits(a, 8u * g + j);
#else
    const uint a = base[0] + (row * (n_in / BLOCK_ELEMS) + g / (BLOCK_ELEMS / 8u)) * BLOCK_BYTES;
    uint bits[8];
    decode_bits(a, g % (BLOCK_ELEMS / 8u), bits);
    for (uint j = 0u; j < 8u; j++) result[at + j] = bits[j];
#endif
}
