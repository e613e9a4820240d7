/* The suite of decoders: every type with a decoder, on every subject, bit for bit. The golden
 * sets come from outside; random blocks are judged by the reference, plain types by their
 * definition. */
#include "conformance/conformance.h"
#include "judge/compare.h"
#include "engine/gguf/gguf.h"
#include "harness/golden_decode.h"
#include "reference/ref.h"
#include "subject/subject.h"
#include "harness/random.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const sets[] = {"encoded", "bits", "special"};
enum { N_SETS = sizeof sets / sizeof *sets };

static const struct axes block_axes = {.row = "block", .col = "element"};

static void run_golden(struct test *t, const struct test_case *c)
{
    char path[4096];
    struct gguf g;
    struct err e = {0};
    snprintf(path, sizeof path, "%s/decode/%s.gguf.gz", t->options->vectors, c->type);
    if (!test_ok(t, gguf_open(&g, path, &e), &e)) return;
    golden_decode_set(t, c, &g, sets[c->index]);
    gguf_close(&g);
}

static void run_random(struct test *t, const struct test_case *c)
{
    const struct type_spec *type = type_by_name(c->type);
    size_t n = type->block_elems == 1 ? 4096 : (size_t)type->block_elems * 200;
    struct rng r = rng_of(t);
    size_t bytes = type_bytes(type, n);
    uint8_t *blocks = test_alloc(t, bytes, 1);
    float *got = test_alloc(t, n, sizeof *got), *want = test_alloc(t, n, sizeof *want);
    if (!blocks || !got || !want) return;
    for (size_t i = 0; i < bytes; i++) blocks[i] = (uint8_t)rng_u64(&r);
    if (!test_check(t, ref_decode(type->id, blocks, n, want), "the reference has no decoder"))
        return;
    if (!golden_decode_blocks(t, c, type->id, blocks, n, got)) return;
    size_t width = type->block_elems == 1 ? 32 : type->block_elems;
    compare_bits_on(&t->result, got, want, n / width, width, &block_axes);
}

/* What a plain type's bits mean, by definition: sign, exponent and mantissa fields. */
static float by_definition(enum tensor_type type, uint32_t bits)
{
    int e_bits = type == TYPE_F16 ? 5 : 8, m_bits = type == TYPE_F16 ? 10 : 7;
    int bias = type == TYPE_F16 ? 15 : 127;
    uint32_t m = bits & ((1u << m_bits) - 1), e = bits >> m_bits & ((1u << e_bits) - 1);
    double sign = bits >> 15 ? -1 : 1;
    if (e == (1u << e_bits) - 1) return m ? NAN : (float)(sign * INFINITY);
    double fraction = (e ? 1.0 : 0.0) + ldexp(m, -m_bits);
    return (float)(sign * ldexp(fraction, (int)(e ? e : 1) - bias));
}

static void run_exhaustive(struct test *t, const struct test_case *c)
{
    enum tensor_type type = type_by_name(c->type)->id;
    static const size_t n = 65536;
    uint8_t *bits = test_alloc(t, n, 2);
    float *got = test_alloc(t, n, sizeof *got), *want = test_alloc(t, n, sizeof *want);
    if (!bits || !got || !want) return;
    for (size_t i = 0; i < n; i++) {
        bits[2 * i] = (uint8_t)i;
        bits[2 * i + 1] = (uint8_t)(i >> 8);
        want[i] = by_definition(type, (uint32_t)i);
    }
    if (golden_decode_blocks(t, c, type, bits, n, got))
        compare_bits(&t->result, got, want, 256, 256);
}

static void add_type(struct case_list *l, const struct type_spec *type, const char *subject)
{
    struct test_case c = {.suite = "decode", .type = type->name, .subject = subject, .quick = true};
    bool plain = type->block_elems == 1;
    for (size_t i = 0; !plain && i < N_SETS; i++) {
        /* The activation type has no quantizer and no f16 scale; IQ1_M's scale is in pieces. */
        if (type->use == USE_A && i != 1) continue;
        if (type->id == TYPE_IQ1_M && i == 2) continue;
        c.shape = sets[i], c.index = i, c.run = run_golden;
        case_add(l, &c);
    }
    if (type->id == TYPE_F16 || type->id == TYPE_BF16) {
        c.shape = "all", c.run = run_exhaustive;
        case_add(l, &c);
    }
    if (strcmp(subject, "reference") == 0) return; /* it cannot judge itself */
    c.shape = "random", c.run = run_random;
    case_add(l, &c);
}

void suite_decode(struct case_list *l)
{
    char name[SUBJECT_NAME];
    for (size_t s = 0;; s++) {
        /* The reference comes first: its decoders are judged by the golden files alone. */
        const char *subject = "reference";
        if (l->options->subjects) {
            if (!subject_name_at(l->options->subjects, s, name, sizeof name)) return;
            subject = case_text(l, "%s", name);
        } else if (s > 0) {
            if (!subject_name_at(NULL, s - 1, name, sizeof name)) return;
            subject = case_text(l, "%s", name);
        }
        for (const struct type_spec *t = type_next(NULL); t; t = type_next(t))
            if (type_decodes(t)) add_type(l, t, subject);
    }
}
