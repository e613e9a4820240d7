/* An example of a plug-in that evaluates whole prompts, shows its sites and takes values in their
 * place: Assay's own engine on the CPU, behind the interface.
 *
 * The environment variable ENGINE_FAULT changes it, for the tests of the harness: "unfed": it does
 * not take values; "gate": also doubles the gate of layer 2 in what it shows; "name", "null",
 * "wild": shows a site that there is not, or nothing, or memory that it has not; "print": prints.
 * ENGINE_DECLARES: the precision that it declares, whatever it has. ENGINE_ROUNDS: how it rounds
 * what enters products with weights, "f16", "bf16", or "q8" for 8 bits in blocks of 256, as is
 * right for K-quants. */
#include "assay_subject.h"
#include "engine/backend.h"
#include "engine/engine.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct err last;

/* Between the engine's probe and the caller's. */
struct relay {
    const struct assay_probe *to;
    bool feeds, doubles;
    float *copy;
    const char *rounds; /* NULL: not at all */
    float *rounded;     /* of the site that was taken last */
};

/* ---- rounding -------------------------------------------------------------------------------- */

/* To `bits` of a significand, and to no finer step than 2^least. */
static float round_to(float x, int bits, int least)
{
    int exponent;
    (void)frexpf(x, &exponent);
    const int step = exponent - bits > least ? exponent - bits : least;
    return ldexpf(rintf(ldexpf(x, -step)), step);
}

/* A block of 256: the value of the largest magnitude becomes -127. */
static void round_q8(float *x)
{
    float top = 0;
    for (size_t i = 0; i < 256; i++)
        if (fabsf(x[i]) > fabsf(top)) top = x[i];
    if (fabsf(top) <= 0) return;
    const float inverse = -127 / top, d = 1 / inverse;
    for (size_t i = 0; i < 256; i++) x[i] = d * fminf(127, rintf(inverse * x[i]));
}

static void round_all(const char *how, float *x, size_t n)
{
    const bool q8 = strcmp(how, "q8") == 0, f16 = strcmp(how, "f16") == 0;
    for (size_t i = 0; q8 && i + 256 <= n; i += 256) round_q8(x + i);
    for (size_t i = 0; !q8 && i < n; i++) x[i] = round_to(x[i], f16 ? 11 : 8, f16 ? -24 : -133);
}

static bool enters_products(enum site site)
{
    return site == SITE_ATTN_NORM || site == SITE_ATTN || site == SITE_FFN_NORM ||
           site == SITE_ACT || site == SITE_NORM;
}

/* ---- the probe ------------------------------------------------------------------------------- */

static bool relay_want(void *ctx, enum site site, uint32_t layer)
{
    const struct relay *r = ctx;
    return (r->rounds && enters_products(site)) ||
           r->to->want(r->to->ctx, site_table[site].name, layer) != 0;
}

static void relay_take(void *ctx, enum site site, uint32_t layer, const float *values, size_t rows,
                       size_t cols)
{
    struct relay *r = ctx;
    if (r->doubles && site == SITE_GATE && layer == 2) {
        free(r->copy);
        r->copy = malloc(rows * cols * sizeof *r->copy);
        for (size_t i = 0; r->copy && i < rows * cols; i++) r->copy[i] = 2 * values[i];
        if (r->copy) values = r->copy;
    }
    if (r->rounds && enters_products(site)) {
        free(r->rounded);
        r->rounded = malloc(rows * cols * sizeof *r->rounded);
        if (r->rounded) memcpy(r->rounded, values, rows * cols * sizeof *r->rounded);
        if (r->rounded) round_all(r->rounds, r->rounded, rows * cols);
        if (!r->to->want(r->to->ctx, site_table[site].name, layer)) return;
    }
    r->to->take(r->to->ctx, site_table[site].name, layer, values, rows, cols);
}

static const float *relay_give(void *ctx, enum site site, uint32_t layer, size_t rows, size_t cols)
{
    const struct relay *r = ctx;
    if (r->rounds && enters_products(site)) return r->rounded;
    return r->to->give(r->to->ctx, site_table[site].name, layer, rows, cols);
}

static void misuse(const struct assay_probe *p, const char *fault, uint64_t n)
{
    const float *wild = (const float *)(uintptr_t)8;
    if (strcmp(fault, "name") == 0) p->take(p->ctx, "attention_norm", 0, wild, n, 256);
    if (strcmp(fault, "null") == 0) p->take(p->ctx, "q", 0, NULL, n, 256);
    if (strcmp(fault, "wild") == 0) p->take(p->ctx, "q", 0, wild, n, 256);
    if (strcmp(fault, "print") == 0) puts("a plug-in that prints");
    fflush(stdout);
}

static int engine_plugin_eval(void *ctx, const char *path, const int32_t *tokens, uint64_t n,
                              uint64_t n_vocab, float *logits, const struct assay_probe *probe)
{
    const char *fault = getenv("ENGINE_FAULT");
    struct relay r = {.to = probe,
                      .feeds = !fault,
                      .doubles = fault && strcmp(fault, "gate") == 0,
                      .rounds = getenv("ENGINE_ROUNDS")};
    const struct engine_probe tap = {.ctx = &r,
                                     .want = relay_want,
                                     .take = relay_take,
                                     .give = r.feeds || r.rounds ? relay_give : NULL};
    const struct engine_session_options o = {.n_ctx = n, .n_batch = n, .probe = &tap};
    struct engine_model *m = NULL;
    struct engine_session *s = NULL;
    struct backend *b = NULL;
    (void)ctx;
    if (fault) misuse(probe, fault, n);
    last = (struct err){0};
    enum status st = engine_model_open(&m, path, &last);
    if (st == ST_OK) st = engine_backend_open(&b, "cpu", 0, &last);
    if (st == ST_OK) st = engine_session_open(&s, m, b, &o, &last);
    if (st == ST_OK) st = engine_eval(s, tokens, n, true, &last);
    for (size_t i = 0; i < n && st == ST_OK; i++)
        memcpy(logits + i * n_vocab, engine_logits(s, i), n_vocab * sizeof *logits);
    engine_session_close(s);
    engine_backend_close(b);
    engine_model_close(m);
    free(r.copy);
    free(r.rounded);
    return st == ST_OK ? ASSAY_OK : st == ST_UNSUPPORTED ? ASSAY_UNSUPPORTED : ASSAY_FAILED;
}

static const char *engine_plugin_error(void *ctx)
{
    (void)ctx;
    return *last.text ? last.text : NULL;
}

__attribute__((visibility("default"))) const struct assay_subject *assay_subject(uint32_t abi)
{
    static struct assay_subject subject = {
        .abi = ASSAY_SUBJECT_ABI,
        .name = "Assay's engine on the CPU",
        .error = engine_plugin_error,
        .eval = engine_plugin_eval,
    };
    subject.activations = getenv("ENGINE_DECLARES");
    subject.flags = getenv("ENGINE_FAULT") || getenv("ENGINE_ROUNDS") ? 0 : ASSAY_GIVES;
    return abi == ASSAY_SUBJECT_ABI ? &subject : NULL;
}
