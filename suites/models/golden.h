/* Golden forward files: a model with, or beside, token lists and the logits that llama.cpp gave. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include "engine/gguf/gguf.h"

/* One prompt of a golden file. exact and native hold n_rows x n_vocab logits. */
struct golden_prompt {
    const int32_t *tokens;
    size_t n_tokens;
    const float *exact, *native; /* native NULL if absent */
    const int32_t *positions;    /* the token of each row; NULL: row i is token i, or a single
                                     row is the last token */
    const int32_t *top;          /* top token of every position, or NULL */
    size_t n_rows, n_vocab;
};

/* Prompt i of the file; false past the last. A prompt that is not well-formed sets e. */
bool golden_prompt(const struct gguf *g, size_t i, struct golden_prompt *out, struct err *e);

/* Which token of the prompt row r stands for. */
size_t golden_row_token(const struct golden_prompt *p, size_t r);

#endif
