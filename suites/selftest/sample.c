/* The suite of the sampler: which token is taken from given logits. What is random is checked by
 * its frequencies, with a bound of six standard deviations. */
#include "selftest/selftest.h"
#include "engine/engine.h"
#include "judge/bounds.h"
#include "harness/harness.h"

#include <math.h>

enum { N = 7, DRAWS = 20000 };

static const struct greedy_row {
    const char *name;
    float logits[N];
    int32_t want;
} greedy_rows[] = {
    {"largest", {0, 1, -3, 5, 4, 2, 1}, 3},
    {"first", {9, 1, 1, 1, 1, 1, 1}, 0},
    {"last", {1, 1, 1, 1, 1, 1, 9}, 6},
    {"tie-takes-lowest", {1, 7, 3, 7, 7, 0, 7}, 1},
    {"all-equal", {2, 2, 2, 2, 2, 2, 2}, 0},
    {"zeros-are-equal", {-1, -0.0f, 0.0f, -1, 0.0f, -2, -1}, 1},
    {"all-negative", {-9, -8, -7, -1e30f, -6, -7, -8}, 4},
    {"minus-infinity", {-INFINITY, -INFINITY, -INFINITY, -3, -INFINITY, -INFINITY, -INFINITY}, 3},
    {"nan-never", {NAN, 1, NAN, 2, 1, NAN, 0}, 3},
};
enum { N_GREEDY = sizeof greedy_rows / sizeof *greedy_rows };

/* Temperature 0, and top-k 1 at any temperature, take the largest. */
static void run_greedy(struct test *t, const struct test_case *c)
{
    const struct greedy_row *row = c->arg;
    uint64_t scratch[N];
    struct sampler greedy = {.temperature = 0, .top_p = 1, .state = t->seed};
    int32_t got = sample(&greedy, row->logits, N, scratch);
    test_check(t, got == row->want, "greedy takes %d instead of %d", (int)got, (int)row->want);
    struct sampler one = {.temperature = 0.8f, .top_k = 1, .top_p = 1, .state = t->seed};
    got = sample(&one, row->logits, N, scratch);
    test_check(t, got == row->want, "top-k 1 takes %d instead of %d", (int)got, (int)row->want);
}

/* logits ln 1, ln 2, ... ln N in an order of their own: token i has weight weights[i]. */
static const int weights[N] = {3, 7, 1, 5, 2, 6, 4};

static const struct random_row {
    const char *name;
    struct sampler s;
    int least; /* weights below this are never drawn */
} random_rows[] = {
    {"all", {.temperature = 1, .top_p = 1}, 1},
    {"top-k", {.temperature = 1, .top_k = 3, .top_p = 1}, 5},
    /* 7 + 6 = 13 of 28 is less than 0.6 of it, with 5 it is not */
    {"top-p", {.temperature = 1, .top_p = 0.6f}, 5},
    {"min-p", {.temperature = 1, .top_p = 1, .min_p = 0.5f}, 4},
};
enum { N_RANDOM = sizeof random_rows / sizeof *random_rows };

static void run_random(struct test *t, const struct test_case *c)
{
    const struct random_row *row = c->arg;
    struct sampler s = row->s;
    float logits[N];
    uint64_t scratch[N];
    size_t counts[N] = {0};
    double sum = 0;
    s.state = t->seed;
    for (size_t i = 0; i < N; i++) {
        logits[i] = (float)log(weights[i]);
        if (weights[i] >= row->least) sum += weights[i];
    }
    for (size_t i = 0; i < DRAWS; i++) {
        int32_t id = sample(&s, logits, N, scratch);
        if (!test_check(t, id >= 0 && id < N, "token %d of %d", (int)id, N)) return;
        counts[id]++;
    }
    for (size_t i = 0; i < N; i++) {
        double p = weights[i] >= row->least ? weights[i] / sum : 0;
        double bound = bound_count(DRAWS, p), off = fabs((double)counts[i] - DRAWS * p);
        test_check(t, off <= bound, "token %zu was drawn %zu times, %.0f +- %.0f are due", i,
                   counts[i], DRAWS * p, bound);
    }
}

/* Half the temperature squares the weights. */
static void run_temperature(struct test *t, const struct test_case *c)
{
    (void)c;
    struct sampler s = {.temperature = 0.5f, .top_p = 1, .state = t->seed};
    float logits[2] = {0, (float)log(3)};
    uint64_t scratch[2];
    size_t count = 0;
    for (size_t i = 0; i < DRAWS; i++) count += sample(&s, logits, 2, scratch) == 1;
    double due = 0.9 * DRAWS, bound = bound_count(DRAWS, 0.9);
    test_check(t, fabs((double)count - due) <= bound, "%zu draws, %.0f +- %.0f are due", count, due,
               bound);
}

/* The same seed gives the same tokens, another one others. */
static void run_seed(struct test *t, const struct test_case *c)
{
    (void)c;
    struct sampler a = {.temperature = 1, .top_p = 1, .state = t->seed}, b = a, other = a;
    float logits[N] = {0};
    uint64_t scratch[N];
    size_t same = 0;
    other.state++;
    for (size_t i = 0; i < DRAWS; i++) {
        int32_t x = sample(&a, logits, N, scratch), y = sample(&b, logits, N, scratch);
        if (!test_check(t, x == y, "draw %zu: %d and %d", i, (int)x, (int)y)) return;
        same += x == sample(&other, logits, N, scratch);
    }
    test_check(t, same < DRAWS / 2, "another seed gives the same tokens");
}

void suite_sample(struct case_list *l)
{
    struct test_case c = {.suite = "sample", .quick = true};
    for (size_t i = 0; i < N_GREEDY; i++) {
        c.op = "greedy", c.shape = greedy_rows[i].name, c.arg = &greedy_rows[i], c.run = run_greedy;
        case_add(l, &c);
    }
    for (size_t i = 0; i < N_RANDOM; i++) {
        c.op = "random", c.shape = random_rows[i].name, c.arg = &random_rows[i], c.run = run_random;
        case_add(l, &c);
    }
    c.shape = "temperature", c.arg = NULL, c.run = run_temperature;
    case_add(l, &c);
    c.shape = "seed", c.run = run_seed;
    case_add(l, &c);
}
