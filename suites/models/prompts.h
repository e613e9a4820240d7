/* Prompts: lines of a file, as tokens. */
#ifndef PROMPTS_H
#define PROMPTS_H

#include "engine/engine.h"

struct prompt_set {
    char *text;         /* the file, lines cut by NUL */
    const char **lines; /* (n) */
    int32_t *tokens;    /* all prompts, one after the other */
    size_t *lengths;    /* (n) */
    size_t n, n_tokens, longest;
};

/* Reads a file of one prompt per line (UTF-8; empty lines and lines that begin with # are left
 * out; "tokens: 1,2,3" gives ids) and encodes it with the model's tokenizer. Errors name file and
 * line: invalid UTF-8, ids out of range, a prompt longer than n_ctx, no prompt at all. */
enum status prompts_read(struct prompt_set *out, const char *path, const struct engine_model *m,
                         struct err *e);
/* n prompts of random tokens of a vocabulary; the same for the same seed. A prompt's line is its
 * list of tokens, as in a file. */
enum status prompts_random(struct prompt_set *out, uint64_t seed, const size_t *lengths, size_t n,
                           uint32_t n_vocab, struct err *e);
void prompts_free(struct prompt_set *p);

#endif
