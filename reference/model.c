/* Opening a model: the table of architectures. */
#include "reference/model_load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct ref_arch *const archs[ARCHITECTURE_COUNT] = {
#define ARCH(e, c_name, name) [ARCHITECTURE_##e] = &ref_arch_##c_name,
#include "spec/archs.def"
#undef ARCH
};

static bool arch_find(struct ref_model *m, const struct ref_source *src, struct ref_err *e)
{
    char name[64] = "", known[sizeof e->text] = "";
    if (!src->text(src->ctx, "general.architecture", name, sizeof name))
        return ref_fail(e, "key general.architecture is missing");
    for (size_t i = 0; i < ARCHITECTURE_COUNT; i++) {
        m->arch = archs[i];
        m->arch_name = architecture_names[i];
        if (strcmp(m->arch_name, name) == 0) return true;
        const size_t n = strlen(known);
        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", m->arch_name);
    }
    return ref_refuse(e, "architecture \"%s\" is not supported (there is: %s)", name, known);
}

bool ref_model_open(struct ref_model **out, const struct ref_source *src, struct ref_err *e)
{
    *out = NULL;
    struct ref_model *m = calloc(1, sizeof *m);
    if (!m) return ref_fail(e, "out of memory: %zu bytes for the model", sizeof *m);
    m->embd_scale = m->residual_scale = m->logit_scale = 1;
    if (!arch_find(m, src, e)) {
        free(m);
        return false;
    }
    struct ref_loader l = {.src = src, .m = m, .e = e};
    m->arch->load(&l);
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
    return m->arch_name;
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
