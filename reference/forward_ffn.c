/* The feed-forward part of a layer, and of one expert: two or three products around an
 * activation. */
#include "reference/forward_priv.h"

static void ffn_run(struct ref_pass *p, uint32_t i, const struct ref_ffn *w,
                    const struct ref_vals *in, struct ref_vals *gate, struct ref_vals *up,
                    struct ref_vals *out)
{
    const bool gated = w->gate.data != NULL;
    if (gated) {
        ref_pass_linear(p, &w->gate, in, gate);
        ref_pass_site(p, SITE_GATE, i, gate);
    }
    ref_pass_linear(p, &w->up, in, up);
    ref_pass_site(p, SITE_UP, i, up);
    ref_pass_activate(p, w->act, up, gated ? gate : NULL);
    ref_pass_site(p, SITE_ACT, i, gated ? gate : up);
    ref_pass_linear(p, &w->down, gated ? gate : up, out);
}

bool ref_pass_ffn(struct ref_pass *p, uint32_t layer, const struct ref_ffn *w,
                  const struct ref_vals *in, struct ref_vals *out)
{
    const struct ref_blocks outer = ref_pass_begin(p);
    struct ref_vals gate, up;
    const bool ok = (!w->gate.data || ref_pass_alloc(p, w->gate.n_out, &gate)) &&
                    ref_pass_alloc(p, w->up.n_out, &up);
    if (ok) ffn_run(p, layer, w, in, &gate, &up, out);
    ref_pass_end(p, outer);
    return ok;
}
