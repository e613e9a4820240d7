/* Pre-tokenizers by name, and their rules at work. */
#include "engine/tokenizer/tokenizer_pre.h"
#include "engine/tokenizer/tokenizer_regex.h"
#include "engine/tokenizer/unicode.h"

#include <stdio.h>
#include <string.h>

/* ---- tables ---------------------------------------------------------------------------------- */

struct rule_text {
    enum pre_kind kind;
    const char *regex;
};

#define REGEX(pattern)                                                                             \
    {                                                                                              \
        PRE_REGEX, pattern                                                                         \
    }
#define DIGITS_FROM_RIGHT                                                                          \
    {                                                                                              \
        PRE_DIGITS_FROM_RIGHT, NULL                                                                \
    }
#define THOUSANDS                                                                                  \
    {                                                                                              \
        PRE_THOUSANDS, NULL                                                                        \
    }

enum pre_rules {
#define PRE_RULES(name, ...) RULES_##name,
#include "engine/tokenizer/tokenizer_pre_rules.def"
#undef PRE_RULES
    RULES_COUNT
};

static const struct rule_text rule_texts[RULES_COUNT][PRE_MAX_RULES + 1] = {
#define PRE_RULES(name, ...) {__VA_ARGS__, {PRE_REGEX, NULL}},
#include "engine/tokenizer/tokenizer_pre_rules.def"
#undef PRE_RULES
};

static const struct pre_name {
    const char *name;
    enum pre_rules rules;
    unsigned flags;
} pre_names[] = {
#define PRE_NAME(name, rules, flags) {name, RULES_##rules, flags},
#include "engine/tokenizer/tokenizer_pre_names.def"
#undef PRE_NAME
};

enum { N_NAMES = sizeof pre_names / sizeof *pre_names };

static enum status open_rules(struct pre *out, struct arena *a, enum pre_rules rules,
                              unsigned flags, struct err *e)
{
    *out = (struct pre){.flags = flags};
    for (const struct rule_text *r = rule_texts[rules]; r->regex || r->kind != PRE_REGEX; r++) {
        struct pre_rule *rule = &out->rules[out->n_rules++];
        rule->kind = r->kind;
        enum status st = r->regex ? regex_compile(&rule->regex, a, r->regex, e) : ST_OK;
        if (st != ST_OK) return st;
    }
    return ST_OK;
}

enum status pre_open(struct pre *out, struct arena *a, struct gguf_str name, bool *known,
                     struct err *e)
{
    *known = false;
    for (size_t i = 0; i < N_NAMES; i++) {
        const char *s = pre_names[i].name;
        if (strlen(s) != name.len || memcmp(s, name.data, name.len) != 0) continue;
        *known = true;
        return open_rules(out, a, pre_names[i].rules, pre_names[i].flags, e);
    }
    return ST_OK;
}

enum status pre_open_lines(struct pre *out, struct arena *a, struct err *e)
{
    return open_rules(out, a, RULES_GEMMA4, PRE_PLAIN, e);
}

void pre_list(char *out, size_t cap)
{
    bool shown[RULES_COUNT] = {false};
    size_t at = 0;
    if (cap > 0) *out = '\0';
    for (size_t i = 0; i < N_NAMES && at < cap; i++) {
        const struct pre_name *p = &pre_names[i];
        if (shown[p->rules]) continue;
        shown[p->rules] = true;
        at += (size_t)snprintf(out + at, cap - at, "%s%s", at > 0 ? ", " : "", p->name);
    }
}

/* ---- cutting --------------------------------------------------------------------------------- */

struct cutter {
    const struct pre *pre;
    const uint32_t *text;
    pre_word word;
    void *ctx;
    struct regex_search searches[PRE_MAX_RULES]; /* one per rule: they run inside each other */
};

static enum status cut(struct cutter *c, size_t rule, size_t from, size_t to);

static enum status cut_matches(struct cutter *c, size_t rule, size_t from, size_t to)
{
    struct regex_search *s = &c->searches[rule];
    size_t gap = from, at = from;
    regex_begin(s, c->pre->rules[rule].regex, c->text, to);
    while ((at = regex_next(s, at)) != SIZE_MAX) {
        size_t end = at + s->length;
        enum status st = cut(c, rule + 1, gap, at);
        if (st == ST_OK) st = cut(c, rule + 1, at, end);
        if (st != ST_OK) return st;
        gap = end;
        at = end > at ? end : at + 1;
    }
    return cut(c, rule + 1, gap, to);
}

static bool is_number(const struct cutter *c, enum pre_kind kind, size_t at)
{
    uint32_t u = c->text[at];
    if (kind == PRE_THOUSANDS) return u >= '0' && u <= '9';
    return (unicode_class(u) & UNICODE_NUMBER) != 0;
}

/* Numbers in groups of three from the right. DIGITS_FROM_RIGHT cuts behind every group, so that
 * the first one stays with the text before it; THOUSANDS cuts before every group that is full. */
static enum status cut_numbers(struct cutter *c, size_t rule, size_t from, size_t to)
{
    const enum pre_kind kind = c->pre->rules[rule].kind;
    size_t start = from;
    for (size_t at = from; at < to;) {
        size_t end = at;
        while (end < to && is_number(c, kind, end)) end++;
        for (size_t k = at; k <= end && end > at; k++) {
            bool border = kind == PRE_THOUSANDS ? k < end : k > at;
            if (!border || (end - k) % 3 != 0) continue;
            enum status st = cut(c, rule + 1, start, k);
            if (st != ST_OK) return st;
            start = k;
        }
        at = end + 1;
    }
    return cut(c, rule + 1, start, to);
}

static enum status cut(struct cutter *c, size_t rule, size_t from, size_t to)
{
    if (from == to) return ST_OK;
    if (rule == c->pre->n_rules) return c->word(c->ctx, from, to);
    return c->pre->rules[rule].kind == PRE_REGEX ? cut_matches(c, rule, from, to)
                                                 : cut_numbers(c, rule, from, to);
}

enum status pre_split(const struct pre *p, const uint32_t *text, size_t n, pre_word word, void *ctx)
{
    struct cutter c = {.pre = p, .text = text, .word = word, .ctx = ctx};
    return cut(&c, 0, 0, n);
}
