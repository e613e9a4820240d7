/* ref_forward: checks the batch, makes room for the pass, and runs the model. */
#include "reference/forward_priv.h"

static bool cache_check(const struct ref_pass *p, const char *which, enum tensor_type t,
                        uint32_t head_dim)
{
    const struct type_spec *spec = type_by_id((int64_t)t);
    if (!spec || !ref_cache_type(t))
        return ref_refuse(p->e, "a KV cache of type %s is not there",
                          spec ? spec->name : "unknown");
    if (head_dim % spec->block_elems == 0) return true;
    return ref_refuse(p->e, "%s heads of %u values do not divide into blocks of %s", which,
                      head_dim, spec->name);
}

static bool batch_check(const struct ref_pass *p)
{
    const struct ref_forward *f = p->f;
    const struct ref_shape *s = &p->m->shape;
    const uint32_t n_ctx = f->n_ctx ? f->n_ctx : s->n_ctx;
    if (!cache_check(p, "K", f->k_type, s->head_dim)) return false;
    if (!cache_check(p, "V", f->v_type, s->value_dim)) return false;
    /* where V is a part of K */
    if (s->value_dim != s->head_dim && !cache_check(p, "V", f->k_type, s->value_dim)) return false;
    for (size_t i = 0, row = 0; i < f->n_seqs; i++) {
        if (f->lengths[i] > n_ctx)
            return ref_fail(p->e, "sequence %zu has %zu tokens, the context %u", i, f->lengths[i],
                            n_ctx);
        if (p->m->pos_embd.data && f->lengths[i] > p->m->pos_embd.n_out)
            return ref_fail(p->e, "sequence %zu has %zu tokens, position_embd %zu rows", i,
                            f->lengths[i], p->m->pos_embd.n_out);
        for (size_t t = 0; t < f->lengths[i]; t++, row++)
            if (f->tokens[row] < 0 || (uint32_t)f->tokens[row] >= s->n_vocab)
                return ref_fail(p->e, "token %zu of sequence %zu is %d, the vocabulary has %u", t,
                                i, (int)f->tokens[row], s->n_vocab);
    }
    return true;
}

/* The tables for long and short contexts are chosen once, by the context that there is room for
 * and not by what is in it. */
static void choose_factors(struct ref_pass *p)
{
    const struct ref_model *m = p->m;
    const uint32_t n_ctx = p->f->n_ctx ? p->f->n_ctx : m->shape.n_ctx;
    p->rope = m->rope;
    p->rope_windowed = m->rope_windowed;
    if (m->factors_long)
        p->rope.factors = p->rope_windowed.factors =
            n_ctx > m->rope.n_ctx_orig ? m->factors_long : m->factors_short;
}

static bool pass_places(struct ref_pass *p)
{
    for (size_t i = 0; i < p->f->n_seqs; i++) p->rows += p->f->lengths[i];
    p->pos = ref_blocks_alloc(&p->blocks, p->rows, sizeof *p->pos);
    p->uncertain = ref_blocks_alloc(&p->blocks, p->rows, sizeof *p->uncertain);
    if (!p->pos || !p->uncertain) return ref_fail(p->e, "out of memory: %zu positions", p->rows);
    for (size_t i = 0, row = 0; i < p->f->n_seqs; i++)
        for (size_t t = 0; t < p->f->lengths[i]; t++) p->pos[row++] = (int32_t)t;
    return ref_pass_widen(p, p->m->shape.n_vocab);
}

bool ref_forward(const struct ref_model *m, const struct ref_forward *f, double *logits,
                 double *dev, struct ref_err *e)
{
    struct ref_pass p = {.m = m, .f = f, .e = e, .track = dev || f->take};
    struct ref_vals out = {.x = logits, .var = dev, .cols = m->shape.n_vocab};
    bool ok = batch_check(&p) && pass_places(&p);
    choose_factors(&p);
    if (ok && p.track && !dev) ok = (out.var = ref_pass_place(&p, out.cols)) != NULL;
    ok = ok && ref_pass_model(&p, &out);
    if (ok && dev) ref_pass_roots(&p, dev, out.cols, dev);
    ref_pass_free(&p);
    return ok;
}
