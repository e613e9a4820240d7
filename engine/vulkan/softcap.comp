/* out = factor * tanh(x / factor). */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"

layout(set = 0, binding = 0) readonly buffer X { float x[]; };
layout(set = 0, binding = 1) writeonly buffer Out { float result[]; };

void main()
{
    const uint i = global_index();
    if (i >= n_in) return;
    precise float y = scale * tanh_float(x[base[0] + i] / scale);
    result[base[1] + i] = y;
}
