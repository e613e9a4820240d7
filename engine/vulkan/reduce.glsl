/* Sums and maxima over a workgroup, by subgroup arithmetic (SUBGROUP) or through shared memory. All
 * invocations must call; all get the result. Needs common.glsl.
 * scratch holds one value per invocation. */
#ifndef REDUCE_GLSL
#define REDUCE_GLSL

shared float scratch[256];

#ifdef SUBGROUP
float across(float v, bool largest)
{
    if (gl_NumSubgroups == 1u) return v;
    barrier(); /* the values of a reduction before this one have been read */
    if (subgroupElect()) scratch[gl_SubgroupID] = v;
    barrier();
    float r = scratch[0];
    for (uint i = 1u; i < gl_NumSubgroups; i++) r = largest ? max(r, scratch[i]) : r + scratch[i];
    return r;
}

float reduce_add(float v) { return across(subgroupAdd(v), false); }
float reduce_max(float v) { return across(subgroupMax(v), true); }
#else
float reduce(float v, bool largest)
{
    const uint i = gl_LocalInvocationID.x;
    barrier();
    scratch[i] = v;
    barrier();
    for (uint n = gl_WorkGroupSize.x / 2u; n > 0u; n /= 2u) {
        if (i < n) {
            const float a = scratch[i], b = scratch[i + n];
            scratch[i] = largest ? max(a, b) : a + b;
        }
        barrier();
    }
    return scratch[0];
}

float reduce_add(float v) { return reduce(v, false); }
float reduce_max(float v) { return reduce(v, true); }
#endif

#endif
