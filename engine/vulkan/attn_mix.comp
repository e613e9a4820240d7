/* out (n_tokens, n_heads, head_dim) = probs v; hidden cells are not read. One invocation per
 * value. */
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
    if (i >= n_tokens * n_heads * head_dim) return;
    const uint d = i % head_dim, head = i / head_dim % n_heads, token = i / head_dim / n_heads;
    const uint kv = head / (n_heads / n_kv_heads);
    const uint from = base[0] + (token * n_heads + head) * n_cells;
    float sum = 0.0;
    for (uint cell = 0u; cell < n_cells; cell++)
        if (sees(token, cell))
            sum += q[from + cell] * value_at((cell * n_kv_heads + kv) * head_dim + d);
    result[base[5] + i] = sum;
}
