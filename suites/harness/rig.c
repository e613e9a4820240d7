/* Margins, fences and poison around operations; see rig.h. */
#include "harness/rig.h"
#include "judge/compare.h"

#include <stdio.h>
#include <string.h>

/* Bytes before and after a buffer. Each has its own number, so that none's place fits another, and
 * a multiple of 4 only, as the contract of views says. */
enum { MARGIN = 1028, MARGIN_STEP = 260 };

/* Around outputs: not what surrounds inputs, which passes unchanged through arithmetic, and not
 * quiet, so that it does not pass itself. */
static const uint32_t FENCE = 0x7f8dfeed;

bool rig_open(struct rig *r, struct test *t, const struct test_case *c)
{
    *r = (struct rig){.t = t};
    r->ok = test_ok(t, subject_open(&r->subject, c->subject, &r->e), &r->e);
    if (!r->ok) return false;
    if (!r->subject->backend) {
        test_skip(t, "%s has no operations", c->subject);
        return r->ok = false;
    }
    r->b = r->subject->backend;
    r->ops = backend_ops_of(r->b);
    struct backend_stats s = {0};
    if (r->ops->stats) r->ops->stats(r->b, &s);
    r->dispatches = s.dispatches;
    t->result.flushes = s.flushes;
    return true;
}

bool rig_did(struct rig *r, enum status st)
{
    if (!r->ok) return false;
    return r->ok = test_ok(r->t, st, &r->e);
}

bool rig_has(struct rig *r, bool slot, const char *op)
{
    if (r->ok && !slot) {
        test_skip(r->t, "%s does not support %s", r->subject->name, op);
        r->ok = false;
    }
    return r->ok;
}

static size_t margin_of(const struct rig *r)
{
    return MARGIN + MARGIN_STEP * r->n;
}

static uint8_t *poisoned(struct rig *r, size_t bytes)
{
    uint8_t *p = test_alloc(r->t, bytes + 4, 1);
    if (!p) r->ok = false;
    for (size_t i = 0; p && i + 4 <= bytes; i += 4) memcpy(p + i, &COMPARE_POISON, 4);
    return p;
}

static bool has_room(struct rig *r)
{
    if (r->n < RIG_MAX) return true;
    test_fail(r->t, "a case with more than %d buffers", RIG_MAX);
    return r->ok = false;
}

/* Space for `bytes` between margins, filled with data or poison. */
static struct view place(struct rig *r, const void *data, size_t bytes, bool keep)
{
    if (!r->ok) return (struct view){0};
    if (!has_room(r)) return (struct view){0};
    size_t padded = (bytes + 3) / 4 * 4, margin = margin_of(r), all = padded + 2 * margin;
    uint8_t *image = poisoned(r, all);
    if (!r->ok) return (struct view){0};
    for (size_t i = 0; !keep && i < margin; i += 4) {
        memcpy(image + i, &FENCE, 4);
        memcpy(image + margin + padded + i, &FENCE, 4);
    }
    if (data) memcpy(image + margin, data, bytes);
    struct rig_buffer *b = &r->buffers[r->n];
    if (!rig_did(r, r->ops->alloc(r->b, all, &b->buf, &r->e))) return (struct view){0};
    r->n++;
    b->input = keep ? image : NULL;
    b->bytes = all;
    rig_did(r, r->ops->upload(r->b, (struct view){b->buf, 0}, image, all, &r->e));
    return (struct view){b->buf, margin};
}

struct view rig_input(struct rig *r, const void *data, size_t bytes)
{
    return place(r, data, bytes, true);
}

struct view rig_inout(struct rig *r, const void *data, size_t bytes)
{
    return place(r, data, bytes, false);
}

struct view rig_output(struct rig *r, size_t n)
{
    return place(r, NULL, 4 * n, false);
}

struct weight rig_weight(struct rig *r, enum tensor_type type, const void *data, size_t n_out,
                         size_t n_in)
{
    struct weight w = {.type = type, .n_in = (uint32_t)n_in, .n_out = (uint32_t)n_out};
    size_t bytes = type_bytes(type_by_id(type), n_in * n_out);
    size_t margin = margin_of(r), all = (bytes + 3) / 4 * 4 + 2 * margin;
    if (!r->ok || !has_room(r)) return w;
    /* A second copy, to tell whether a backend that reads in place has written. */
    uint8_t *image = poisoned(r, all), *copy = poisoned(r, all);
    if (!r->ok) return w;
    memcpy(image + margin, data, bytes);
    memcpy(copy + margin, data, bytes);
    struct rig_buffer *b = &r->buffers[r->n];
    if (!rig_did(r, r->ops->import(r->b, image, all, &b->buf, &r->e))) return w;
    r->n++;
    b->input = copy;
    b->host = image;
    b->bytes = all;
    w.at = (struct view){b->buf, margin};
    return w;
}

/* Bytes [begin, end) of an image still are the pattern; the place is told relative to the output,
 * which begins at byte `first`. */
static bool is_still(struct rig *r, const uint8_t *image, size_t begin, size_t end, size_t first,
                     size_t bytes, uint32_t pattern)
{
    uint8_t want[4];
    memcpy(want, &pattern, 4);
    for (size_t i = begin; i < end; i++)
        if (image[i] != want[i % 4])
            return test_check(r->t, false, "wrote outside its output, at byte %lld of %zu",
                              (long long)i - (long long)first, bytes);
    return true;
}

/* What fills up the last word is poison as the output was. */
static bool fences_hold(struct rig *r, const uint8_t *image, size_t margin, size_t bytes)
{
    size_t stop = margin + (bytes + 3) / 4 * 4;
    return is_still(r, image, 0, margin, margin, bytes, FENCE) &&
           is_still(r, image, margin + bytes, stop, margin, bytes, COMPARE_POISON) &&
           is_still(r, image, stop, stop + margin, margin, bytes, FENCE);
}

void *rig_get_bytes(struct rig *r, struct view v, size_t bytes)
{
    if (!r->ok) return NULL;
    size_t margin = v.off, all = (bytes + 3) / 4 * 4 + 2 * margin; /* see place */
    uint8_t *image = test_alloc(r->t, all, 1);
    if (!image) r->ok = false;
    struct view whole = {v.buf, 0};
    if (!rig_did(r, r->ok ? r->ops->download(r->b, image, whole, all, &r->e) : ST_NOMEM))
        return NULL;
    if (!fences_hold(r, image, margin, bytes)) r->ok = false;
    return image + margin;
}

float *rig_get(struct rig *r, struct view v, size_t n)
{
    return rig_get_bytes(r, v, 4 * n);
}

static void check_input(struct rig *r, const struct rig_buffer *b)
{
    uint8_t *now = test_alloc(r->t, b->bytes, 1);
    if (!now) return;
    struct err e = {0};
    if (!test_ok(r->t, r->ops->download(r->b, now, (struct view){b->buf, 0}, b->bytes, &e), &e))
        return;
    if (test_check(r->t, memcmp(now, b->input, b->bytes) == 0, "an input was changed") && b->host)
        test_check(r->t, memcmp(b->host, b->input, b->bytes) == 0,
                   "the caller's weights were changed");
}

void rig_close(struct rig *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->ok && r->buffers[i].input) check_input(r, &r->buffers[i]);
    struct backend_stats s = {0};
    if (r->b && r->ops->stats) {
        r->ops->stats(r->b, &s);
        r->t->result.dispatches = s.dispatches - r->dispatches;
        snprintf(r->t->result.variant, sizeof r->t->result.variant, "%s", s.variant);
        if (r->ok)
            test_check(r->t, r->t->result.dispatches > 0, "nothing was dispatched to %s",
                       r->subject->name);
    }
    for (size_t i = r->n; i-- > 0;) r->ops->release(r->b, r->buffers[i].buf);
}
