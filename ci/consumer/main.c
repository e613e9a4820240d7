/* next BACKEND MODEL TEXT: prints the token that the model finds most likely after the text. It uses
 * nothing but the installed library. */
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct next {
    struct backend *backend;
    struct engine_model *model;
    struct engine_session *session;
    int32_t *prompt;
    void *scratch; /* of the sampler: 8 bytes for each token of the vocabulary */
    char *text;    /* of the next token */
    size_t len;
};

static enum status next_token(struct next *x, const char *text, struct err *e)
{
    const struct tokenizer *t = engine_tokenizer(x->model);
    const uint32_t n_vocab = engine_model_shape(x->model).n_vocab;
    struct sampler greedy = {.top_p = 1};
    size_t n;
    if (!t) return fail(e, ST_UNSUPPORTED, "%s", engine_tokenizer_why(x->model));
    enum status st = tokenize(t, text, strlen(text), TOKENIZE_SPECIAL, &x->prompt, &n, e);
    if (!st && n == 0) return fail(e, ST_USAGE, "the text holds no tokens");
    if (!st) st = engine_eval(x->session, x->prompt, n, false, e);
    if (st) return st;
    x->scratch = alloc_array(n_vocab, 8);
    if (!x->scratch) return fail(e, ST_NOMEM, "out of memory");
    const int32_t id = sample(&greedy, engine_logits(x->session, 0), n_vocab, x->scratch);
    return token_piece(t, id, false, &x->text, &x->len, e);
}

int main(int argc, char **argv)
{
    const struct engine_session_options options = {.n_ctx = 256};
    struct next x = {0};
    struct err e = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: next BACKEND MODEL TEXT\n");
        return 2;
    }
    enum status st = engine_backend_open(&x.backend, argv[1], 0, &e);
    if (!st) st = engine_model_open(&x.model, argv[2], &e);
    if (!st) st = engine_session_open(&x.session, x.model, x.backend, &options, &e);
    if (!st) st = next_token(&x, argv[3], &e);
    if (!st) printf("%.*s\n", (int)x.len, x.text);
    if (st) fprintf(stderr, "next: %s\n", e.text);
    free(x.text);
    free(x.scratch);
    free(x.prompt);
    engine_session_close(x.session);
    engine_model_close(x.model);
    engine_backend_close(x.backend);
    return st ? 1 : 0;
}
