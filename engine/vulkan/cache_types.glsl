/* Types that a cache may have, by their numbers in types.def, and what their rows take. */
#ifndef CACHE_TYPES_GLSL
#define CACHE_TYPES_GLSL

#define TYPE_F32 0u
#define TYPE_F16 1u
#define TYPE_Q4_0 2u
#define TYPE_Q5_1 7u
#define TYPE_Q8_0 8u
#define TYPE_IQ4_NL 20u
#define TYPE_BF16 30u

#define BLOCK 32u /* values of a block, of the types that have blocks */

uint block_bytes(uint type) { return type == TYPE_Q8_0 ? 34u : type == TYPE_Q5_1 ? 24u : 18u; }

/* Bytes of n values. */
uint cache_bytes(uint type, uint n)
{
    return type == TYPE_F32                        ? 4u * n
           : type == TYPE_F16 || type == TYPE_BF16 ? 2u * n
                                                   : n / BLOCK * block_bytes(type);
}

#endif
