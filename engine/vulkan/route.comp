/* Expert choice, as struct op_route of backend.h says. One workgroup per token. Every choice is made by
 * counting what comes before: the larger value, or the lower index of equals. Values are compared as
 * integers in the order of numbers (NaN lowest, the zeros equal), so that there is always exactly one
 * value of each rank. extra: n_groups, n_groups_used, gating, normalise. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
#include "number.glsl"

layout(set = 0, binding = 0) readonly buffer Logits { float logits[]; };
layout(set = 0, binding = 1) readonly buffer Bias { float bias[]; };
layout(set = 0, binding = 2) writeonly buffer Ids { uint ids[]; };
layout(set = 0, binding = 3) writeonly buffer Weights { float weights[]; };
#include "reduce.glsl"

#define MAX_EXPERTS 1024u
#define SOFTMAX 1u
#define SOFTMAX_CHOSEN 3u
#define LEAST_SUM 6.103515625e-5 /* 2^-14 */

shared float probs[MAX_EXPERTS]; /* then weights, by rank */
shared uint keys[MAX_EXPERTS];   /* of selection values; then of probabilities, by rank */
shared uint others[MAX_EXPERTS]; /* keys of groups; then experts by rank */

uint key_of(float x)
{
    uint bits = floatBitsToUint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0u;
    if (bits == 0x80000000u) bits = 0u;
    return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

float value_of(uint key)
{
    if (key == 0u) return -INFINITY;
    return uintBitsToFloat((key & 0x80000000u) != 0u ? key & 0x7fffffffu : ~key);
}

float sigmoid(float x)
{
    const float e = exp_float(-abs(x)), f = 1.0 / (1.0 + e);
    return x < 0.0 ? e * f : f;
}

/* Probabilities and selection values. */
void weigh(uint from)
{
    const uint t = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x, gating = extra[2];
    float top = -INFINITY, sum = 0.0;
    if (gating == SOFTMAX) {
        for (uint i = t; i < n_experts; i += size) top = max(top, logits[from + i]);
        top = reduce_max(top);
        for (uint i = t; i < n_experts; i += size) sum += exp_float(logits[from + i] - top);
        sum = reduce_add(sum);
    }
    for (uint i = t; i < n_experts; i += size) {
        const float x = logits[from + i];
        const float p = gating == SOFTMAX          ? exp_float(x - top) / sum
                        : gating == SOFTMAX_CHOSEN ? x
                                                   : sigmoid(x);
        precise float s = p;
        if ((flags & FLAG_BIAS) != 0u) s = s + bias[base[1] + i];
        probs[i] = p;
        keys[i] = key_of(s);
    }
    barrier();
}

/* The selection values of groups that are not used become the lowest keys. */
void restrict_groups()
{
    const uint t = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x, n = extra[0];
    const uint members = n_experts / n;
    for (uint g = t; g < n; g += size) {
        uint best = 0u, second = 0u;
        for (uint i = g * members; i < (g + 1u) * members; i++) {
            second = max(second, min(best, keys[i]));
            best = max(best, keys[i]);
        }
        precise float score = value_of(best);
        if (members > 1u) score = score + value_of(second);
        others[g] = key_of(score);
    }
    barrier();
    for (uint i = t; i < n_experts; i += size) {
        const uint g = min(i / members, n - 1u), own = others[g];
        uint rank = 0u;
        for (uint k = 0u; k < n; k++)
            rank += others[k] > own || (others[k] == own && k < g) ? 1u : 0u;
        if (rank >= extra[1]) keys[i] = 0u;
    }
    barrier();
}

/* Experts, probabilities and their keys of the ranks below n_used, in the order of selection. */
void choose()
{
    const uint t = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x;
    uint ranks[MAX_EXPERTS / 64u]; /* workgroups have 64 or more */
    float values[MAX_EXPERTS / 64u];
    for (uint i = t; i < n_experts; i += size) {
        const uint own = keys[i];
        uint rank = 0u;
        for (uint k = 0u; k < n_experts; k++)
            rank += keys[k] > own || (keys[k] == own && k < i) ? 1u : 0u;
        ranks[i / size] = rank;
        values[i / size] = probs[i];
    }
    barrier();
    for (uint i = t; i < n_experts; i += size) {
        const uint rank = ranks[i / size];
        if (rank >= n_used) continue;
        others[rank] = i;
        probs[rank] = values[i / size];
        keys[rank] = key_of(values[i / size]);
    }
    barrier();
}

/* Weights from probabilities, or logits, of the chosen. */
void finish()
{
    const uint t = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x;
    if (extra[2] == SOFTMAX_CHOSEN) {
        float top = -INFINITY, sum = 0.0;
        for (uint i = t; i < n_used; i += size) top = max(top, probs[i]);
        top = reduce_max(top);
        for (uint i = t; i < n_used; i += size) {
            const float y = exp_float(probs[i] - top);
            probs[i] = y;
            sum += y;
        }
        sum = reduce_add(sum);
        for (uint i = t; i < n_used; i += size) probs[i] /= sum;
    }
    if (extra[3] == 0u) return;
    float sum = 0.0;
    for (uint i = t; i < n_used; i += size) sum += probs[i];
    sum = max(reduce_add(sum), LEAST_SUM);
    for (uint i = t; i < n_used; i += size) probs[i] /= sum;
}

void main()
{
    const uint token = group_index(), t = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x;
    if (token >= n_tokens) return;
    weigh(base[0] + token * n_experts);
    if (extra[0] > 1u) restrict_groups();
    choose();
    finish();
    for (uint i = t; i < n_used; i += size) {
        const uint own = keys[i], expert = others[i];
        uint slot = 0u;
        for (uint k = 0u; k < n_used; k++)
            slot += keys[k] > own || (keys[k] == own && others[k] < expert) ? 1u : 0u;
        ids[base[2] + token * n_used + slot] = expert;
        weights[base[3] + token * n_used + slot] = probs[i] * scale;
    }
}
