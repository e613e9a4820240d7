/* Opening a model: the table of architectures. */
#include "reference/model_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ref_arch *const archs[] = {
#define ARCH(c_name) &ref_arch_##c_name,
#include "reference/arch/archs.def"
#undef ARCH
};
enum { N_ARCHS = sizeof archs / sizeof archs[0] };

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

const char *ref_model_arch(const struct ref_model *m)
{
    return m->arch->name;
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
