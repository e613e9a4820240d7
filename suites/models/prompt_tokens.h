/* The tokens to run a model on, from what a command was given. */
#ifndef PROMPT_TOKENS_H
#define PROMPT_TOKENS_H

#include "engine/engine.h"
#include "engine/gguf/gguf.h"

/* A list of token ids, "1,2,3", as malloc'd *ids, also where the list is wrong: ST_USAGE. */
enum status prompt_ids(const char *list, int32_t **ids, size_t *n, struct err *e);

/* The tokens of a text, as malloc'd *ids. ST_FORMAT: it is not valid UTF-8; ST_UNSUPPORTED: the
 * model has no tokenizer, with the reason. */
enum status prompt_encode(const struct engine_model *m, const char *text, int32_t **ids, size_t *n,
                          struct err *e);

/* What --tokens (list) or, if that is NULL, -p (text) gives; errors name the option. *ids is
 * malloc'd, or NULL. A prompt without tokens is an error. */
enum status prompt_given(const struct engine_model *m, const char *text, const char *list,
                         int32_t **ids, size_t *n, struct err *e);

/* Tokens of a text (with the model's tokenizer) or of a list of ids; both NULL: a short text of its
 * own, or ids where there is no tokenizer. *ids is malloc'd. Errors name the option; a prompt
 * longer than the context is one. */
enum status prompt_tokens(const struct engine_model *m, const char *text, const char *list,
                          int32_t **ids, size_t *n, struct err *e);

#endif
