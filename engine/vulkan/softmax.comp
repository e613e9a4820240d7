/* out = softmax(x) per row; -infinity gives 0, a row of it alone gives zeros. One workgroup per
 * row. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#include "common.glsl"
#include "number.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) buffer Out { float result[]; };
#include "reduce.glsl"

void main()
{
    const uint row = group_index();
    if (row >= n_rows) return;
    const uint from = base[0] + row * n_in, to = base[1] + row * n_in;
    float top = -INFINITY;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x)
        top = max(top, x[from + i]);
    top = reduce_max(top);
    const bool empty = top == -INFINITY;
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x) {
        const float y = empty ? 0.0 : exp_float(x[from + i] - top);
        result[to + i] = y;
        sum += y;
    }
    sum = reduce_add(sum);
    const float f = empty ? 0.0 : 1.0 / sum;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x) result[to + i] *= f;
}
