/* out (n_tokens, n_heads, value_dim) = probs v over the bound cells, added to what is there unless they
 * are the first; hidden cells are not read. One invocation per eight values. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"
#include "cache.glsl"

layout(set = 0, binding = 5) buffer Out { float result[]; };

void main()
{
    const uint groups = value_dim / 8u, i = global_index(), g = i % groups, place = i / groups;
    const uint head = place % n_heads, token = place / n_heads;
    if (token >= n_tokens) return;
    const uint kv = head / (n_heads / n_kv_heads), from = base[0] + place * n_cells + k0;
    const uint to = base[5] + place * value_dim + 8u * g;
    float sum[8];
    [[unroll]] for (uint j = 0u; j < 8u; j++) sum[j] = k0 != 0u ? result[to + j] : 0.0;
    for (uint cell = 0u; cell < n_rows; cell++) {
        if (!sees(token, cell)) continue;
        const float p = q[from + cell];
        float w[8];
        value8(value_at(cell, kv), 8u * g, w);
        [[unroll]] for (uint j = 0u; j < 8u; j++) sum[j] += p * w[j];
    }
    [[unroll]] for (uint j = 0u; j < 8u; j++) result[to + j] = sum[j];
}
