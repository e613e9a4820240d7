/* Mappings of code points by table, and UTF-8. */
#include "engine/tokenizer/unicode.h"

#include <stdbool.h>

static uint32_t mapped(const struct unicode_pair *pairs, size_t n, uint32_t c)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (pairs[mid].from < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && pairs[lo].from == c ? pairs[lo].to : c;
}

uint32_t unicode_lower(uint32_t c)
{
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    return mapped(unicode_lower_pairs, unicode_n_lower_pairs, c);
}

uint32_t unicode_base(uint32_t c)
{
    /* Hangul syllables are numbered by leading consonant, vowel and final consonant. */
    enum { FIRST = 0xAC00, LAST = 0xD7A3, LEADING = 0x1100, PER_LEADING = 21 * 28 };
    if (c < 0x80) return c;
    if (c >= FIRST && c <= LAST) return LEADING + (c - FIRST) / PER_LEADING;
    return mapped(unicode_base_pairs, unicode_n_base_pairs, c);
}

size_t utf8_decode(const char *s, size_t len, uint32_t *c)
{
    const unsigned lead = (unsigned char)s[0];
    if (lead < 0x80) {
        *c = lead;
        return 1;
    }
    size_t n = lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF8 ? 4 : 0;
    bool good = n > 0 && n <= len;
    uint32_t v = good ? lead & (0x7Fu >> n) : 0;
    for (size_t i = 1; good && i < n; i++) {
        unsigned b = (unsigned char)s[i];
        good = (b & 0xC0) == 0x80;
        v = v << 6 | (b & 0x3F);
    }
    good = good && v <= UNICODE_LAST;
    *c = good ? v : UNICODE_REPLACEMENT;
    return good ? n : 1;
}

size_t utf8_encode(uint32_t c, char *out)
{
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(unsigned char)(0x80 | (c & 0x3F));
        c >>= 6;
    }
    out[0] = (char)(unsigned char)(leads[n] | c);
    return n;
}
