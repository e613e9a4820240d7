/* Random numbers of a case: splitmix64, the same on every machine, seeded by the case alone. */
#ifndef RANDOM_H
#define RANDOM_H

#include "harness/harness.h"

struct rng {
    uint64_t state;
    double spare;
    bool has_spare;
};
/* The numbers of this case: they start with t->seed. */
struct rng rng_of(const struct test *t);
uint64_t rng_u64(struct rng *r);
double rng_uniform(struct rng *r);             /* [0, 1) */
double rng_gauss(struct rng *r);               /* mean 0, variance 1 */
uint64_t rng_below(struct rng *r, uint64_t n); /* [0, n) */

/* The mixing step of splitmix64. */
uint64_t rng_mix(uint64_t z);

#endif
