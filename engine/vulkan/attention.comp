/* out (n_tokens, n_heads, head_dim) = softmax(scale q k) v, over tiles of as many cells as the
 * workgroup has invocations, with a running maximum and sum. One workgroup per token and head. An
 * invocation has one cell of a tile while scores are made, and some dimensions of the head while
 * values are mixed. Hidden cells are never read.
 */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#include "common.glsl"
#include "number.glsl"
#include "cache.glsl"

layout(set = 0, binding = 5) writeonly buffer Out { float result[]; };
#include "reduce.glsl"

#define MAX_HEAD_DIM 256u
#define HIDDEN -1.0 /* as a weight */

shared float query[MAX_HEAD_DIM];
shared float weights[256];

float score(uint cell, uint kv)
{
    const uint key = (cell * n_kv_heads + kv) * head_dim / 2u;
    float s = 0.0;
    for (uint d = 0u; d < head_dim / 2u; d++) {
        const vec2 kk = key_pair(key + d);
        s += query[2u * d] * kk.x;
        s += query[2u * d + 1u] * kk.y;
    }
    return s * scale;
}

void main()
{
    const uint size = gl_WorkGroupSize.x, t = gl_LocalInvocationID.x;
    const uint token = group_index() / n_heads, head = group_index() % n_heads;
    if (token >= n_tokens) return;
    const uint kv = head / (n_heads / n_kv_heads), row = (token * n_heads + head) * head_dim;
    for (uint d = t; d < head_dim; d += size) query[d] = q[base[0] + row + d];
    barrier();
    float acc[MAX_HEAD_DIM / 64u]; /* dimensions t, t + size, ...; workgroups have 64 or more */
    for (uint i = 0u; i < MAX_HEAD_DIM / 64u; i++) acc[i] = 0.0;
    float top = -INFINITY, sum = 0.0;
    for (uint tile = 0u; tile < n_cells; tile += size) {
        const uint cell = tile + t;
        const bool visible = cell < n_cells && sees(token, cell);
        const float s = visible ? score(cell, kv) : -INFINITY;
        const float new_top = max(top, reduce_max(s));
        if (new_top == -INFINITY) continue; /* nothing seen so far; the same for all */
        const float p = visible ? exp_float(s - new_top) : 0.0;
        const float shrink = exp_float(top - new_top);
        weights[t] = visible ? p : HIDDEN;
        sum = sum * shrink + reduce_add(p);
        top = new_top;
        barrier();
        for (uint i = 0u; i < MAX_HEAD_DIM / 64u; i++) {
            const uint d = t + i * size;
            if (d >= head_dim) break;
            float y = acc[i] * shrink;
            for (uint c = 0u; c < min(size, n_cells - tile); c++)
                if (weights[c] != HIDDEN)
                    y += weights[c] * value_at(((tile + c) * n_kv_heads + kv) * head_dim + d);
            acc[i] = y;
        }
        barrier();
    }
    for (uint i = 0u; i < MAX_HEAD_DIM / 64u; i++) {
        const uint d = t + i * size;
        if (d < head_dim) result[base[5] + row + d] = sum == 0.0 ? 0.0 : acc[i] / sum;
    }
}
