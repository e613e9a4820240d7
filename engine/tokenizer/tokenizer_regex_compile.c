/* The regular expressions of pre-tokenizers: compiling. A recursive descent over the pattern; what
 * amounts to a class, such as "((?=[\p{L}])([^a-z]))", becomes one. */
#include "engine/tokenizer/tokenizer_regex_priv.h"

#include <string.h>

struct parser {
    const char *pattern, *at;
    struct arena *arena;
    uint32_t n_loops, depth;
    struct err *e;
};

static enum status parse_branches(struct parser *p, struct branches *out);

static enum status refuse(struct parser *p, const char *what)
{
    return fail(p->e, ST_UNSUPPORTED, "regular expression %.200s: %s at byte %zu", p->pattern, what,
                (size_t)(p->at - p->pattern));
}

/* ---- sets ------------------------------------------------------------------------------------ */

static enum status set_add(struct parser *p, struct cp_set *s, uint32_t first, uint32_t last)
{
    for (uint32_t c = first; c <= last && c < 128; c++) s->ascii[c / 32] |= 1u << (c % 32);
    if (last < 128) return ST_OK;
    if (first < 128) first = 128;
    /* in order, and what touches it swallowed */
    size_t n = 0, k = 0;
    struct cp_range *grown = arena_alloc(p->arena, s->n_ranges + 1, sizeof *grown);
    if (!grown) return fail(p->e, ST_NOMEM, "out of memory for a regular expression");
    for (; k < s->n_ranges && s->ranges[k].last + 1 < first; k++) grown[n++] = s->ranges[k];
    for (; k < s->n_ranges && s->ranges[k].first <= last + 1; k++) {
        if (s->ranges[k].first < first) first = s->ranges[k].first;
        if (s->ranges[k].last > last) last = s->ranges[k].last;
    }
    grown[n++] = (struct cp_range){first, last};
    for (; k < s->n_ranges; k++) grown[n++] = s->ranges[k];
    s->ranges = grown;
    s->n_ranges = n;
    return ST_OK;
}

static void set_add_classes(struct cp_set *s, unsigned classes)
{
    s->classes |= classes;
    for (uint32_t c = 0; c < 128; c++)
        if (unicode_class(c) & classes) s->ascii[c / 32] |= 1u << (c % 32);
}

static void set_negate(struct cp_set *s)
{
    s->negated = true;
    for (size_t i = 0; i < 4; i++) s->ascii[i] = ~s->ascii[i];
}

/* What stands for one code point: itself, or an escape. */
static enum status parse_code_point(struct parser *p, uint32_t *c)
{
    *c = (unsigned char)*p->at++;
    if (*c >= 128) return refuse(p, "a byte that is not ASCII");
    if (*c != '\\') return ST_OK;
    *c = (unsigned char)*p->at++;
    switch (*c) {
    case 'r':
        *c = '\r';
        return ST_OK;
    case 'n':
        *c = '\n';
        return ST_OK;
    case 't':
        *c = '\t';
        return ST_OK;
    case 'u':
        break;
    default:
        return unicode_class(*c & 127) & (UNICODE_PUNCTUATION | UNICODE_SYMBOL)
                   ? ST_OK
                   : refuse(p, "an unknown escape");
    }
    if (*p->at != '{') return refuse(p, "no code point in braces");
    *c = 0;
    for (p->at++; *p->at && *p->at != '}' && *c <= UNICODE_LAST; p->at++) {
        const char *digits = "0123456789ABCDEF", *digit = strchr(digits, *p->at);
        if (!digit) return refuse(p, "no hexadecimal digit");
        *c = *c * 16 + (uint32_t)(digit - digits);
    }
    if (*p->at != '}' || *c > UNICODE_LAST) return refuse(p, "no code point in braces");
    p->at++;
    return ST_OK;
}

/* \s, \d or \p{..}, if that is what comes; *found says whether. */
static enum status parse_class_escape(struct parser *p, struct cp_set *s, bool *found)
{
    static const struct {
        const char *text;
        unsigned classes;
    } escapes[] = {
        {"\\s", UNICODE_SPACE},          {"\\p{L}", UNICODE_LETTER}, {"\\p{N}", UNICODE_NUMBER},
        {"\\p{P}", UNICODE_PUNCTUATION}, {"\\p{S}", UNICODE_SYMBOL}, {"\\p{M}", UNICODE_MARK},
    };
    *found = true;
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        size_t len = strlen(escapes[i].text);
        if (strncmp(p->at, escapes[i].text, len) != 0) continue;
        set_add_classes(s, escapes[i].classes);
        p->at += len;
        return ST_OK;
    }
    if (strncmp(p->at, "\\d", 2) == 0) {
        p->at += 2;
        return set_add(p, s, '0', '9');
    }
    *found = false;
    return ST_OK;
}

/* From behind the bracket that opens it. */
static enum status parse_class(struct parser *p, struct cp_set *s)
{
    bool negated = *p->at == '^';
    if (negated) p->at++;
    while (*p->at != ']') {
        bool found;
        uint32_t first, last;
        if (!*p->at) return refuse(p, "a class without its end");
        enum status st = parse_class_escape(p, s, &found);
        if (st != ST_OK) return st;
        if (found) continue;
        st = parse_code_point(p, &first);
        last = first;
        if (st == ST_OK && p->at[0] == '-' && p->at[1] && p->at[1] != ']') {
            p->at++;
            st = parse_code_point(p, &last);
        }
        if (st == ST_OK && last < first) st = refuse(p, "a range from high to low");
        if (st == ST_OK) st = set_add(p, s, first, last);
        if (st != ST_OK) return st;
    }
    p->at++;
    if (negated) set_negate(s);
    return ST_OK;
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static bool is_set(const struct node *n)
{
    return n && n->kind == NODE_SET && !n->next;
}

/* A group that is one code point in all its branches becomes a set; others stay. */
static enum status group_to_set(struct parser *p, struct node *n)
{
    const struct branches *b = &n->branches;
    for (uint32_t i = 0; i < b->n; i++) {
        if (!is_set(b->first[i])) return ST_OK;
        const struct cp_set *s = &b->first[i]->set;
        if (b->n > 1 && (s->also || s->negated)) return ST_OK;
    }
    n->kind = NODE_SET;
    n->set = b->first[0]->set;
    for (uint32_t i = 1; i < b->n; i++) {
        const struct cp_set *s = &b->first[i]->set;
        for (size_t k = 0; k < 4; k++) n->set.ascii[k] |= s->ascii[k];
        n->set.classes |= s->classes;
        for (size_t k = 0; k < s->n_ranges; k++) {
            enum status st = set_add(p, &n->set, s->ranges[k].first, s->ranges[k].last);
            if (st != ST_OK) return st;
        }
    }
    return ST_OK;
}

/* From behind the parenthesis that opens it. */
static enum status parse_group(struct parser *p, struct node *n)
{
    enum { MAX_DEPTH = 16 };
    n->kind = NODE_GROUP;
    if (*p->at == '?') {
        char c = p->at[1];
        if (c != ':' && c != '=' && c != '!') return refuse(p, "an unknown kind of group");
        if (c != ':') n->kind = NODE_AHEAD;
        n->negated = c == '!';
        p->at += 2;
    }
    if (++p->depth > MAX_DEPTH) return refuse(p, "groups nested too deep");
    enum status st = parse_branches(p, &n->branches);
    if (st != ST_OK) return st;
    p->depth--;
    if (*p->at != ')') return refuse(p, "a group without its end");
    p->at++;
    return n->kind == NODE_GROUP ? group_to_set(p, n) : ST_OK;
}

static enum status parse_atom(struct parser *p, struct node *n)
{
    bool found;
    uint32_t c;
    n->min = n->max = 1;
    if (*p->at == '(') {
        p->at++;
        return parse_group(p, n);
    }
    if (*p->at == '$') {
        p->at++;
        n->kind = NODE_END;
        return ST_OK;
    }
    n->kind = NODE_SET;
    if (*p->at == '[') {
        p->at++;
        return parse_class(p, &n->set);
    }
    if (strchr("?*+{.^", *p->at)) return refuse(p, "a character with no meaning there");
    if (strncmp(p->at, "\\S", 2) == 0) {
        p->at += 2;
        set_add_classes(&n->set, UNICODE_SPACE);
        set_negate(&n->set);
        return ST_OK;
    }
    enum status st = parse_class_escape(p, &n->set, &found);
    if (st != ST_OK || found) return st;
    st = parse_code_point(p, &c);
    return st == ST_OK ? set_add(p, &n->set, c, c) : st;
}

static uint32_t parse_number(struct parser *p)
{
    uint32_t v = 0;
    for (; *p->at >= '0' && *p->at <= '9' && v < 100000; p->at++)
        v = v * 10 + (uint32_t)(*p->at - '0');
    return v;
}

static enum status parse_quantifier(struct parser *p, struct node *n)
{
    uint32_t min = 1, max = 1;
    if (!*p->at || !strchr("?*+{", *p->at)) return ST_OK;
    char c = *p->at++;
    if (c == '?' || c == '*') min = 0;
    if (c == '+' || c == '*') max = REGEX_ENDLESS;
    if (c == '{') {
        min = max = parse_number(p);
        if (*p->at == ',') {
            p->at++;
            max = parse_number(p);
        }
        if (*p->at++ != '}' || max == 0 || min > max)
            return refuse(p, "a quantifier that fits nothing");
    }
    if (n->kind == NODE_AHEAD || n->kind == NODE_END) return refuse(p, "a repeated assertion");
    n->min = min;
    n->max = max;
    if (n->kind != NODE_SET || (min == 1 && max == 1)) return ST_OK;
    n->kind = NODE_LOOP;
    n->loop = p->n_loops++;
    return p->n_loops <= REGEX_LOOPS ? ST_OK : refuse(p, "too many repetitions");
}

/* "(?=A)B" with one code point in A and B: a code point in both. */
static bool narrow(const struct node *ahead, struct node *n)
{
    if (!ahead || ahead->kind != NODE_AHEAD || ahead->negated || ahead->branches.n != 1 ||
        !is_set(ahead->branches.first[0]) || n->kind != NODE_SET || n->set.also)
        return false;
    n->set.also = &ahead->branches.first[0]->set;
    for (size_t i = 0; i < 4; i++) n->set.ascii[i] &= n->set.also->ascii[i];
    return true;
}

static enum status parse_sequence(struct parser *p, struct node **first)
{
    struct node **link = first, **last = NULL; /* of the node before */
    *first = NULL;
    while (*p->at && *p->at != '|' && *p->at != ')') {
        struct node *n = arena_alloc(p->arena, 1, sizeof *n);
        if (!n) return fail(p->e, ST_NOMEM, "out of memory for a regular expression");
        enum status st = parse_atom(p, n);
        if (st == ST_OK) st = parse_quantifier(p, n);
        if (st != ST_OK) return st;
        if (last && narrow(*last, n)) {
            *last = n;
        } else {
            *link = n;
            last = link;
        }
        link = &n->next;
    }
    return ST_OK;
}

/* Adds the ASCII characters that n and what follows can begin with; all of them if it may match
 * nothing at all. */
static void add_beginnings(const struct node *n, uint32_t ascii[4])
{
    for (; n; n = n->next) {
        if (n->kind == NODE_AHEAD || n->kind == NODE_END) break;
        if (n->kind == NODE_GROUP) {
            for (uint32_t i = 0; i < n->branches.n; i++)
                add_beginnings(n->branches.first[i], ascii);
        } else {
            for (size_t i = 0; i < 4; i++) ascii[i] |= n->set.ascii[i];
        }
        if (n->min > 0) return;
    }
    memset(ascii, 0xFF, 4 * sizeof *ascii);
}

static enum status parse_branches(struct parser *p, struct branches *out)
{
    for (;;) {
        uint32_t i = out->n++, ascii[4] = {0};
        if (i == REGEX_BRANCHES) return refuse(p, "too many alternatives");
        enum status st = parse_sequence(p, &out->first[i]);
        if (st != ST_OK) return st;
        add_beginnings(out->first[i], ascii);
        for (uint32_t c = 0; c < 128; c++)
            if (ascii[c / 32] >> (c % 32) & 1) out->may[c] |= 1u << i;
        if (*p->at != '|') return ST_OK;
        p->at++;
    }
}

enum status regex_compile(struct regex **out, struct arena *a, const char *pattern, struct err *e)
{
    struct parser p = {.pattern = pattern, .at = pattern, .arena = a, .e = e};
    *out = arena_alloc(a, 1, sizeof **out);
    if (!*out) return fail(e, ST_NOMEM, "out of memory for a regular expression");
    enum status st = parse_branches(&p, &(*out)->branches);
    if (st == ST_OK && *p.at) st = refuse(&p, "a parenthesis that closes nothing");
    return st;
}
