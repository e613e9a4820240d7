/* F16: binary16, 1 + 5 + 10 bits. */
uint element_bits(uint a, uint i) { return floatBitsToUint(f16(a + 2u * i)); }
