/* Reading golden forward files; see golden.h. */
#include "models/golden.h"

#include <stdio.h>

static const struct gguf_tensor *part(const struct gguf *g, size_t i, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "golden.%zu.%s", i, what);
    return gguf_find_tensor(g, name);
}

static const int32_t *ids_of(const struct gguf_tensor *t)
{
    return t && t->type->id == TYPE_I32 ? (const int32_t *)(const void *)t->data : NULL;
}

static const float *floats_of(const struct gguf_tensor *t)
{
    return t && t->type->id == TYPE_F32 ? (const float *)(const void *)t->data : NULL;
}

bool golden_prompt(const struct gguf *g, size_t i, struct golden_prompt *out, struct err *e)
{
    const struct gguf_tensor *tokens = part(g, i, "tokens"), *exact = part(g, i, "exact");
    const struct gguf_tensor *native = part(g, i, "native"), *top = part(g, i, "top");
    const struct gguf_tensor *positions = part(g, i, "positions");
    *out = (struct golden_prompt){0};
    if (!tokens) return false;
    if (!ids_of(tokens) || !floats_of(exact) || exact->n_elems == 0) {
        fail(e, ST_FORMAT, "golden.%zu: tokens (i32) and exact (f32) do not belong together", i);
        return false;
    }
    *out = (struct golden_prompt){.tokens = ids_of(tokens),
                                  .n_tokens = (size_t)tokens->n_elems,
                                  .exact = floats_of(exact),
                                  .native = floats_of(native),
                                  .positions = ids_of(positions),
                                  .top = ids_of(top),
                                  .n_rows = (size_t)exact->dims[1],
                                  .n_vocab = (size_t)exact->dims[0]};
    size_t rows = out->positions ? (size_t)positions->n_elems : out->n_tokens;
    bool single = out->n_rows == 1 && !out->positions;
    if ((out->n_rows != rows && !single) || (native && native->n_elems != exact->n_elems) ||
        (top && top->n_elems != tokens->n_elems)) {
        fail(e, ST_FORMAT, "golden.%zu: %zu rows of logits for %zu tokens", i, out->n_rows,
             out->n_tokens);
        return false;
    }
    for (size_t r = 0; r < out->n_rows; r++)
        if (golden_row_token(out, r) >= out->n_tokens) {
            fail(e, ST_FORMAT, "golden.%zu: row %zu is of token %zu of %zu", i, r,
                 golden_row_token(out, r), out->n_tokens);
            return false;
        }
    return true;
}

size_t golden_row_token(const struct golden_prompt *p, size_t r)
{
    if (p->positions) return (size_t)p->positions[r];
    return p->n_rows == 1 ? p->n_tokens - 1 : r;
}
