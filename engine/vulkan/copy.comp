/* out[r * out_row + g * out_group + i] = x[r * x_row + g * x_group + i] for n_rows rows of n_cols
 * groups of n_in values. One invocation per value. extra: x_row, x_group, out_row, out_group. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(set = 0, binding = 1) writeonly buffer Out { uint result[]; };

void main()
{
    const uint at = global_index(), i = at % n_in, g = at / n_in % n_cols, r = at / n_in / n_cols;
    if (r >= n_rows) return;
    result[base[1] + r * extra[2] + g * extra[3] + i] = x[base[0] + r * extra[0] + g * extra[1] + i];
}
