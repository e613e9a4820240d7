/* A sentence about which elements are wrong, since the pattern of the indices points at the kind
 * of fault: a period of 32 columns at a sub-block, the last columns at tiling, one unit of
 * columns at a head, one row at a token. The sentence describes the set of bad rows and that of
 * bad columns. Where columns form units (heads, blocks), it describes the set of bad units and
 * the set of bad lanes: places within a unit. */
#include "judge/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum set_shape {
    SET_ALL,
    SET_MOST,
    SET_ONE,
    SET_TAIL,
    SET_FRONT,
    SET_PERIODIC,
    SET_RANGE,
    SET_SOME
};

/* A set of bad indices: those of [0, n) at which at least one element is wrong. */
struct index_set {
    enum set_shape shape;
    size_t n, members, first, last;
    size_t period, n_residues, lo,
        hi; /* PERIODIC: how many residues are bad; the least, the largest */
};

/* Looks for the smallest power of two whose residues are each either bad or not: at least three
 * quarters of the indices of a bad residue are members (a wrong value may be right by chance), and
 * the other residues have none. hits (n): how many bad elements each index has. */
static void find_period(struct index_set *s, const size_t *hits)
{
    for (size_t p = 2; p <= 256 && p * 2 <= s->n; p *= 2) {
        size_t in[256] = {0}, of[256] = {0}, residues = 0, lo = p, hi = 0;
        bool clean = true;
        for (size_t i = 0; i < s->n; i++) {
            in[i % p] += hits[i] > 0;
            of[i % p]++;
        }
        for (size_t k = 0; k < p; k++) {
            if (in[k] == 0) continue;
            if (in[k] * 4 < of[k] * 3 || in[k] < 2) clean = false;
            if (residues++ == 0) lo = k;
            hi = k;
        }
        if (!clean || residues == p) continue;
        s->shape = SET_PERIODIC;
        s->period = p, s->n_residues = residues, s->lo = lo, s->hi = hi;
        return;
    }
}

static struct index_set describe_set(const size_t *hits, size_t n)
{
    struct index_set s = {.n = n, .first = n, .shape = SET_SOME};
    for (size_t i = 0; i < n; i++) {
        if (!hits[i]) continue;
        if (s.members++ == 0) s.first = i;
        s.last = i;
    }
    bool solid = s.members == s.last - s.first + 1;
    if (s.members == n)
        s.shape = SET_ALL;
    else if (s.members == 1)
        s.shape = SET_ONE;
    else if (solid && s.last == n - 1)
        s.shape = SET_TAIL;
    else if (solid && s.first == 0)
        s.shape = SET_FRONT;
    else if (solid)
        s.shape = SET_RANGE;
    else
        find_period(&s, hits);
    if (s.shape == SET_SOME && s.members * 10 >= n * 9) s.shape = SET_MOST;
    return s;
}

static void say_set(const struct index_set *s, const char *name, char *out, size_t cap)
{
    switch (s->shape) {
    case SET_ALL:
        snprintf(out, cap, s->n == 1 ? "the only %s" : "every %s", name);
        break;
    case SET_MOST:
        snprintf(out, cap, "nearly every %s (%zu of %zu)", name, s->members, s->n);
        break;
    case SET_ONE:
        snprintf(out, cap, "only %s %zu of %zu", name, s->first, s->n);
        break;
    case SET_TAIL:
        snprintf(out, cap, "%ss from %zu to the end", name, s->first);
        break;
    case SET_PERIODIC:
        if (s->n_residues == 1)
            snprintf(out, cap, "%ss %zu mod %zu", name, s->lo, s->period);
        else if (s->n_residues == s->hi - s->lo + 1)
            snprintf(out, cap, "%ss %zu..%zu mod %zu", name, s->lo, s->hi, s->period);
        else
            snprintf(out, cap, "%ss at %zu residues mod %zu", name, s->n_residues, s->period);
        break;
    case SET_FRONT:
    case SET_RANGE:
        snprintf(out, cap, "%ss %zu..%zu of %zu", name, s->first, s->last, s->n);
        break;
    case SET_SOME:
        snprintf(out, cap, "%zu of %zu %ss", s->members, s->n, name);
        break;
    }
}

static const char *period_hint(size_t p)
{
    switch (p) {
    case 2:
        return "every other one: pairing or nibble order";
    case 16:
        return "a lane or sub-block of 16: its scale";
    case 32:
        return "half of a block of 32 or a sub-block: nibble half or scale";
    case 64:
        return "a sub-block of a group of 64: nibble half or scale index";
    case 128:
        return "a part of one half of a super-block: scale or bit plane";
    case 256:
        return "the same sub-blocks of every super-block: scale unpacking";
    default:
        return "a fixed lane";
    }
}

/* What it suggests that the indices from `at` on are bad. */
static const char *border_hint(size_t at)
{
    if (at % 32 == 0) return "from a multiple of 32 on: a later tile, or a tail";
    return "a tail, as of tiles";
}

/* What the sets suggest: the hint is about the narrowest of them. units: NULL if columns form no
 * units, then lanes is not used; moving: there is one bad element in each bad row, or in each bad
 * unit of it. */
static const char *hint_of(const struct index_set *rows, const struct index_set *cols,
                           const struct index_set *units, const struct index_set *lanes,
                           bool moving)
{
    if (units && units->shape > SET_MOST)
        return units->shape == SET_ONE && lanes->shape == SET_ONE
                   ? "a single read or write, such as at a border"
                   : "some of the units only: which one is read for which";
    const struct index_set *c = units ? lanes : cols;
    if (c->shape == SET_ONE && rows->shape == SET_ONE) return "a single place, such as a border";
    if (c->shape == SET_PERIODIC) return period_hint(c->period);
    if (c->shape == SET_ONE) return "one place in all of them: a border, or one index";
    if (c->shape == SET_TAIL && c->first * 2 == c->n)
        return "the second half: high parts of scales, or pairs";
    if (c->shape == SET_TAIL) return border_hint(c->first);
    if (c->shape == SET_FRONT && c->members * 2 == c->n)
        return "the first half: low parts of scales, or pairs";
    if (c->shape == SET_FRONT || c->shape == SET_RANGE) return "one part: a tile or a block";
    if (rows->shape == SET_ONE) return "one of them alone: its index, or a border";
    if (rows->shape == SET_TAIL) return border_hint(rows->first);
    if (rows->shape == SET_FRONT) return "up to a border: the first tile, or the mask";
    if (rows->shape == SET_PERIODIC) return period_hint(rows->period);
    if (moving) return "one in each, at places that move: the mask, or an index";
    if (rows->shape <= SET_MOST && c->shape <= SET_MOST)
        return "all over: a constant, an operand or the whole operation";
    return "scattered: rounding, rare values or a race";
}

struct counts {
    size_t *rows, *cols, *units, *lanes, bad;
};

static void count(struct counts *n, const uint8_t *flags, size_t rows, size_t cols, size_t unit)
{
    for (size_t i = 0; i < rows * cols; i++) {
        if (!flags[i]) continue;
        size_t col = i % cols;
        n->bad++;
        n->rows[i / cols]++;
        n->cols[col]++;
        n->units[col / unit]++;
        n->lanes[col % unit]++;
    }
}

void describe_axes(const uint8_t *flags, size_t rows, size_t cols, const struct axes *a, char *out,
                   size_t cap)
{
    static const struct axes plain = {.row = "row", .col = "column"};
    size_t unit = a && a->unit && cols % a->unit == 0 && cols > a->unit ? a->unit : cols;
    if (!a) a = &plain;
    size_t *all = calloc(rows + 2 * cols + cols / unit + unit + 1, sizeof *all);
    struct counts n = {.rows = all};
    char row_words[80], col_words[80], unit_words[80] = "";
    *out = 0;
    if (!all) return;
    n.cols = n.rows + rows, n.units = n.cols + cols, n.lanes = n.units + cols / unit;
    count(&n, flags, rows, cols, unit);
    if (n.bad > 0) {
        struct index_set r = describe_set(n.rows, rows), c = describe_set(n.cols, cols);
        struct index_set u = describe_set(n.units, cols / unit), l = describe_set(n.lanes, unit);
        bool by_units = unit < cols && (u.shape != SET_ALL || l.shape != SET_ALL);
        say_set(&r, a->row, row_words, sizeof row_words);
        say_set(by_units ? &l : &c, a->col, col_words, sizeof col_words);
        if (by_units) {
            say_set(&u, a->unit_name, col_words, sizeof col_words);
            say_set(&l, a->col, unit_words, sizeof unit_words);
        }
        bool moving = r.members > 1 && n.bad == r.members * (by_units ? u.members : 1);
        snprintf(out, cap, "%s%s%s in %s: %s", unit_words, by_units ? " in " : "", col_words,
                 row_words, hint_of(&r, &c, by_units ? &u : NULL, &l, moving));
    }
    free(all);
}

void describe_pattern(const uint8_t *flags, size_t rows, size_t cols, char *out, size_t cap)
{
    describe_axes(flags, rows, cols, NULL, out, cap);
}
