/* Rotates pairs of each head in place by angles from a table made on the host. One invocation per
 * pair. extra: the first dimension. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(set = 0, binding = 0) buffer X { float x[]; };
layout(set = 0, binding = 1) readonly buffer Angles { float angles[]; };

void main()
{
    const uint pairs = n_dims / 2u, i = global_index();
    if (i >= n_tokens * n_heads * pairs) return;
    const uint p = i % pairs, head = i / pairs, token = head / n_heads;
    const bool neox = (flags & FLAG_NEOX) != 0u;
    const uint a = base[0] + head * head_dim + extra[0] + (neox ? p : 2u * p);
    const uint b = a + (neox ? pairs : 1u);
    const uint t = base[1] + (token * pairs + p) * 2u;
    const float c = angles[t], s = angles[t + 1u], xa = x[a], xb = x[b];
    x[a] = xa * c - xb * s;
    x[b] = xa * s + xb * c;
}
