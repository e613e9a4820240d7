/* The suite of bits: every bit of a block is flipped, one at a time, and must change exactly the
 * elements that the layout says (layout.def, which knows no decoder). Over many random blocks: in
 * each of them nothing else may change, and every one of those elements must change in at least
 * one (a scale's bit leaves an element alone whose code means zero). */
#include "conformance/conformance.h"
#include "harness/layout.h"
#include "subject/subject.h"
#include "harness/random.h"

#include <stdio.h>
#include <string.h>

enum { BASES = 24 }; /* ternary codes are zero in a third of the blocks: 3^-24 at least is missed */

struct walk {
    struct test *t;
    const struct subject *s;
    const struct type_spec *type;
    const struct layout_field *fields;
    size_t n_fields, n_bits, width, bytes;
    uint8_t *blocks;   /* (1 + n_bits, bytes): the base block, then one per flipped bit */
    float *values;     /* (1 + n_bits, width) */
    uint8_t *expected; /* (n_bits, width): may change */
    uint8_t *seen;     /* (n_bits, width): has changed in some base */
    uint8_t *field_of; /* (n_bits) index + 1 */
};

static bool walk_open(struct walk *w, struct test *t, const struct test_case *c)
{
    struct err e = {0};
    *w = (struct walk){.t = t, .type = type_by_name(c->type)};
    if (!test_ok(t, subject_open(&w->s, c->subject, &e), &e)) return false;
    w->fields = layout_of(w->type->id, &w->n_fields);
    w->width = w->type->block_elems;
    w->bytes = w->type->block_bytes;
    w->n_bits = 8 * w->bytes;
    w->blocks = test_alloc(t, (1 + w->n_bits) * w->bytes, 1);
    w->values = test_alloc(t, (1 + w->n_bits) * w->width, sizeof *w->values);
    w->expected = test_alloc(t, w->n_bits * w->width, 1);
    w->seen = test_alloc(t, w->n_bits * w->width, 1);
    w->field_of = test_alloc(t, w->n_bits, 1);
    return t->result.status == CASE_PASS;
}

/* The set of elements of each bit; fails if the table leaves a bit out or has it twice. */
static bool expect_sets(struct walk *w)
{
    for (size_t k = 0; k < w->n_fields; k++) {
        const struct layout_field *f = &w->fields[k];
        for (size_t i = 0; i < layout_bits(f); i++) {
            uint32_t bit, elem;
            layout_bit(f, i, &bit, &elem);
            if (!test_check(w->t, bit < w->n_bits && !w->field_of[bit],
                            "layout of %s: bit %u is outside the block or in two fields",
                            w->type->name, bit))
                return false;
            w->field_of[bit] = (uint8_t)(k + 1);
            uint8_t *set = w->expected + bit * w->width;
            for (size_t j = 0; j < f->run; j++) set[elem + j * f->step] = 1;
            if (f->role == ROLE_PARITY) set[elem | 7] = 1;
        }
    }
    for (size_t bit = 0; bit < w->n_bits; bit++)
        if (!test_check(w->t, w->field_of[bit], "layout of %s: bit %zu is in no field",
                        w->type->name, bit))
            return false;
    return true;
}

static void name_bit(const struct walk *w, size_t bit, char *out, size_t cap)
{
    snprintf(out, cap, "bit %zu of byte %zu (%s)", bit % 8, bit / 8,
             w->fields[w->field_of[bit] - 1].what);
}

static uint32_t bits_of(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static bool differ(float a, float b)
{
    return bits_of(a) != bits_of(b) && (a == a || b == b);
}

/* Base-3 digit n of a byte, by the formula of TQ1_0. */
static unsigned trit(unsigned byte, unsigned n)
{
    for (; n > 0; n--) byte = byte * 3 % 256;
    return byte * 3 >> 8;
}

static bool trit_changes(const struct walk *w, const struct layout_field *f, size_t bit, size_t i)
{
    unsigned byte = w->blocks[bit / 8], n = (unsigned)((i - f->base) / f->step);
    return trit(byte, n) != trit(byte ^ 1u << bit % 8, n);
}

/* What one flipped bit changed in one base block. */
static bool judge_bit(struct walk *w, size_t bit)
{
    const struct layout_field *f = &w->fields[w->field_of[bit] - 1];
    const float *now = w->values + (1 + bit) * w->width;
    const uint8_t *set = w->expected + bit * w->width;
    uint8_t *seen = w->seen + bit * w->width;
    char name[80];
    size_t changed = 0;
    for (size_t i = 0; i < w->width; i++) {
        bool change = differ(now[i], w->values[i]);
        changed += change;
        if (change) seen[i] = 1;
        bool stray = change && !set[i];
        bool wrong_trit = f->role == ROLE_TRIT && set[i] && change != trit_changes(w, f, bit, i);
        if (!stray && !wrong_trit) continue;
        name_bit(w, bit, name, sizeof name);
        test_fail(w->t,
                  stray ? "%s changes element %zu, which is none of its own"
                        : "%s: element %zu does not follow its base-3 digit",
                  name, i);
        return false;
    }
    if (f->role != ROLE_GRID || changed > 0) return true;
    name_bit(w, bit, name, sizeof name);
    test_fail(w->t, "%s changes nothing, but no two entries of the table are equal", name);
    return false;
}

static bool walk_base(struct walk *w, struct rng *r)
{
    struct err e = {0};
    layout_random(r, w->type->id, SCALE_normal, w->blocks);
    for (size_t bit = 0; bit < w->n_bits; bit++) {
        uint8_t *block = w->blocks + (1 + bit) * w->bytes;
        memcpy(block, w->blocks, w->bytes);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    if (!test_ok(
            w->t,
            subject_decode(w->s, w->type->id, w->blocks, (1 + w->n_bits) * w->width, w->values, &e),
            &e))
        return false;
    for (size_t bit = 0; bit < w->n_bits; bit++)
        if (!judge_bit(w, bit)) return false;
    return true;
}

/* Every element of a bit has changed at least once, where that can be said. */
static void judge_all(struct walk *w)
{
    char name[80];
    for (size_t bit = 0; bit < w->n_bits; bit++) {
        enum field_role role = w->fields[w->field_of[bit] - 1].role;
        if (role == ROLE_GRID || role == ROLE_TRIT || role == ROLE_F64) continue;
        for (size_t i = bit * w->width; i < (bit + 1) * w->width; i++) {
            if (w->expected[i] == w->seen[i]) continue;
            name_bit(w, bit, name, sizeof name);
            test_fail(w->t, "%s never changes element %zu, which is its own", name, i % w->width);
            return;
        }
    }
}

static void run_bits(struct test *t, const struct test_case *c)
{
    struct walk w;
    if (!walk_open(&w, t, c) || !expect_sets(&w)) return;
    struct rng r = rng_of(t);
    struct backend_stats before = {0}, after = {0};
    const struct backend_ops *ops = w.s->backend ? backend_ops_of(w.s->backend) : NULL;
    if (ops && ops->stats) ops->stats(w.s->backend, &before);
    t->result.total = BASES * w.n_bits * w.width;
    for (size_t i = 0; i < BASES; i++)
        if (!walk_base(&w, &r)) return;
    judge_all(&w);
    if (!ops || !ops->stats) return;
    ops->stats(w.s->backend, &after);
    t->result.dispatches = after.dispatches - before.dispatches;
    snprintf(t->result.variant, sizeof t->result.variant, "%s", after.variant);
    test_check(t, t->result.dispatches > 0, "nothing was dispatched to %s", c->subject);
}

static void add_subject(struct case_list *l, const char *subject)
{
    for (const struct type_spec *type = type_next(NULL); type; type = type_next(type)) {
        if (!type_decodes(type)) continue;
        struct test_case c = {.suite = "bits",
                              .type = type->name,
                              .shape = "walk",
                              .subject = subject,
                              .quick = true,
                              .run = run_bits};
        case_add(l, &c);
    }
}

void suite_bits(struct case_list *l)
{
    char name[SUBJECT_NAME];
    if (!l->options->subjects) add_subject(l, "reference");
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++)
        add_subject(l, case_text(l, "%s", name));
}
