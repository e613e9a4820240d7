/* See prompt_tokens.h. */
#include "models/prompt_tokens.h"
#include "base/text.h"
#include "base/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char default_text[] = "The capital of France is";

/* An item of a list, with blanks around it or not. */
static bool token_id(char *item, int32_t *out)
{
    uint64_t id;
    char *end = item + strlen(item);
    while (end > item && end[-1] == ' ') *--end = 0;
    if (!parse_u64(item + strspn(item, " "), 0, INT32_MAX, &id)) return false;
    *out = (int32_t)id;
    return true;
}

enum status prompt_ids(const char *list, int32_t **ids, size_t *n, struct err *e)
{
    const size_t length = strlen(list);
    char item[32] = "";
    size_t cap = 1;
    for (const char *p = list; *p; p++) cap += *p == ',';
    *n = 0;
    *ids = alloc_array(cap, sizeof **ids);
    if (!*ids) return fail(e, ST_NOMEM, "no memory for %zu tokens", cap);
    if (length == 0 || list[length - 1] == ',') return fail(e, ST_USAGE, "'' is no token id");
    while (list_next(&list, item, sizeof item))
        if (!token_id(item, &(*ids)[(*n)++])) return fail(e, ST_USAGE, "'%s' is no token id", item);
    return ST_OK;
}

enum status prompt_encode(const struct engine_model *m, const char *text, int32_t **ids, size_t *n,
                          struct err *e)
{
    const size_t len = strlen(text);
    if (text_check(text, len, e) != ST_OK) return e->st;
    if (!engine_tokenizer(m)) return fail(e, ST_UNSUPPORTED, "%s", engine_tokenizer_why(m));
    return tokenize(engine_tokenizer(m), text, len, TOKENIZE_SPECIAL, ids, n, e);
}

static enum status ids_of_option(const char *list, int32_t **ids, size_t *n, struct err *e)
{
    if (prompt_ids(list, ids, n, e) == ST_OK) return ST_OK;
    return fail_prefix(e, "--tokens");
}

static enum status ids_of_text(const struct engine_model *m, const char *text, int32_t **ids,
                               size_t *n, struct err *e)
{
    struct err why = {0};
    enum status st = prompt_encode(m, text, ids, n, &why);
    if (st == ST_FORMAT) return fail(e, ST_USAGE, "-p: %s", why.text);
    if (st == ST_UNSUPPORTED) return fail(e, st, "%s; give the prompt by --tokens", why.text);
    return st == ST_OK ? ST_OK : fail(e, st, "%s", why.text);
}

enum status prompt_given(const struct engine_model *m, const char *text, const char *list,
                         int32_t **ids, size_t *n, struct err *e)
{
    enum status st = list ? ids_of_option(list, ids, n, e) : ids_of_text(m, text, ids, n, e);
    if (st == ST_OK && *n == 0) st = fail(e, ST_USAGE, "the prompt holds no tokens");
    return st;
}

/* A model without a tokenizer gets ids spread over its vocabulary. */
static enum status ids_of_own(const struct engine_model *m, int32_t **ids, size_t *n, struct err *e)
{
    const struct engine_shape s = engine_model_shape(m);
    *n = s.n_ctx < 8 ? s.n_ctx : 8;
    *ids = alloc_array(*n + 1, sizeof **ids);
    if (!*ids) return fail(e, ST_NOMEM, "no memory for %zu tokens", *n);
    for (size_t i = 0; i < *n; i++) (*ids)[i] = (int32_t)((i * 7919 + 1) % s.n_vocab);
    return ST_OK;
}

enum status prompt_tokens(const struct engine_model *m, const char *text, const char *list,
                          int32_t **ids, size_t *n, struct err *e)
{
    const struct engine_shape s = engine_model_shape(m);
    enum status st;
    *ids = NULL;
    *n = 0;
    if (list || text || engine_tokenizer(m))
        st = prompt_given(m, text ? text : default_text, list, ids, n, e);
    else
        st = ids_of_own(m, ids, n, e);
    if (st == ST_OK && *n > s.n_ctx)
        st = fail(e, ST_USAGE, "%zu tokens, the model's context holds %u", *n, s.n_ctx);
    for (size_t i = 0; i < *n && st == ST_OK; i++)
        if ((*ids)[i] < 0 || (uint32_t)(*ids)[i] >= s.n_vocab)
            st = fail(e, ST_USAGE, "token %d is not in the vocabulary of %u", (int)(*ids)[i],
                      s.n_vocab);
    if (st != ST_OK) {
        free(*ids);
        *ids = NULL;
    }
    return st;
}
