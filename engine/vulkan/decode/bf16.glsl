/* BF16: the upper half of a binary32. */
uint element_bits(uint a, uint i) { return u16(a + 2u * i) << 16; }
