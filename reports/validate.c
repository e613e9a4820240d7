/* Checks a document against schema.json. This is not a general validator: it knows the keywords
 * that the schema uses, and refuses a schema with others. */
#include "reports/validate.h"
#include "reports/embedded.h"

#include <math.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PATTERNS = 16 };

struct check {
    json_t *schema; /* the whole one, for references */
    struct findings *out;
    bool quiet; /* anyOf tries alternatives */
    char path[256];
    struct {
        const char *text; /* the schema's */
        regex_t re;
    } patterns[MAX_PATTERNS]; /* as far as values were checked against them */
    size_t n_patterns;
};

static bool complain(struct check *c, const char *fmt, ...)
{
    if (c->quiet) return false;
    struct findings *out = c->out;
    if (out->n++ >= FINDINGS_MAX) return false;
    char *to = out->text[out->n - 1];
    int n = snprintf(to, sizeof *out->text, "%s: ", *c->path ? c->path : "/");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(to + n, sizeof *out->text - (size_t)n, fmt, ap);
    va_end(ap);
    return false;
}

static bool matches(struct check *c, const json_t *schema, json_t *value);

static const char *type_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "object";
    case JSON_ARRAY:
        return "array";
    case JSON_STRING:
        return "string";
    case JSON_INTEGER:
        return "integer";
    case JSON_REAL:
        return "number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "boolean";
    default:
        return "null";
    }
}

static bool is_type(const json_t *v, const char *type)
{
    if (strcmp(type, "number") == 0) return json_is_number(v);
    if (strcmp(type, "integer") == 0 && json_is_real(v))
        return json_real_value(v) == floor(json_real_value(v));
    return strcmp(type_of(v), type) == 0;
}

static bool check_type(struct check *c, const json_t *type, const json_t *v)
{
    size_t i;
    json_t *t;
    if (json_is_string(type))
        return is_type(v, json_string_value(type)) ||
               complain(c, "is of type %s, not %s", type_of(v), json_string_value(type));
    json_array_foreach(type, i, t) if (is_type(v, json_string_value(t))) return true;
    return complain(c, "is of type %s", type_of(v));
}

static bool check_enum(struct check *c, const json_t *list, json_t *v)
{
    size_t i;
    json_t *t;
    json_array_foreach(list, i, t) if (json_equal(t, v)) return true;
    const char *s = json_string_value(v);
    return complain(c,
                    s ? "'%.80s' is none of the values that are possible"
                      : "is none of the values that are possible",
                    s);
}

static bool check_pattern(struct check *c, const char *pattern, const json_t *v)
{
    const char *s = json_string_value(v);
    size_t i = 0;
    if (!s) return true;
    while (i < c->n_patterns && c->patterns[i].text != pattern) i++;
    if (i == c->n_patterns) {
        if (i == MAX_PATTERNS ||
            regcomp(&c->patterns[i].re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
            return complain(c, "the schema's pattern '%s' cannot be read", pattern);
        c->patterns[c->n_patterns++].text = pattern;
    }
    return regexec(&c->patterns[i].re, s, 0, NULL, 0) == 0 ||
           complain(c, "'%.80s' does not look as it should (%s)", s, pattern);
}

/* Checks a member or an element, named in messages. */
static bool descend(struct check *c, const char *name, const json_t *schema, json_t *v)
{
    size_t n = strlen(c->path);
    snprintf(c->path + n, sizeof c->path - n, "/%s", name);
    bool ok = matches(c, schema, v);
    c->path[n] = 0;
    return ok;
}

static bool check_members(struct check *c, const json_t *schema, json_t *v)
{
    const json_t *properties = json_object_get(schema, "properties"),
                 *others = json_object_get(schema, "additionalProperties");
    bool ok = true;
    size_t i;
    json_t *name, *member;
    const char *key;
    if (!json_is_object(v)) return true;
    json_array_foreach(json_object_get(schema, "required"), i,
                       name) if (!json_object_get(v, json_string_value(name))) ok =
        complain(c, "'%s' is missing", json_string_value(name));
    json_object_foreach(v, key, member)
    {
        const json_t *own = json_object_get(properties, key);
        if (own)
            ok = descend(c, key, own, member) && ok;
        else if (json_is_false(others))
            ok = complain(c, "'%.80s' does not belong here", key);
        else if (json_is_object(others))
            ok = descend(c, key, others, member) && ok;
    }
    return ok;
}

static bool check_items(struct check *c, const json_t *schema, json_t *v)
{
    bool ok = true;
    size_t i;
    json_t *item;
    char name[24];
    json_array_foreach(v, i, item)
    {
        snprintf(name, sizeof name, "%zu", i);
        ok = descend(c, name, schema, item) && ok;
    }
    return ok;
}

static bool check_any(struct check *c, const json_t *list, json_t *v)
{
    size_t i;
    json_t *s;
    bool quiet = c->quiet, ok = false;
    c->quiet = true;
    json_array_foreach(list, i, s) ok = ok || matches(c, s, v);
    c->quiet = quiet;
    /* The last alternative is the one with content where there is one: let it say what is wrong. */
    return ok || matches(c, json_array_get(list, json_array_size(list) - 1), v);
}

static const json_t *resolve(const struct check *c, const char *ref)
{
    return strncmp(ref, "#/$defs/", 8) == 0
               ? json_object_get(json_object_get(c->schema, "$defs"), ref + 8)
               : NULL;
}

static bool check_keyword(struct check *c, const char *key, const json_t *schema,
                          const json_t *argument, json_t *v)
{
    static const char *const silent[] = {
        "$schema", "$id",        "title",    "description",
        "$defs",   "properties", "required", "additionalProperties"};
    size_t i;
    json_t *s;
    for (i = 0; i < sizeof silent / sizeof *silent; i++)
        if (strcmp(key, silent[i]) == 0) return true;
    if (strcmp(key, "type") == 0) return check_type(c, argument, v);
    if (strcmp(key, "enum") == 0) return check_enum(c, argument, v);
    if (strcmp(key, "const") == 0)
        return json_equal(argument, v) || complain(c, "is not %s", json_string_value(argument));
    if (strcmp(key, "pattern") == 0) return check_pattern(c, json_string_value(argument), v);
    if (strcmp(key, "minimum") == 0)
        return !json_is_number(v) || json_number_value(v) >= json_number_value(argument) ||
               complain(c, "%g is below %g", json_number_value(v), json_number_value(argument));
    if (strcmp(key, "items") == 0) return check_items(c, argument, v);
    if (strcmp(key, "anyOf") == 0) return check_any(c, argument, v);
    if (strcmp(key, "$ref") == 0) {
        const json_t *target = resolve(c, json_string_value(argument));
        return target ? matches(c, target, v)
                      : complain(c, "the schema has no %s", json_string_value(argument));
    }
    if (strcmp(key, "allOf") == 0) {
        bool ok = true;
        json_array_foreach(argument, i, s) ok = matches(c, s, v) && ok;
        return ok;
    }
    (void)schema;
    return complain(c, "the schema has a keyword that is not known here: %s", key);
}

static bool matches(struct check *c, const json_t *schema, json_t *value)
{
    bool ok = true;
    const char *key;
    json_t *argument;
    json_object_foreach((json_t *)schema, key, argument) ok =
        check_keyword(c, key, schema, argument, value) && ok;
    return check_members(c, schema, value) && ok;
}

enum status validate_schema(struct findings *out, const char *schema_name, json_t *doc,
                            struct err *e)
{
    json_error_t je;
    struct span text = embedded_file(schema_name);
    struct check c = {.out = out};
    c.schema = json_loadb((const char *)text.data, text.size, 0, &je);
    if (!c.schema) return fail(e, ST_FORMAT, "%s: line %d: %s", schema_name, je.line, je.text);
    matches(&c, c.schema, doc);
    for (size_t i = 0; i < c.n_patterns; i++) regfree(&c.patterns[i].re);
    json_decref(c.schema);
    return ST_OK;
}
