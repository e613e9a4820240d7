/* out = a + b. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(set = 0, binding = 0) readonly buffer A { float a[]; };
layout(set = 0, binding = 1) readonly buffer B { float b[]; };
layout(set = 0, binding = 2) writeonly buffer Out { float result[]; };

void main()
{
    const uint i = global_index();
    if (i >= n_in) return;
    precise float y = a[base[0] + i] + b[base[1] + i];
    result[base[2] + i] = y;
}
