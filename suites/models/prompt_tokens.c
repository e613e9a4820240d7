/* See prompt_tokens.h. */
#include "models/prompt_tokens.h"
#include "base/text.h"
#include "base/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char default_text[] = "The capital of France is";

static enum status ids_of(const char *list, int32_t **ids, size_t *n, struct err *e)
{
    size_t cap = 1;
    for (const char *p = list; *p; p++) cap += *p == ',';
    *ids = alloc_array(cap, sizeof **ids);
    *n = 0;
    if (!*ids) return fail(e, ST_NOMEM, "no memory for %zu tokens", cap);
    for (const char *p = list;;) {
        char item[24];
        uint64_t id;
        const size_t len = strcspn(p, ",");
        snprintf(item, sizeof item, "%.*s", (int)(len < sizeof item ? len : sizeof item - 1), p);
        if (len >= sizeof item || !parse_u64(item, 0, INT32_MAX, &id))
            return fail(e, ST_USAGE, "--tokens: '%s' is no token id", item);
        (*ids)[(*n)++] = (int32_t)id;
        if (!p[len]) return ST_OK;
        p += len + 1;
    }
}

static enum status ids_of_text(const struct engine_model *m, const char *text, int32_t **ids,
                               size_t *n, struct err *e)
{
    const size_t len = strlen(text), valid = text_valid(text, len, NULL);
    if (valid < len)
        return fail(e, ST_USAGE, "-p: invalid UTF-8 at byte %zu: 0x%02x", valid,
                    (unsigned)(uint8_t)text[valid]);
    if (!engine_tokenizer(m))
        return fail(e, ST_UNSUPPORTED, "%s; give the prompt by --tokens", engine_tokenizer_why(m));
    return tokenize(engine_tokenizer(m), text, len, TOKENIZE_SPECIAL, ids, n, e);
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
    if (list)
        st = ids_of(list, ids, n, e);
    else if (text || engine_tokenizer(m))
        st = ids_of_text(m, text ? text : default_text, ids, n, e);
    else
        st = ids_of_own(m, ids, n, e);
    if (st == ST_OK && *n == 0) st = fail(e, ST_USAGE, "the prompt holds no tokens");
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
