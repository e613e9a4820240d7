/* Memory and errors of models, of their loading and of passes. */
#include "reference/model_load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct ref_block {
    struct ref_block *before;
    max_align_t data[];
};

void *ref_blocks_alloc(struct ref_blocks *b, size_t count, size_t size)
{
    if (count > (SIZE_MAX - sizeof(struct ref_block)) / size) return NULL;
    struct ref_block *block = calloc(1, sizeof *block + count * size);
    if (!block) return NULL;
    block->before = b->last;
    b->last = block;
    return block->data;
}

void ref_blocks_free(struct ref_blocks *b)
{
    while (b->last) {
        struct ref_block *block = b->last;
        b->last = block->before;
        free(block);
    }
}

static void set_error(struct ref_err *e, bool unsupported, const char *format, va_list args)
{
    vsnprintf(e->text, sizeof e->text, format, args);
    e->unsupported = unsupported;
}

bool ref_fail(struct ref_err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_error(e, false, format, args);
    va_end(args);
    return false;
}

bool ref_refuse(struct ref_err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_error(e, true, format, args);
    va_end(args);
    return false;
}

void ref_load_fail(struct ref_loader *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!l->failed) set_error(l->e, false, format, args);
    va_end(args);
    l->failed = true;
}

void ref_load_refuse(struct ref_loader *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!l->failed) set_error(l->e, true, format, args);
    va_end(args);
    l->failed = true;
}

void *ref_load_alloc(struct ref_loader *l, size_t count, size_t size)
{
    void *p = l->failed ? NULL : ref_blocks_alloc(&l->m->blocks, count, size);
    if (!p) ref_load_fail(l, "out of memory: %zu x %zu bytes for the model", count, size);
    return p;
}
