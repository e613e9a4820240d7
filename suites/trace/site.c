/* A model as single sites need it; see site.h. */
#include "trace/site.h"

const struct precision precision_exact = {TYPE_F64, SUM_F64, TYPE_F32};

struct site_model site_model_of(const struct gguf *g, const struct ref_model *ref)
{
    struct site_model m = {.g = g,
                           .ref = ref,
                           .shape = ref_model_shape(ref),
                           .hyper = ref_model_hyper(ref, 0),
                           .whole = true};
    for (uint32_t layer = 0; layer < m.shape.n_layers; layer++)
        for (int s = 0; s < SITE_COUNT; s++)
            if (ref_site_of(ref, (enum site)s, layer).kind == REF_SITE_SEVERAL) m.whole = false;
    return m;
}
