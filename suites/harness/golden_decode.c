/* See golden_decode.h. */
#include "harness/golden_decode.h"
#include "judge/compare.h"
#include "subject/subject.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool golden_decode_blocks(struct test *t, const struct test_case *c, enum tensor_type type,
                          const uint8_t *blocks, size_t n, float *out)
{
    const struct subject *s;
    struct err e = {0};
    if (!test_ok(t, subject_open(&s, c->subject, &e), &e)) return false;
    for (size_t i = 0; i < n; i++) out[i] = NAN;
    struct backend_stats before = {0}, after = {0};
    const struct backend_ops *ops = s->backend ? backend_ops_of(s->backend) : NULL;
    if (ops && ops->stats) ops->stats(s->backend, &before);
    if (!test_ok(t, subject_decode(s, type, blocks, n, out, &e), &e)) return false;
    if (!ops || !ops->stats) return true;
    ops->stats(s->backend, &after);
    t->result.dispatches = after.dispatches - before.dispatches;
    snprintf(t->result.variant, sizeof t->result.variant, "%s", after.variant);
    return test_check(t, t->result.dispatches > 0, "nothing was dispatched to %s", c->subject);
}

void golden_decode_set(struct test *t, const struct test_case *c, const struct gguf *g,
                       const char *set)
{
    char name[64];
    snprintf(name, sizeof name, "%s.blocks", set);
    const struct gguf_tensor *blocks = gguf_find_tensor(g, name);
    snprintf(name, sizeof name, "%s.values", set);
    const struct gguf_tensor *values = gguf_find_tensor(g, name);
    if (!blocks || !values || values->type->id != TYPE_F32 || values->n_elems != blocks->n_elems) {
        test_fail(t, "the golden file has no set '%s' of blocks and f32 values", set);
        return;
    }
    size_t n = (size_t)blocks->n_elems;
    float *got = test_alloc(t, n, sizeof *got);
    if (!got || !golden_decode_blocks(t, c, blocks->type->id, blocks->data, n, got)) return;
    static const struct axes axes = {.row = "block", .col = "element"};
    size_t width = blocks->type->block_elems;
    compare_bits_on(&t->result, got, (const float *)(const void *)values->data, n / width, width,
                    &axes);
}
