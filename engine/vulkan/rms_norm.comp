/* out = x / sqrt(mean(x^2) + eps) * w; row r takes row r % w_rows of w. One workgroup per row.
 * extra: w_rows; row r % w_rows of the first row. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#include "common.glsl"
#include "number.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer W { float w[]; };
layout(set = 0, binding = 2) buffer Out { float result[]; };
#include "reduce.glsl"

void main()
{
    const uint row = group_index();
    if (row >= n_rows) return;
    const uint from = base[0] + row * n_in, to = base[2] + row * n_in;
    const uint of = base[1] + (extra[1] + row) % extra[0] * n_in;
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x)
        sum += x[from + i] * x[from + i];
    const float r = reciprocal_root(reduce_add(sum) / float(n_in) + scale);
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x)
        result[to + i] = (x[from + i] * r) * w[of + i];
}
