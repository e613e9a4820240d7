/* UTF-8; see utf8.h. Table 3-7 of the Unicode Standard. */
#include "utf8.h"

/* What may follow a lead byte: how many bytes, and the range of the first of them. */
static unsigned sequence_of(unsigned lead, unsigned *low, unsigned *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead == 0xE0) *low = 0xA0;
    if (lead == 0xED) *high = 0x9F;
    if (lead < 0xF0) return 3;
    if (lead == 0xF0) *low = 0x90;
    if (lead == 0xF4) *high = 0x8F;
    return lead < 0xF5 ? 4 : 0;
}

size_t utf8_valid(const char *s, size_t len, bool *cut)
{
    size_t at = 0;
    if (cut) *cut = false;
    while (at < len) {
        unsigned low, high, n = sequence_of((unsigned char)s[at], &low, &high), i = 1;
        for (; i < n && at + i < len; i++) {
            unsigned c = (unsigned char)s[at + i];
            if (c < low || c > high) return at;
            low = 0x80;
            high = 0xBF;
        }
        if (n == 0) return at;
        if (i < n) {
            if (cut) *cut = true;
            return at;
        }
        at += n;
    }
    return at;
}
