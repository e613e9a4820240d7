/* Reading queries, keys and values, and who sees what. Bindings as in ops_attention.c. */
#ifndef CACHE_GLSL
#define CACHE_GLSL

layout(constant_id = 1) const bool K_F16 = false;
layout(constant_id = 2) const bool V_F16 = false;
layout(set = 0, binding = 0) readonly buffer Q { float q[]; }; /* or probs */
layout(set = 0, binding = 1) readonly buffer K { uint k[]; };
layout(set = 0, binding = 2) readonly buffer V { uint v[]; };
layout(set = 0, binding = 3) readonly buffer Pos { int pos[]; };
layout(set = 0, binding = 4) readonly buffer CellPos { int cell_pos[]; };

/* Values 2i and 2i + 1 of the keys. */
vec2 key_pair(uint i)
{
    if (!K_F16) return uintBitsToFloat(uvec2(k[base[1] + 2u * i], k[base[1] + 2u * i + 1u]));
    const uint w = k[base[1] + i];
    return vec2(half_float(w & 65535u), half_float(w >> 16));
}

float value_at(uint i)
{
    if (!V_F16) return uintBitsToFloat(v[base[2] + i]);
    return half_float(v[base[2] + i / 2u] >> (16u * (i & 1u)) & 65535u);
}

bool sees(uint token, uint cell)
{
    const int p = cell_pos[base[4] + cell];
    return p >= 0 && p <= pos[base[3] + token];
}

#endif
