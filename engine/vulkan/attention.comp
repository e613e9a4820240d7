/* out (n_tokens, n_heads, value_dim) = softmax(scores) v, over tiles of as many cells as the workgroup
 * has invocations, with a running maximum and sum. One workgroup per token and head. An invocation has
 * one cell of a tile while scores are made, and eight dimensions of the head and a share of the cells
 * while values are mixed. Hidden cells are never read.
 *
 * A cache that is bound in windows takes a dispatch for each: between them, out holds sums that are
 * not divided yet, and state (n_tokens, n_heads, 2) the maximum and the sum of weights.
 */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#ifdef SUBGROUP
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#ifdef HALF
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#include "common.glsl"
#include "number.glsl"
#include "cache.glsl"

layout(set = 0, binding = 5) buffer Out { float result[]; };
layout(set = 0, binding = 7) readonly buffer Sinks { float sinks[]; };
layout(set = 0, binding = 8) buffer State { float state[]; };
#include "reduce.glsl"

#define MAX_HEAD_DIM 1024u
#define MAX_SIZE 128u /* of a workgroup; an eighth of value_dim or more */
#define HIDDEN -1.0   /* as a weight */

shared float query[MAX_HEAD_DIM];
shared float weights[MAX_SIZE];
shared float partial[8u * MAX_SIZE];

float score(uint cell, uint kv)
{
    const uint a = key_at(cell, kv);
    float s = 0.0;
    for (uint d = 0u; d < head_dim; d += 8u) {
        float w[8];
        key8(a, d, w);
        [[unroll]] for (uint j = 0u; j < 8u; j++) s += query[d + j] * w[j];
    }
    return score_of(s);
}

void main()
{
    const uint size = gl_WorkGroupSize.x, t = gl_LocalInvocationID.x;
    const uint token = group_index() / n_heads, head = group_index() % n_heads;
    if (token >= n_tokens) return;
    const uint kv = head / (n_heads / n_kv_heads), place = token * n_heads + head;
    for (uint d = t; d < head_dim; d += size) query[d] = q[base[0] + place * head_dim + d];
    barrier();
    /* Eight dimensions from 8g on, of every shares-th cell of a tile. */
    const uint groups = value_dim / 8u, shares = size / groups, g = t % groups, share = t / groups;
    const uint to = base[5] + place * value_dim + 8u * g;
    const bool mixes = share < shares, more = k0 != 0u;
    float acc[8];
    [[unroll]] for (uint j = 0u; j < 8u; j++) acc[j] = more && share == 0u ? result[to + j] : 0.0;
    float top = more ? state[base[8] + 2u * place] : -INFINITY;
    float sum = more ? state[base[8] + 2u * place + 1u] : 0.0;
    for (uint tile = 0u; tile < n_rows; tile += size) {
        const uint cell = tile + t;
        const bool visible = cell < n_rows && sees(token, cell);
        const float s = visible ? score(cell, kv) : -INFINITY;
        const float new_top = max(top, reduce_max(s));
        if (new_top == -INFINITY) continue; /* nothing seen so far; the same for all */
        const float p = visible ? exp_float(s - new_top) : 0.0;
        const float shrink = exp_float(top - new_top);
        weights[t] = visible ? p : HIDDEN;
        sum = sum * shrink + reduce_add(p);
        top = new_top;
        barrier();
        [[unroll]] for (uint j = 0u; j < 8u; j++) acc[j] *= shrink;
        const uint end = mixes ? min(size, n_rows - tile) : 0u;
        for (uint c = share; c < end; c += shares) {
            const float weight = weights[c];
            if (weight == HIDDEN) continue;
            float w[8];
            value8(value_at(tile + c, kv), 8u * g, w);
            [[unroll]] for (uint j = 0u; j < 8u; j++) acc[j] += weight * w[j];
        }
        barrier();
    }
    if ((flags & FLAG_SINKS) != 0u) {
        const float sink = sinks[base[7] + head], new_top = max(top, sink);
        const float shrink = exp_float(top - new_top);
        sum = sum * shrink + exp_float(sink - new_top);
        [[unroll]] for (uint j = 0u; j < 8u; j++) acc[j] *= shrink;
    }
    [[unroll]] for (uint j = 0u; j < 8u; j++) partial[8u * t + j] = acc[j];
    barrier();
    if (share != 0u) return;
    for (uint i = 1u; i < shares; i++)
        [[unroll]] for (uint j = 0u; j < 8u; j++) acc[j] += partial[8u * (t + i * groups) + j];
    if ((flags & FLAG_LAST) == 0u) {
        if (t == 0u) {
            state[base[8] + 2u * place] = top;
            state[base[8] + 2u * place + 1u] = sum;
        }
        sum = 1.0;
    }
    [[unroll]] for (uint j = 0u; j < 8u; j++)
        result[to + j] = sum == 0.0 ? 0.0 : acc[j] / sum;
}
