/* out (n_tokens, n_in) = sum over s of weights[t][s] x[t][s]. One invocation per value. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Weights { float weights[]; };
layout(set = 0, binding = 2) writeonly buffer Out { float result[]; };

void main()
{
    const uint i = global_index();
    if (i >= n_in * n_tokens) return;
    const uint slot = i / n_in * n_used;
    float sum = 0.0;
    for (uint s = 0u; s < n_used; s++)
        sum = fma(weights[base[1] + slot + s], x[base[0] + (slot + s) * n_in + i % n_in], sum);
    result[base[2] + i] = sum;
}
