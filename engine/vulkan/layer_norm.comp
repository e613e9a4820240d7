/* out = (x - mean) / sqrt(var + eps) * w + b, b with FLAG_BIAS; row r takes row r % w_rows of both.
 * One workgroup per row. extra: w_rows; row % w_rows of the first row. */
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
layout(set = 0, binding = 3) readonly buffer B { float b[]; };
#include "reduce.glsl"

/* Mean of x - shift over the row. */
float mean_from(uint from, float shift)
{
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x)
        sum += x[from + i] - shift;
    return reduce_add(sum) / float(n_in);
}

void main()
{
    const uint row = group_index();
    if (row >= n_rows) return;
    const uint from = base[0] + row * n_in, to = base[2] + row * n_in;
    const uint of = (extra[1] + row) % extra[0] * n_in;
    /* Its own error as a second part: values may lie far from zero and close together. */
    const float mean = mean_from(from, 0.0), rest = mean_from(from, mean);
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x) {
        precise float d = (x[from + i] - mean) - rest;
        sum += d * d;
    }
    const float r = reciprocal_root(reduce_add(sum) / float(n_in) + scale);
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x) {
        precise float d = (x[from + i] - mean) - rest;
        const float y = (d * r) * w[base[1] + of + i];
        result[to + i] = (flags & FLAG_BIAS) != 0u ? y + b[base[3] + of + i] : y;
    }
}
