/* F32: the bits themselves. */
uint element_bits(uint a, uint i) { return u32_aligned(a + 4u * i); }
