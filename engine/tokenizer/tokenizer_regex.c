/* The regular expressions of pre-tokenizers: matching. */
#include "engine/tokenizer/tokenizer_regex_priv.h"

#include <string.h>

enum { LONG_RUN = 32 }; /* repetitions worth remembering when they were in vain */

#define NO_MATCH SIZE_MAX

static bool in_ranges(const struct cp_set *s, uint32_t c)
{
    size_t lo = 0, hi = s->n_ranges;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->ranges[mid].last < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n_ranges && s->ranges[lo].first <= c;
}

bool regex_in_wide(const struct cp_set *s, uint32_t c)
{
    for (; s; s = s->also) {
        unsigned class = unicode_class(c);
        bool in = (class & s->classes) != 0;
        if (!in && !(class & UNICODE_SPACE)) in = in_ranges(s, c);
        if (in == s->negated) return false;
    }
    return true;
}

static bool in_set(const struct cp_set *s, uint32_t c)
{
    return c < 128 ? s->ascii[c / 32] >> (c % 32) & 1 : regex_in_wide(s, c);
}

static size_t match(struct regex_search *s, const struct node *n, size_t at);

/* The first branch of a group that matches. */
static size_t match_branches(struct regex_search *s, const struct branches *b, size_t at)
{
    uint32_t may = ~0u;
    if (at < s->end && s->text[at] < 128) may = b->may[s->text[at]];
    for (uint32_t i = 0; i < b->n; i++) {
        if (!(may >> i & 1)) continue;
        size_t to = match(s, b->first[i], at);
        if (to != NO_MATCH) return to;
    }
    return NO_MATCH;
}

static size_t match_group(struct regex_search *s, const struct node *n, size_t at)
{
    for (uint32_t k = 0; k < n->max; k++) {
        size_t to = match_branches(s, &n->branches, at);
        if (to == NO_MATCH || to == at) {
            if (k < n->min && to == NO_MATCH) return NO_MATCH;
            break;
        }
        at = to;
    }
    return at;
}

/* All that follows a repeated class, for as many repetitions as let it match. */
static size_t match_loop(struct regex_search *s, const struct node *n, size_t at)
{
    struct vain *v = &s->vain[n->loop];
    size_t left = s->end - at, to = at;
    size_t limit = at + (n->max < left ? n->max : left);
    if (s->any_vain && v->from <= at && at < v->to) return NO_MATCH;
    while (to < limit && in_set(&n->set, s->text[to])) to++;
    if (to - at < n->min) return NO_MATCH;
    if (!n->next) return to;
    for (size_t i = to;; i--) {
        size_t end = match(s, n->next, i);
        if (end != NO_MATCH) return end;
        if (i == at + n->min) break;
    }
    if (n->max == REGEX_ENDLESS && to - at >= LONG_RUN) {
        *v = (struct vain){at, to};
        s->any_vain = true;
    }
    return NO_MATCH;
}

static size_t match(struct regex_search *s, const struct node *n, size_t at)
{
    for (; n; n = n->next) {
        switch (n->kind) {
        case NODE_SET:
            if (at == s->end || !in_set(&n->set, s->text[at])) return NO_MATCH;
            at++;
            break;
        case NODE_LOOP:
            return match_loop(s, n, at);
        case NODE_GROUP:
            at = match_group(s, n, at);
            if (at == NO_MATCH) return NO_MATCH;
            break;
        case NODE_AHEAD:
            if ((match_branches(s, &n->branches, at) != NO_MATCH) == n->negated) return NO_MATCH;
            break;
        case NODE_END:
            if (at != s->end) return NO_MATCH;
            break;
        }
    }
    return at;
}

void regex_begin(struct regex_search *s, const struct regex *regex, const uint32_t *text,
                 size_t end)
{
    s->regex = regex;
    s->text = text;
    s->end = end;
    s->length = 0;
    if (s->any_vain) memset(s->vain, 0, sizeof s->vain);
    s->any_vain = false;
}

size_t regex_next(struct regex_search *s, size_t at)
{
    for (; at < s->end; at++) {
        size_t to = match_branches(s, &s->regex->branches, at);
        if (to == NO_MATCH) continue;
        s->length = to - at;
        return at;
    }
    return NO_MATCH;
}
