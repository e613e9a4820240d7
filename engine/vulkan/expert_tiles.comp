/* Lists which columns a matrix product by experts multiplies together, as product.glsl says: n_cols
 * pairs with their experts' ids in, extra[0] tiles of extra[1] columns out. One workgroup; an invocation
 * counts and writes the pairs of one expert at a time. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"

layout(set = 0, binding = 0) readonly buffer Ids { uint ids[]; };
layout(set = 0, binding = 1) writeonly buffer Tiles { uint tiles[]; };

#define NONE 0xffffffffu

shared uint needed[256]; /* tiles of each expert */

void write_tiles(uint expert, uint tile, uint count)
{
    const uint width = extra[1];
    uint n = 0u;
    for (uint i = 0u; i < n_cols && n < count * width; i++) {
        if (ids[base[0] + i] != expert) continue;
        const uint at = base[1] + (tile + n / width) * (width + 1u);
        if (n % width == 0u) tiles[at] = expert;
        tiles[at + 1u + n % width] = i;
        n++;
    }
    for (; n < count * width; n++)
        tiles[base[1] + (tile + n / width) * (width + 1u) + 1u + n % width] = NONE;
}

void main()
{
    const uint t = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x;
    uint done = 0u;
    for (uint first = 0u; first < n_experts; first += size) {
        uint n = 0u;
        for (uint i = 0u; i < n_cols; i++) n += ids[base[0] + i] == first + t ? 1u : 0u;
        barrier(); /* the counts before have been read */
        needed[t] = (n + extra[1] - 1u) / extra[1];
        barrier();
        uint before = 0u, all = 0u;
        for (uint i = 0u; i < size; i++) {
            before += i < t ? needed[i] : 0u;
            all += needed[i];
        }
        write_tiles(first + t, done + before, needed[t]);
        done += all;
    }
    for (uint i = done + t; i < extra[0]; i += size)
        for (uint c = 0u; c <= extra[1]; c++) tiles[base[1] + i * (extra[1] + 1u) + c] = NONE;
}
