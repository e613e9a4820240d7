/* Opening a model: the registry of architectures, memory and errors. */
#include "reference/model_load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ref_arch *const archs[] = {
#define ARCH(c_name) &ref_arch_##c_name,
#include "reference/arch/archs.def"
#undef ARCH
};
enum { N_ARCHS = sizeof archs / sizeof archs[0] };

/* ---- memory and errors ---------------------------------------------------------------------- */

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

/* ---- open and close -------------------------------------------------------------------------- */

static const struct ref_arch *arch_find(const struct ref_source *src, struct ref_err *e)
{
    char name[64] = "", known[320] = "";
    if (!src->text(src->ctx, "general.architecture", name, sizeof name)) {
        ref_fail(e, "key general.architecture is missing");
        return NULL;
    }
    for (size_t i = 0; i < N_ARCHS; i++) {
        if (strcmp(archs[i]->name, name) == 0) return archs[i];
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", archs[i]->name);
    }
    ref_refuse(e, "architecture \"%s\" is not supported (there is: %s)", name, known);
    return NULL;
}

bool ref_model_open(struct ref_model **out, const struct ref_source *src, struct ref_err *e)
{
    *out = NULL;
    const struct ref_arch *arch = arch_find(src, e);
    if (!arch) return false;
    struct ref_model *m = calloc(1, sizeof *m);
    if (!m) return ref_fail(e, "out of memory: %zu bytes for the model", sizeof *m);
    *m = (struct ref_model){.arch = arch, .embd_scale = 1, .residual_scale = 1, .logit_scale = 1};
    struct ref_loader l = {.src = src, .m = m, .e = e};
    arch->load(&l);
    if (l.failed) {
        ref_model_close(m);
        return false;
    }
    *out = m;
    return true;
}

void ref_model_close(struct ref_model *m)
{
    if (!m) return;
    ref_blocks_free(&m->blocks);
    free(m);
}

struct ref_shape ref_model_shape(const struct ref_model *m)
{
    return m->shape;
}

struct ref_hyper ref_model_hyper(const struct ref_model *m, uint32_t layer)
{
    const struct ref_layer *l = &m->layers[layer];
    struct ref_hyper h = {.norm_eps = m->norm_eps,
                          .kq_scale = m->kq_scale,
                          .rope = l->windowed ? m->rope_windowed : m->rope,
                          .temperature = m->temperature,
                          .attn_cap = m->attn_cap,
                          .window = l->windowed ? m->window : 0,
                          .embd_scale = m->embd_scale,
                          .residual_scale = m->residual_scale,
                          .logit_scale = m->logit_scale,
                          .logit_cap = m->logit_cap,
                          .layer_norm = m->arch->norm == REF_NORM_LAYER,
                          .parallel = m->parallel,
                          .latent = l->mla.kv_a.data != NULL};
    if (m->factors_long)
        h.rope.factors = m->shape.n_ctx > m->rope.n_ctx_orig ? m->factors_long : m->factors_short;
    if (!m->has_rope) h.rope.n_dims = 0;
    return h;
}
