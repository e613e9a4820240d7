/* Mixtures of experts in a forward pass, with error bounds (see forward_priv.h). The choice of
 * experts is taken as it is: derivatives are those of the weights of the chosen. Where the choice
 * might have been another one, the token is marked as uncertain. */
#include "reference/forward_priv.h"
#include "reference/ops_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One token at a router: logits and what follows from them. */
struct routed {
    const struct ref_router *r;
    const double *logits, *var; /* n_experts; var NULL: not tracked */
    double probs[REF_MAX_EXPERTS];
    struct ref_choice choice;
};

/* Bound on the error of an expert's probability in units of u, relative to it, of an evaluation
 * from the same logits: that of the exponential and of the rounded logits (as in row_scores of
 * forward_attention.c), of the sum, of the division. */
static double prob_noise(const struct routed *t, uint32_t e)
{
    const double l = t->logits[e];
    if (t->r->gating == REF_GATING_SIGMOID) return 16 + 5 * fabs(l) * (1 - t->probs[e]);
    const double max = t->logits[ref_argmax(t->logits, t->r->n_experts)];
    return 4 * fabs(l - max) + 2 * (fabs(l) + fabs(max)) + 8 + sqrt(t->r->n_experts);
}

/* ---- the choice ------------------------------------------------------------------------------ */

/* Squared bound on the error of a selection value. Where softmax keeps the order of the logits,
 * they stand in for it (see choice_values). */
static double selection_var(const struct routed *t, bool by_logits, uint32_t e)
{
    const double p = t->probs[e];
    if (by_logits) return t->var[e];
    const double own = REF_U * (prob_noise(t, e) * p + 2 * fabs(t->choice.selection[e]));
    double var = own * own;
    if (t->r->gating == REF_GATING_SIGMOID) return var + p * p * (1 - p) * (1 - p) * t->var[e];
    if (t->r->gating == REF_GATING_SOFTMAX_CHOSEN) return var + t->var[e];
    for (uint32_t j = 0; j < t->r->n_experts; j++) {
        const double d = p * ((j == e ? 1 : 0) - t->probs[j]);
        var += d * d * t->var[j];
    }
    return var;
}

/* True if an error within the bounds turns the order of two values. */
static bool may_swap(double above, double above_var, double below, double below_var)
{
    return !(above - below > sqrt(above_var + below_var));
}

static bool groups_uncertain(const struct routed *t)
{
    const struct ref_router *r = t->r;
    const uint32_t size = r->n_experts / r->n_groups;
    for (uint32_t g = 0; g < r->n_groups; g++)
        for (uint32_t h = 0; h < r->n_groups; h++) {
            uint32_t a[2], b[2];
            if (!t->choice.allowed[g * size] || t->choice.allowed[h * size]) continue;
            const double kept = ref_group_score(t->choice.selection + g * size, size, a);
            const double left = ref_group_score(t->choice.selection + h * size, size, b);
            double kept_var = 0, left_var = 0;
            for (uint32_t i = 0; i < 2; i++) {
                kept_var += selection_var(t, false, g * size + a[i]);
                left_var += selection_var(t, false, h * size + b[i]);
            }
            if (may_swap(kept, kept_var, left, left_var)) return true;
        }
    return false;
}

static bool choice_uncertain(const struct routed *t)
{
    const struct ref_router *r = t->r;
    const bool by_logits = !r->bias && r->n_groups < 2 && r->gating != REF_GATING_SIGMOID;
    const double *value = by_logits ? t->logits : t->choice.selection;
    if (r->n_groups > 1 && groups_uncertain(t)) return true;
    for (uint32_t i = 0; i < r->n_used; i++) {
        const uint32_t c = t->choice.ids[i];
        const double var = selection_var(t, by_logits, c);
        for (uint32_t e = 0; e < r->n_experts; e++)
            if (t->choice.allowed[e] && !t->choice.chosen[e] &&
                may_swap(value[c], var, value[e], selection_var(t, by_logits, e)))
                return true;
    }
    return false;
}

/* ---- the weights ---------------------------------------------------------------------------- */

/* A weight is w_c = s p_c, or s p_c / sum p over the chosen. In all cases
 *     dw_c = w_c (a_c dl_c - sum_j b_j dl_j):
 * softmax over all: a = 1, b_j = p_j, all j. Softmax, normalised over the chosen or made of their
 * logits alone: a = 1, b_j = q_j, the share of j among the chosen. Sigmoid: a_c = 1 - p_c, b = 0;
 * normalised b_j = q_j (1 - p_j). A sum that is too small to divide by is a constant.
 * local: that of the probability, of the largest among those summed up, and of two roundings. */
static void weights_var(const struct routed *t, const double *w, double sum, double *local,
                        double *var)
{
    const struct ref_router *r = t->r;
    const bool sigmoid = r->gating == REF_GATING_SIGMOID;
    const bool shares = r->gating == REF_GATING_SOFTMAX_CHOSEN || (r->normalise && sum > 0x1p-14);
    double b[REF_MAX_EXPERTS] = {0}, total = 0, all = 0, most = 0;
    for (uint32_t i = 0; i < r->n_used; i++) total += w[i];
    for (uint32_t e = 0; !sigmoid && !shares && e < r->n_experts; e++) b[e] = t->probs[e];
    for (uint32_t i = 0; i < r->n_used; i++) {
        const uint32_t e = t->choice.ids[i];
        if (shares) b[e] = w[i] / total * (sigmoid ? 1 - t->probs[e] : 1);
        if (shares) most = fmax(most, prob_noise(t, e));
    }
    for (uint32_t e = 0; e < r->n_experts; e++) all += b[e] * b[e] * t->var[e];
    for (uint32_t i = 0; i < r->n_used; i++) {
        const uint32_t e = t->choice.ids[i];
        const double own = (sigmoid ? 1 - t->probs[e] : 1) - b[e];
        const double others = fmax(0, all - b[e] * b[e] * t->var[e]);
        local[i] = REF_U * fabs(w[i]) * (prob_noise(t, e) + most + 8);
        var[i] = w[i] * w[i] * (own * own * t->var[e] + others) + local[i] * local[i];
    }
}

/* ids and weights (rows, n_used). */
static void route(struct ref_pass *p, const struct ref_router *r, const struct ref_vals *logits,
                  uint32_t *ids, struct ref_vals *weights)
{
    for (size_t row = 0; row < p->rows; row++) {
        struct routed t = {.r = r,
                           .logits = logits->x + row * r->n_experts,
                           .var = p->track ? logits->var + row * r->n_experts : NULL};
        const size_t at = row * r->n_used;
        ref_gate(r, t.logits, t.probs);
        ref_choose(r, t.probs, &t.choice);
        memcpy(ids + at, t.choice.ids, r->n_used * sizeof *ids);
        const double sum = ref_expert_weights(r, t.probs, ids + at, weights->x + at);
        if (!p->track) continue;
        weights_var(&t, weights->x + at, sum, p->local + at, weights->var + at);
        if (choice_uncertain(&t)) p->uncertain[row] = true;
    }
}

/* ---- the experts ---------------------------------------------------------------------------- */

/* The tokens that chose an expert: rows, and where in their list of the chosen it is. */
struct users {
    size_t n, *row, *slot;
};

static void users_of(const struct ref_pass *p, uint32_t expert, uint32_t n_used,
                     const uint32_t *ids, struct users *u)
{
    u->n = 0;
    for (size_t i = 0; i < p->rows * n_used; i++) {
        if (ids[i] != expert) continue;
        u->row[u->n] = i / n_used;
        u->slot[u->n++] = i;
    }
}

static void rows_gather(const struct ref_pass *p, const struct users *u, const struct ref_vals *in,
                        struct ref_vals *out)
{
    const size_t size = in->cols * sizeof(double);
    for (size_t i = 0; i < u->n; i++) {
        memcpy(out->x + i * in->cols, in->x + u->row[i] * in->cols, size);
        if (p->track) memcpy(out->var + i * in->cols, in->var + u->row[i] * in->cols, size);
    }
}

/* out += w y: d = w dy + y dw. mag += |w y|. */
static void rows_add(const struct ref_pass *p, const struct users *u, const struct ref_vals *y,
                     const struct ref_vals *weights, struct ref_vals *out, double *mag)
{
    const size_t n = out->cols;
    for (size_t i = 0; i < u->n; i++)
        for (size_t k = 0; k < n; k++) {
            const double w = weights->x[u->slot[i]], v = y->x[i * n + k];
            const size_t at = u->row[i] * n + k;
            out->x[at] += w * v;
            if (!p->track) continue;
            out->var[at] += w * w * y->var[i * n + k] + v * v * weights->var[u->slot[i]];
            mag[at] += fabs(w * v);
        }
}

/* y = FFN_e(x) for the tokens in u only: for the time being they are all there are. */
static bool expert_run(struct ref_pass *p, const struct ref_moe *m, uint32_t e,
                       const struct users *u, const struct ref_vals *in, struct ref_vals *x,
                       struct ref_vals *y)
{
    const struct ref_ffn ffn = {m->act, m->gate[e], m->up[e], m->down[e]};
    const size_t rows = p->rows;
    const bool quiet = p->quiet;
    rows_gather(p, u, in, x);
    p->rows = u->n;
    p->quiet = true;
    const bool ok = ref_pass_ffn(p, 0, &ffn, x, y);
    p->rows = rows;
    p->quiet = quiet;
    return ok;
}

struct mixture {
    struct ref_vals logits, weights, x, y, mag, shared_gate;
    uint32_t *ids;
    struct users users;
};

static bool mixture_alloc(struct ref_pass *p, const struct ref_router *r, size_t n_embd,
                          struct mixture *a)
{
    const size_t n = p->rows;
    a->ids = ref_blocks_alloc(&p->blocks, n * r->n_used, sizeof *a->ids);
    a->users.row = ref_blocks_alloc(&p->blocks, n, sizeof *a->users.row);
    a->users.slot = ref_blocks_alloc(&p->blocks, n, sizeof *a->users.slot);
    if (!a->ids || !a->users.row || !a->users.slot)
        return ref_fail(p->e, "out of memory: experts of %zu tokens", n);
    return ref_pass_alloc(p, r->n_experts, &a->logits) &&
           ref_pass_alloc(p, r->n_used, &a->weights) && ref_pass_alloc(p, n_embd, &a->x) &&
           ref_pass_alloc(p, n_embd, &a->y) && ref_pass_alloc(p, n_embd, &a->mag) &&
           ref_pass_alloc(p, 1, &a->shared_gate);
}

/* out += shared(in), or sigmoid(gate . in) shared(in); g = 1/(1 + exp(-z)), dg = g (1 - g) dz. */
static bool shared_add(struct ref_pass *p, uint32_t layer, const struct ref_moe *m,
                       const struct ref_vals *in, struct mixture *a, struct ref_vals *out)
{
    const bool gated = m->shared_gate.data != NULL;
    struct ref_vals *g = &a->shared_gate;
    if (gated) ref_pass_linear(p, &m->shared_gate, in, g);
    for (size_t row = 0; row < p->rows; row++) {
        const double z = g->x[row], s = gated ? ref_sigmoid(z) : 1;
        g->x[row] = s;
        if (!p->track) continue;
        const double own = gated ? REF_U * s * (16 + 5 * fabs(z) * (1 - s)) : 0;
        const double slope = s * (1 - s);
        g->var[row] = gated ? slope * slope * g->var[row] + own * own : 0;
    }
    const bool quiet = p->quiet;
    p->quiet = true;
    const bool ok = ref_pass_ffn(p, layer, &m->shared, in, &a->y);
    p->quiet = quiet;
    if (!ok) return false;
    for (size_t row = 0; row < p->rows; row++) a->users.row[row] = a->users.slot[row] = row;
    a->users.n = p->rows;
    rows_add(p, &a->users, &a->y, g, out, a->mag.x);
    return true;
}

/* out: the sum over the chosen, and its own roundings at 8 sqrt(n) u sum |w y|. */
static bool mixture_run(struct ref_pass *p, uint32_t layer, const struct ref_vals *in,
                        struct mixture *a, struct ref_vals *out)
{
    const struct ref_moe *m = &p->m->layers[layer].moe;
    const size_t n = p->rows * out->cols;
    ref_pass_linear(p, &m->gate_inp, in, &a->logits);
    ref_pass_site(p, SITE_ROUTER, layer, &a->logits);
    route(p, &m->router, &a->logits, a->ids, &a->weights);
    memset(out->x, 0, n * sizeof *out->x);
    if (p->track) memset(out->var, 0, n * sizeof *out->var);
    if (p->track) memset(a->mag.x, 0, n * sizeof *a->mag.x);
    for (uint32_t e = 0; e < m->router.n_experts; e++) {
        users_of(p, e, m->router.n_used, a->ids, &a->users);
        if (a->users.n == 0) continue;
        if (!expert_run(p, m, e, &a->users, in, &a->x, &a->y)) return false;
        rows_add(p, &a->users, &a->y, &a->weights, out, a->mag.x);
    }
    if (m->shared.up.data && !shared_add(p, layer, m, in, a, out)) return false;
    const double unit = 8 * sqrt(m->router.n_used + 1.0) * REF_U;
    for (size_t i = 0; p->track && i < n; i++) {
        const double own = unit * a->mag.x[i];
        out->var[i] += own * own;
    }
    return true;
}

/* The error of the whole mixture from exact inputs: a run with nothing to propagate. */
static bool local_run(struct ref_pass *p, uint32_t layer, const struct ref_vals *in,
                      struct mixture *a, struct ref_vals *out, double *local)
{
    struct ref_vals exact;
    bool *uncertain = ref_blocks_alloc(&p->blocks, p->rows, sizeof *uncertain);
    bool *outer = p->uncertain;
    if (!ref_pass_exact(p, in, &exact)) return false;
    if (!uncertain) return ref_fail(p->e, "out of memory: experts of %zu tokens", p->rows);
    p->uncertain = uncertain;
    p->quiet = true;
    const bool ok = mixture_run(p, layer, &exact, a, out);
    p->uncertain = outer;
    p->quiet = false;
    for (size_t i = 0; ok && i < p->rows * out->cols; i++)
        local[i] = uncertain[i / out->cols] ? INFINITY : sqrt(out->var[i]);
    return ok;
}

bool ref_pass_experts(struct ref_pass *p, uint32_t layer, const struct ref_vals *in,
                      struct ref_vals *out)
{
    const struct ref_blocks outer = ref_pass_begin(p);
    const size_t n_out = p->rows * out->cols;
    const bool wanted = p->track && ref_pass_wants(p, SITE_FFN_OUT, layer);
    struct mixture a;
    struct ref_vals sum, local;
    bool ok = mixture_alloc(p, &p->m->layers[layer].moe.router, in->cols, &a) &&
              ref_pass_alloc(p, out->cols, &sum) && ref_pass_alloc(p, out->cols, &local);
    if (ok && wanted) ok = local_run(p, layer, in, &a, &sum, local.x);
    ok = ok && mixture_run(p, layer, in, &a, &sum);
    if (ok) {
        memcpy(out->x, sum.x, n_out * sizeof *sum.x);
        if (p->track) memcpy(out->var, sum.var, n_out * sizeof *sum.var);
        if (p->track) memcpy(p->local, local.x, n_out * sizeof *p->local);
    }
    ref_pass_end(p, outer);
    return ok;
}
