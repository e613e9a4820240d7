/* The tokens to run a model on, from what a command was given. */
#ifndef PROMPT_TOKENS_H
#define PROMPT_TOKENS_H

#include "engine/engine.h"
#include "engine/gguf/gguf.h"

/* Tokens of a text (with the model's tokenizer) or of a list of ids; both NULL: a short text of its
 * own, or ids where there is no tokenizer. *ids is malloc'd. Errors name the option; a prompt
 * longer than the context is one. */
enum status prompt_tokens(const struct engine_model *m, const char *text, const char *list,
                          int32_t **ids, size_t *n, struct err *e);

#endif
