/* route: a token's experts and their weights. A block per token. Nothing is sorted: whoever stands
 * for a group, an expert or a slot counts the better ones, and the number is its place. That is n^2
 * comparisons (1024 experts: 4096 for each of 256 threads), and the order is total: among equals
 * the lower index is better, and NaN counts as -inf, so every place is taken once.
 *
 * MUTANT_choice is a deliberate fault that cuda-sim must report. */
#include "functions.h"
#include "reduce.h"

#define N_WARPS (ROW_BLOCK / WARP)

#ifdef MUTANT_choice
#define CHOICE_BARRIER()
#else
#define CHOICE_BARRIER() __syncthreads()
#endif

DEVICE_FN float not_nan(float v)
{
    return v == v ? v : -K_INFINITY;
}

/* How many of v[0 .. n-1] are better than v[i]. */
DEVICE_FN uint32_t place_of(const float *v, uint32_t i, uint32_t n)
{
    uint32_t better = 0;
    for (uint32_t j = 0; j < n; j++) better += v[j] > v[i] || (v[j] == v[i] && j < i);
    return better;
}

/* p = what the gating makes of the logits. */
DEVICE_FN void gate(const struct k_route *a, const float *logits, float *p, float *red)
{
    float m = -K_INFINITY, s = 0.0f;
    if (a->gating == GATE_SOFTMAX) {
        for (uint32_t i = threadIdx.x; i < a->n_experts; i += blockDim.x)
            m = logits[i] > m ? logits[i] : m;
        m = k_block_max(m, red);
        if (m == -K_INFINITY) m = 0.0f;
        for (uint32_t i = threadIdx.x; i < a->n_experts; i += blockDim.x) s += k_exp(logits[i] - m);
        s = k_block_sum(s, red + N_WARPS);
    }
    for (uint32_t i = threadIdx.x; i < a->n_experts; i += blockDim.x)
        p[i] = a->gating == GATE_SOFTMAX   ? k_exp(logits[i] - m) / s
               : a->gating == GATE_SIGMOID ? k_sigmoid(logits[i])
                                           : logits[i];
}

/* values: p + bias. Group g's place decides whether its experts keep theirs. scores: of groups. */
DEVICE_FN void drop_groups(const struct k_route *a, float *values, float *scores, uint8_t *dropped)
{
    uint32_t size = a->n_experts / a->n_groups;
    for (uint32_t g = threadIdx.x; g < a->n_groups; g += blockDim.x) {
        float first = -K_INFINITY, second = -K_INFINITY;
        for (uint32_t i = g * size; i < (g + 1) * size; i++) {
            float v = values[i];
            second = v > first ? first : v > second ? v : second;
            first = v > first ? v : first;
        }
        scores[g] = size > 1 ? not_nan(first + second) : first;
    }
    __syncthreads();
    for (uint32_t g = threadIdx.x; g < a->n_groups; g += blockDim.x)
        dropped[g] = place_of(scores, g, a->n_groups) >= a->n_groups_used;
    __syncthreads();
}

/* The place of expert i among those whose groups count. */
DEVICE_FN uint32_t choice_of(const struct k_route *a, const float *values, const uint8_t *dropped,
                             uint32_t i)
{
    uint32_t size = a->n_experts / a->n_groups, better = 0;
    if (dropped[i / size]) return a->n_used;
    for (uint32_t g = 0; g < a->n_groups; g++) {
        if (dropped[g]) continue;
        for (uint32_t j = g * size; j < (g + 1) * size; j++)
            better += values[j] > values[i] || (values[j] == values[i] && j < i);
    }
    return better;
}

/* Weights of the slots, in the order of choice: a thread touches only its own. */
DEVICE_FN void weigh(const struct k_route *a, const float *p, const uint32_t *chosen,
                     float *weights, float *red)
{
    const float least = 6.103515625e-5f; /* 2^-14 */
    float m = -K_INFINITY, sum = 0.0f;
    for (uint32_t s = threadIdx.x; s < a->n_used; s += blockDim.x) {
        weights[s] = p[chosen[s]];
        m = weights[s] > m ? weights[s] : m;
    }
    if (a->gating == GATE_CHOSEN) {
        m = k_block_max(m, red);
        if (m == -K_INFINITY) m = 0.0f;
        for (uint32_t s = threadIdx.x; s < a->n_used; s += blockDim.x) {
            weights[s] = k_exp(weights[s] - m);
            sum += weights[s];
        }
        sum = k_block_sum(sum, red + N_WARPS);
        for (uint32_t s = threadIdx.x; s < a->n_used; s += blockDim.x) weights[s] /= sum;
    }
    if (a->normalise) {
        sum = 0.0f;
        for (uint32_t s = threadIdx.x; s < a->n_used; s += blockDim.x) sum += weights[s];
        sum = k_block_sum(sum, red + 2 * N_WARPS);
        if (sum < least) sum = least;
        for (uint32_t s = threadIdx.x; s < a->n_used; s += blockDim.x) weights[s] /= sum;
    }
    for (uint32_t s = threadIdx.x; s < a->n_used; s += blockDim.x) weights[s] *= a->scale;
}

/* The place of slot s: descending weight, then ascending expert. */
DEVICE_FN uint32_t slot_of(const struct k_route *a, const float *weights, const uint32_t *chosen,
                           uint32_t s)
{
    float w = not_nan(weights[s]);
    uint32_t before = 0;
    for (uint32_t j = 0; j < a->n_used; j++) {
        float v = not_nan(weights[j]);
        before += v > w || (v == w && chosen[j] < chosen[s]);
    }
    return before;
}

KERNEL_FN(route, route)
{
    SHARED(float, p, [MAX_EXPERTS]);
    SHARED(float, values, [MAX_EXPERTS]);
    SHARED(float, weights, [MAX_EXPERTS]); /* before: scores of groups */
    SHARED(uint32_t, chosen, [MAX_EXPERTS]);
    SHARED(uint8_t, dropped, [MAX_EXPERTS]);
    SHARED(float, red, [5 * N_WARPS]);
    uint64_t out = (uint64_t)blockIdx.x * a.n_used;
    gate(&a, a.logits + (uint64_t)blockIdx.x * a.n_experts, p, red);
    for (uint32_t i = threadIdx.x; i < a.n_experts; i += blockDim.x) {
        values[i] = not_nan(a.bias ? p[i] + a.bias[i] : p[i]);
        if (i < a.n_groups) dropped[i] = 0;
    }
    __syncthreads();
    if (a.n_groups > 1) drop_groups(&a, values, weights, dropped);
    for (uint32_t i = threadIdx.x; i < a.n_experts; i += blockDim.x) {
        uint32_t choice = choice_of(&a, values, dropped, i);
        if (choice < a.n_used) chosen[choice] = i;
    }
    CHOICE_BARRIER();
    weigh(&a, p, chosen, weights, red + 2 * N_WARPS);
    __syncthreads();
    for (uint32_t s = threadIdx.x; s < a.n_used; s += blockDim.x) {
        uint32_t slot = slot_of(&a, weights, chosen, s);
        a.ids[out + slot] = (int32_t)chosen[s];
        a.weights[out + slot] = weights[s];
    }
}
