/* What every kernel shares: the parameter struct, the place in the grid.
 *
 * Bindings: 0 weights or first input, further ones, 5 tables where words.glsl is included. A view may
 * begin anywhere in what is bound: base[i] says where, in words (for weights and caches in bytes).
 */
#ifndef COMMON_GLSL
#define COMMON_GLSL

/* struct params of vk.h, member by member. */
layout(push_constant) uniform Params {
    uint base[9];
    uint n_in, n_out, n_cols;      /* matrix products, rows of n_in */
    uint row0, n_rows;             /* the window of rows that is bound */
    uint n_tokens, n_heads, n_kv_heads, head_dim, n_cells, n_dims;
    uint flags;                    /* FLAG_x */
    uint k0;                       /* first element of a row that a dispatch adds */
    float scale;                   /* or eps, or a factor */
    float softcap;                 /* 0: none */
    uint value_dim, n_experts, n_used;
    uint extra[4];                 /* as the kernel says */
};

#define FLAG_BIAS 1u
#define FLAG_NEOX 2u
#define FLAG_SINKS 4u
#define FLAG_LAST 8u
#define FLAG_PER_SLOT 16u

#define INFINITY uintBitsToFloat(0x7f800000u)
#define NOT_A_NUMBER uintBitsToFloat(0x7fc00000u)

/* Every kernel takes the size of its workgroups when its pipeline is made. */
layout(local_size_x_id = 0) in;

/* Grids longer than the limit of one dimension are folded into two. */
uint group_index() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
uint global_index() { return group_index() * gl_WorkGroupSize.x + gl_LocalInvocationID.x; }

#endif
