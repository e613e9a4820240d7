/* probs (n_tokens, n_heads, n_cells) = scale q k; hidden cells -infinity, their keys not read. One
 * invocation per score. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"
#include "cache.glsl"

layout(set = 0, binding = 5) writeonly buffer Out { float result[]; };

void main()
{
    const uint i = global_index();
    if (i >= n_tokens * n_heads * n_cells) return;
    const uint cell = i % n_cells, head = i / n_cells % n_heads, token = i / n_cells / n_heads;
    float s = -INFINITY;
    if (sees(token, cell)) {
        const uint from = base[0] + (token * n_heads + head) * head_dim;
        const uint key = (cell * n_kv_heads + head / (n_heads / n_kv_heads)) * head_dim / 2u;
        s = 0.0;
        for (uint d = 0u; d < head_dim / 2u; d++) {
            const vec2 kk = key_pair(key + d);
            s += q[from + 2u * d] * kk.x;
            s += q[from + 2u * d + 1u] * kk.y;
        }
        s *= scale;
    }
    result[base[5] + i] = s;
}
