/* out = softmax(x) per row; -infinity gives 0, a row of it alone gives zeros. With FLAG_SINKS, row r
 * has one more score, sinks[r % n_sinks], that is in the maximum and in the sum and not in out. One
 * workgroup per row. extra: n_sinks; row % n_sinks of the first row. */
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
layout(set = 0, binding = 2) readonly buffer Sinks { float sinks[]; };
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
    float sink = -INFINITY;
    if ((flags & FLAG_SINKS) != 0u) sink = sinks[base[2] + (extra[1] + row) % extra[0]];
    top = max(top, sink);
    const bool empty = top == -INFINITY;
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x) {
        const float y = empty ? 0.0 : exp_float(x[from + i] - top);
        result[to + i] = y;
        sum += y;
    }
    sum = reduce_add(sum) + (empty ? 0.0 : exp_float(sink - top));
    const float f = empty ? 0.0 : 1.0 / sum;
    for (uint i = gl_LocalInvocationID.x; i < n_in; i += gl_WorkGroupSize.x) result[to + i] *= f;
}
