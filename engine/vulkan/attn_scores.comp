/* probs (n_tokens, n_heads, n_cells) = scores of the bound cells; hidden cells -infinity, their keys not
 * read. One invocation per score. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"
#include "cache.glsl"

layout(set = 0, binding = 5) writeonly buffer Out { float result[]; };

void main()
{
    const uint i = global_index(), cell = i % n_rows, place = i / n_rows;
    const uint head = place % n_heads, token = place / n_heads;
    if (token >= n_tokens) return;
    float s = -INFINITY;
    if (sees(token, cell)) {
        const uint from = base[0] + place * head_dim;
        const uint a = key_at(cell, head / (n_heads / n_kv_heads));
        float sum = 0.0;
        for (uint d = 0u; d < head_dim; d += 8u) {
            float w[8];
            key8(a, d, w);
            [[unroll]] for (uint j = 0u; j < 8u; j++) sum += q[from + d + j] * w[j];
        }
        s = score_of(sum);
    }
    result[base[5] + place * n_cells + k0 + cell] = s;
}
