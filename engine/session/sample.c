/* Choosing the next token. Only exactly rounded operations of binary64 and integers, so that the
 * same logits and seed give the same token on every machine. Order of the filters: top-k, top-p,
 * min-p, then temperature. */
#include "engine/engine.h"

#include <math.h>

struct candidate {
    float logit;
    int32_t id;
};
_Static_assert(sizeof(struct candidate) == 8, "engine.h promises 8 bytes per entry");

/* splitmix64 */
static double next_uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/* exp(x) for x <= 0. The library's own may differ between machines in the last place. */
static double exp_of(double x)
{
    if (!(x > -745.0)) return 0.0;
    double k = floor(x * 1.4426950408889634 + 0.5);
    double r = (x - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10; /* ln 2 */
    double sum = 1.0;
    for (int i = 13; i >= 1; i--) sum = 1.0 + sum * r / i;
    return ldexp(sum, (int)k);
}

static int32_t greedy(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i]))) best = i;
    return (int32_t)best;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* Moves the entry at i down to where it belongs in the heap of n. */
static void sift(struct candidate *c, uint32_t n, uint32_t i)
{
    struct candidate moved = c[i];
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&c[child + 1], &c[child])) child++;
        if (!before(&c[child], &moved)) break;
        c[i] = c[child];
    }
    c[i] = moved;
}

/* Takes the best k of n out: they end up in c[n-1], c[n-2] ..., best first. */
static void take_best(struct candidate *c, uint32_t n, uint32_t k)
{
    for (uint32_t i = n / 2; i-- > 0;) sift(c, n, i);
    for (uint32_t i = 0; i < k; i++) {
        struct candidate top = c[0];
        c[0] = c[n - 1 - i];
        c[n - 1 - i] = top;
        sift(c, n - 1 - i, 0);
    }
}

/* How many of the best k survive top-p and min-p; at least one. */
static uint32_t filter(const struct sampler *s, const struct candidate *best, uint32_t k)
{
    const double max = (double)best->logit;
    double sum = 0.0, run = 0.0;
    for (uint32_t i = 0; i < k; i++) sum += exp_of((double)best[-(ptrdiff_t)i].logit - max);
    for (uint32_t i = 0; i < k; i++) {
        double w = exp_of((double)best[-(ptrdiff_t)i].logit - max);
        if (i > 0 && w < (double)s->min_p) return i;
        run += w;
        if (s->top_p < 1.0f && run >= (double)s->top_p * sum) return i + 1;
    }
    return k;
}

int32_t sample(struct sampler *s, const float *logits, uint32_t n, void *scratch)
{
    struct candidate *c = scratch;
    const int32_t top = greedy(logits, n);
    if (!(s->temperature > 0.0f) || !isfinite(logits[top])) return top;

    uint32_t m = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!isnan(logits[i])) c[m++] = (struct candidate){logits[i], (int32_t)i};
    uint32_t k = s->top_k > 0 && s->top_k < m ? s->top_k : m;
    const struct candidate *best = &c[m - 1];
    if (k < m || s->top_p < 1.0f || s->min_p > 0.0f) { /* else their order does not matter */
        take_best(c, m, k);
        k = filter(s, best, k);
    }

    const double max = (double)logits[top], t = (double)s->temperature;
    double sum = 0.0, run = 0.0;
    for (uint32_t i = 0; i < k; i++) sum += exp_of(((double)best[-(ptrdiff_t)i].logit - max) / t);
    const double u = next_uniform(&s->state) * sum;
    for (uint32_t i = 0; i < k; i++) {
        run += exp_of(((double)best[-(ptrdiff_t)i].logit - max) / t);
        if (u < run) return best[-(ptrdiff_t)i].id;
    }
    return best[-(ptrdiff_t)(k - 1)].id;
}
