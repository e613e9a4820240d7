/* out (n_rows, n_in): row r of x times factors[r]. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Factors { float factors[]; };
layout(set = 0, binding = 2) writeonly buffer Out { float result[]; };

void main()
{
    const uint i = global_index();
    if (i >= n_in * n_rows) return;
    precise float y = x[base[0] + i] * factors[base[1] + i / n_in];
    result[base[2] + i] = y;
}
