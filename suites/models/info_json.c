/* `assay info` as JSON. */
#include "models/info.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ELEMENTS = 6 };

/* A string as it is, or escaped where it is not UTF-8. */
static json_t *text_json(struct gguf_str s)
{
    json_t *j = json_stringn(s.data ? s.data : "", s.len);
    if (j) return j;
    char *text = info_escape(s, false, 0);
    j = text ? json_string(text) : NULL;
    free(text);
    return j;
}

/* Numbers that JSON has no place for (above 2^63 - 1, infinite, no number) become strings. */
static json_t *number_json(struct gguf_kv *kv, uint64_t i)
{
    int64_t whole;
    double real;
    if (gguf_value_i64(kv, i, &whole))
        return kv->elem == GGUF_BOOL ? json_boolean(whole) : json_integer(whole);
    if (kv->elem != GGUF_U64 && gguf_value_f64(kv, i, &real) && isfinite(real))
        return json_real(real);
    struct number_text number = info_number(kv, i);
    return json_string(number.text);
}

static json_t *elements_json(struct gguf_kv *kv, uint64_t n)
{
    json_t *list = json_array();
    if (kv->elem != GGUF_STRING) {
        for (uint64_t k = 0; k < n; k++) json_array_append_new(list, number_json(kv, k));
        return list;
    }
    struct gguf_str *s = alloc_array((size_t)kv->count, sizeof *s);
    if (s) gguf_value_strings(kv, s);
    for (uint64_t k = 0; s && k < n; k++) json_array_append_new(list, text_json(s[k]));
    free(s);
    return list;
}

static const char *use_name(enum key_use use)
{
    static const char *const names[] = {[KEY_USED] = "used",
                                        [KEY_INFORMATIONAL] = "informational",
                                        [KEY_UNUSED] = "unused",
                                        [KEY_UNKNOWN] = "unknown"};
    return names[use];
}

static json_t *metadata_json(const struct info *i)
{
    json_t *list = json_array();
    for (size_t k = 0; k < i->g->n_kv; k++) {
        struct gguf_kv *kv = &i->g->kv[k];
        json_t *row = json_object();
        json_object_set_new(row, "key", text_json(kv->key));
        json_object_set_new(row, "type", json_string(gguf_type_name(kv->type)));
        json_object_set_new(row, "use", json_string(use_name(i->use[k])));
        if (kv->type == GGUF_ARRAY) {
            uint64_t n = i->all || kv->count < FIRST_ELEMENTS ? kv->count : FIRST_ELEMENTS;
            json_object_set_new(row, "element", json_string(gguf_type_name(kv->elem)));
            json_object_set_new(row, "count", json_integer((json_int_t)kv->count));
            json_object_set_new(row, n < kv->count ? "first" : "value", elements_json(kv, n));
        } else {
            json_t *one = elements_json(kv, 1);
            json_object_set(row, "value", json_array_get(one, 0));
            json_decref(one);
        }
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *tensors_json(const struct info *i)
{
    json_t *list = json_array();
    for (size_t k = 0; k < i->g->n_tensors; k++) {
        const struct gguf_tensor *x = &i->g->tensors[k];
        json_t *row = json_object(), *dims = json_array();
        for (uint32_t d = 0; d < x->n_dims; d++)
            json_array_append_new(dims, json_integer((json_int_t)x->dims[d]));
        json_object_set_new(row, "name", text_json(x->name));
        json_object_set_new(row, "type", json_string(x->type->name));
        json_object_set_new(row, "dims", dims);
        json_object_set_new(row, "file", json_integer(x->part));
        json_object_set_new(row, "offset", json_integer((json_int_t)x->offset));
        json_object_set_new(row, "bytes", json_integer((json_int_t)x->bytes));
        json_object_set_new(
            row, "bits_per_weight",
            json_real(info_bits_per_weight(x->type->block_bytes, x->type->block_elems)));
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *total_json(const char *type, const struct type_total *t)
{
    json_t *row = json_object();
    if (type) json_object_set_new(row, "type", json_string(type));
    json_object_set_new(row, "tensors", json_integer((json_int_t)t->tensors));
    json_object_set_new(row, "elements", json_integer((json_int_t)t->elems));
    json_object_set_new(row, "bytes", json_integer((json_int_t)t->bytes));
    json_object_set_new(row, "bits_per_weight",
                        json_real(info_bits_per_weight(t->bytes, t->elems)));
    return row;
}

static json_t *types_json(const struct info *i)
{
    json_t *list = json_array();
    for (const struct type_spec *t = type_next(NULL); t; t = type_next(t))
        if (i->types[t->id].tensors)
            json_array_append_new(list, total_json(t->name, &i->types[t->id]));
    return list;
}

static json_t *tokenizer_json(const struct info *i)
{
    const struct tokenizer_info *t = &i->tokenizer;
    if (!t->present) return json_null();
    json_t *o = json_object(), *types = json_object(), *specials = json_array();
    json_object_set_new(o, "model", text_json(t->model));
    json_object_set_new(o, "pre", text_json(t->pre));
    json_object_set_new(o, "tokens", json_integer((json_int_t)t->n_tokens));
    json_object_set_new(o, "scores", json_integer((json_int_t)t->n_scores));
    json_object_set_new(o, "token_types", json_integer((json_int_t)t->n_types));
    json_object_set_new(o, "merges", json_integer((json_int_t)t->n_merges));
    json_object_set_new(o, "chat_template_bytes", json_integer((json_int_t)t->template_bytes));
    for (size_t k = 0; k < TOKEN_TYPES; k++)
        json_object_set_new(types, info_token_type(k), json_integer((json_int_t)t->by_type[k]));
    json_object_set_new(o, "by_type", types);
    for (size_t k = 0; k < t->n_specials; k++) {
        const struct special_token *s = &t->specials[k];
        json_t *row = json_object();
        json_object_set_new(row, "role", text_json(s->role));
        json_object_set_new(row, "id", json_integer(s->id));
        json_object_set_new(row, "text", s->in_range ? text_json(s->text) : json_null());
        json_array_append_new(specials, row);
    }
    json_object_set_new(o, "special", specials);
    json_object_set_new(o, "usable", json_boolean(i->engine_opens && !*i->tokenizer_why));
    return o;
}

static json_t *engine_json(const struct info *i)
{
    json_t *o = json_object();
    json_object_set_new(o, "opens", json_boolean(i->engine_opens));
    if (!i->engine_opens) {
        json_object_set_new(o, "reason", json_string(i->engine_reason.text));
        return o;
    }
    const struct engine_shape *s = &i->shape;
    const struct {
        const char *name;
        uint32_t v;
    } sizes[] = {{"n_layers", s->n_layers},     {"n_embd", s->n_embd},     {"n_heads", s->n_heads},
                 {"n_kv_heads", s->n_kv_heads}, {"head_dim", s->head_dim}, {"n_ff", s->n_ff},
                 {"n_vocab", s->n_vocab},       {"n_ctx", s->n_ctx}};
    json_object_set_new(o, "arch", json_string(s->arch));
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        json_object_set_new(o, sizes[k].name, json_integer(sizes[k].v));
    if (*i->tokenizer_why) json_object_set_new(o, "no_tokenizer", json_string(i->tokenizer_why));
    return o;
}

static json_t *info_json(const struct info *i)
{
    const struct gguf *g = i->g;
    json_t *o = json_object();
    json_object_set_new(o, "path", text_json((struct gguf_str){i->path, strlen(i->path)}));
    json_object_set_new(o, "version", json_integer(g->version));
    json_object_set_new(o, "files", json_integer((json_int_t)g->n_files));
    json_object_set_new(o, "alignment", json_integer((json_int_t)g->alignment));
    json_object_set_new(o, "data_offset", json_integer((json_int_t)g->data_offset));
    json_object_set_new(o, "engine", engine_json(i));
    json_object_set_new(o, "metadata", metadata_json(i));
    json_object_set_new(o, "tensors", tensors_json(i));
    json_object_set_new(o, "types", types_json(i));
    json_object_set_new(o, "total", total_json(NULL, &i->total));
    json_object_set_new(o, "tokenizer", tokenizer_json(i));
    return o;
}

enum status info_write_json(const struct info *i, const char *path, struct err *e)
{
    json_t *doc = info_json(i);
    char *text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
    json_decref(doc);
    if (!text) return fail(e, ST_NOMEM, "no memory for the JSON document");
    enum status st = ST_OK;
    if (strcmp(path, "-") == 0) {
        puts(text);
    } else {
        struct file_writer *w;
        st = file_create(&w, path, e);
        if (!st) {
            st = file_write(w, text, strlen(text), e);
            if (!st) st = file_write(w, "\n", 1, e);
            if (st)
                file_abort(w);
            else
                st = file_commit(w, e);
        }
    }
    free(text);
    return st;
}
