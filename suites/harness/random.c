/* See random.h. */
#include "harness/random.h"

#include <math.h>

uint64_t rng_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

struct rng rng_of(const struct test *t)
{
    return (struct rng){.state = t->seed};
}

uint64_t rng_u64(struct rng *r)
{
    r->state += 0x9e3779b97f4a7c15u;
    return rng_mix(r->state);
}

double rng_uniform(struct rng *r)
{
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

double rng_gauss(struct rng *r)
{
    if (r->has_spare) {
        r->has_spare = false;
        return r->spare;
    }
    double u = ((double)(rng_u64(r) >> 11) + 0.5) * 0x1p-53, v = rng_uniform(r);
    double radius = sqrt(-2 * log(u)), angle = 6.283185307179586 * v;
    r->spare = radius * sin(angle);
    r->has_spare = true;
    return radius * cos(angle);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    return rng_u64(r) % n;
}
