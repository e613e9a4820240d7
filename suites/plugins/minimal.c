/* The shortest useful plug-in: decodes Q8_0, and adds.
 *
 *     cc -std=c17 -shared -fPIC -Isuites/plugins -o minimal.so suites/plugins/minimal.c -lm
 *     assay test decode ops.add --subject plugin:./minimal.so
 *
 * Put your engine's functions in place of these two; assay_subject.h says what they are given. */
#include "assay_subject.h"

#include <math.h>
#include <string.h>

static float half_to_float(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const float x = exponent == 0    ? ldexpf((float)mantissa, -24)
                    : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                     : ldexpf((float)(1024 + mantissa), exponent - 25);
    return h >> 15 ? -x : x;
}

/* Q8_0, number 8: blocks of 34 bytes, a scale in binary16 and 32 signed bytes. */
static int decode(void *ctx, uint32_t type, const void *blocks, uint64_t n, float *out)
{
    (void)ctx;
    if (type != 8) return ASSAY_UNSUPPORTED; /* these cases are skipped */
    for (uint64_t i = 0; i < n; i++) {
        const unsigned char *block = (const unsigned char *)blocks + i / 32 * 34;
        uint16_t scale;
        memcpy(&scale, block, sizeof scale);
        out[i] = half_to_float(scale) * (float)(signed char)block[2 + i % 32];
    }
    return ASSAY_OK;
}

static int add(void *ctx, const struct assay_elements *a)
{
    (void)ctx;
    for (uint32_t i = 0; i < a->n; i++) a->out[i] = a->a[i] + a->b[i];
    return ASSAY_OK;
}

__attribute__((visibility("default"))) const struct assay_subject *assay_subject(uint32_t abi)
{
    static const struct assay_ops ops = {.add = add};
    static const struct assay_subject subject = {
        .abi = ASSAY_SUBJECT_ABI, .name = "minimal", .decode = decode, .ops = &ops};
    return abi == ASSAY_SUBJECT_ABI ? &subject : NULL;
}
