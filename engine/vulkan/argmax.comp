/* The lowest index of the largest value of each row; NaN never, unless all are. One workgroup per
 * row. Values are compared as integers in the order of numbers: NaN lowest, the zeros equal. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(set = 0, binding = 1) writeonly buffer Out { uint result[]; };

shared uint keys[256];
shared uint places[256];

uint key_of(uint bits)
{
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0u;
    if (bits == 0x80000000u) bits = 0u;
    return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

void main()
{
    const uint row = group_index(), t = gl_LocalInvocationID.x;
    if (row >= n_rows) return;
    uint key = 0u, place = 0xffffffffu;
    for (uint i = t; i < n_in; i += gl_WorkGroupSize.x) {
        const uint k = key_of(x[base[0] + row * n_in + i]);
        if (k > key || place == 0xffffffffu) {
            key = k;
            place = i;
        }
    }
    keys[t] = key;
    places[t] = place;
    barrier();
    for (uint n = gl_WorkGroupSize.x / 2u; n > 0u; n /= 2u) {
        const uint o = t + n;
        if (t < n && (keys[o] > keys[t] || (keys[o] == keys[t] && places[o] < places[t]))) {
            keys[t] = keys[o];
            places[t] = places[o];
        }
        barrier();
    }
    if (t == 0u) result[base[1] + row] = places[0];
}
