/* Q6_K: ql[128] @0 | qh[64] @128 | scales[16] i8 @192 | d f16 @208. Half n has 64 bytes of ql and
 * 32 of qh; its quarter k: nibble k / 2 of ql bytes 32 (k % 2) .., bits 2k of the qh bytes.
 *   y = (d * sc) * (q - 32) */
#define GROUP 16u

vec2 scales(uint a, uint g) { return vec2(f16(a + 208u) * float(i8(a + 192u + (g >> 1))), 0.0); }

void quants(uint a, uint g, out float q[8])
{
    const uint n = g >> 4, k = g >> 2 & 3u, l = 8u * (g & 3u);
    const uint pl = a + 64u * n + 32u * (k & 1u) + l, ph = a + 128u + 32u * n + l;
    const uvec2 low = uvec2(u32(pl), u32(pl + 4u)) >> (4u * (k >> 1)) & 0x0f0f0f0fu;
    const uvec2 high = uvec2(u32(ph), u32(ph + 4u)) >> (2u * k) & 0x03030303u;
    const uvec2 v = low | high << 4;
    [[unroll]] for (uint j = 0u; j < 4u; j++) {
        q[j] = float(bitfieldExtract(v.x, int(8u * j), 8)) - 32.0;
        q[j + 4u] = float(bitfieldExtract(v.y, int(8u * j), 8)) - 32.0;
    }
}
