/* Runs the blocks of a launch: every thread of a block is a fiber, resumed until it waits or ends.
 * A warp's collective completes when all lanes of its mask wait at it, a barrier when all threads
 * of the block do. When nothing can go on, that is a fault, and it is told who waits for whom. */
#include "engine/cuda/sim/sim.h"

#include <stdatomic.h>
#include <stdlib.h>

static const char *const kind_names[] = {"barrier", "__syncwarp", "shuffle", "vote", "mma"};
enum { SHARED_ALIGN = 16 };

enum status sim_worker_open(struct sim_worker *w, struct err *e)
{
    w->threads = alloc_array(SIM_MAX_THREADS, sizeof *w->threads);
    w->stacks = fiber_stacks((size_t)SIM_MAX_THREADS * SIM_STACK);
    w->shared = alloc_array(SIM_SHARED + 2 * SIM_ARRAYS * (size_t)SIM_FENCE, 1);
    if (w->threads && w->stacks && w->shared) return ST_OK;
    return fail(e, ST_NOMEM, "cuda-sim: no memory for %d stacks", SIM_MAX_THREADS);
}

void sim_worker_close(struct sim_worker *w)
{
    fiber_stacks_free(w->stacks, (size_t)SIM_MAX_THREADS * SIM_STACK);
    free(w->threads);
    free(w->shared);
}

uint32_t sim_wait(enum sim_collective kind, uint32_t mask, uint32_t value, uint32_t source,
                  int line)
{
    struct sim_worker *w = sim_worker;
    struct sim_thread *t = w->current;
    if (!t) {
        sim_report(w, SIM_DIVERGED, "a %s at line %d of a kernel without one in kernels.def",
                   kind_names[kind], line);
        w->stop = true;
        return 0;
    }
    uint32_t lane = sim_place.thread.x % WARP;
    if (kind != SIM_BARRIER && !(mask >> lane & 1u)) {
        sim_report(w, SIM_MASK, "%s at line %d: mask 0x%08x lacks the calling lane %u",
                   kind_names[kind], line, mask, lane);
        sim_abandon(w);
    }
    if (kind == SIM_SHUFFLE && !(mask >> source & 1u)) {
        sim_report(w, SIM_MASK, "shuffle at line %d reads lane %u, which mask 0x%08x lacks", line,
                   source, mask);
        sim_abandon(w);
    }
    t->wait = kind == SIM_BARRIER ? SIM_AT_BARRIER : SIM_AT_WARP;
    t->kind = kind;
    t->line = line;
    t->mask = mask;
    t->value = value;
    t->source = source;
    sim_leave(w);
    return t->value;
}

void sim_mma(float *d, const uint32_t *a, const uint32_t *b, int line)
{
    struct sim_thread *t = sim_worker->current;
    if (t) {
        t->d = d;
        t->a = a;
        t->b = b;
    }
    sim_wait(SIM_MMA, UINT32_MAX, 0, 0, line);
}

void *sim_shared(const void *declared, const char *name, size_t bytes)
{
    struct sim_worker *w = sim_worker;
    for (uint32_t i = 0; i < w->n_arrays; i++)
        if (w->arrays[i].declared == declared) return w->arrays[i].at;
    const size_t used = w->shared_used + (bytes + SHARED_ALIGN - 1) / SHARED_ALIGN * SHARED_ALIGN;
    uint8_t *at = w->shared + w->shared_used + w->n_arrays * (2 * (size_t)SIM_FENCE) + SIM_FENCE;
    if (w->n_arrays == SIM_ARRAYS || used > SIM_SHARED ||
        (w->checker && !sim_check_shared(w->checker, name, at, bytes))) {
        sim_report(w, SIM_BOUNDS, "no room for shared %s: %zu bytes after %zu in %u arrays", name,
                   bytes, w->shared_used, w->n_arrays);
        sim_abandon(w);
        return w->shared;
    }
    w->arrays[w->n_arrays++] = (struct sim_array){declared, at};
    w->shared_used = used;
    return at;
}

/* The first code of a fiber. */
static void thread_main(void)
{
    struct sim_worker *w = sim_worker;
    w->kernel(w->launch->args);
    w->current->wait = SIM_ENDED;
    sim_leave(w);
}

static void resume(struct sim_worker *w, uint32_t i)
{
    sim_place.thread.x = i;
    w->current = &w->threads[i];
    fiber_swap(&w->scheduler, &w->current->point);
}

/* True if the lanes of t's mask all wait where t does. */
static bool lanes_met(const struct sim_thread *warp, const struct sim_thread *t)
{
    for (uint32_t l = 0; l < WARP; l++) {
        const struct sim_thread *u = &warp[l];
        if (!(t->mask >> l & 1u)) continue;
        if (u->wait != SIM_AT_WARP || u->kind != t->kind || u->line != t->line ||
            u->mask != t->mask)
            return false;
    }
    return true;
}

/* The product that a warp's lanes hold in pieces; layout in kernel.h. */
static void multiply(struct sim_thread *warp)
{
    const uint32_t tf32 = 0xffffe000u; /* the lower bits are not looked at */
    for (uint32_t l = 0; l < WARP; l++)
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t g = l / 4, column = l % 4 * 2 + i % 2;
            for (uint32_t k = 0; k < 8; k++) {
                uint32_t a = warp[4 * g + k % 4].a[i / 2 + k / 4 * 2];
                uint32_t b = warp[4 * column + k % 4].b[k / 4];
                warp[l].d[i] += __uint_as_float(a & tf32) * __uint_as_float(b & tf32);
            }
        }
}

static void release_lanes(struct sim_thread *warp, uint32_t mask)
{
    uint32_t values[WARP], votes = 0;
    for (uint32_t l = 0; l < WARP; l++) {
        values[l] = warp[l].value;
        if ((mask >> l & 1u) && values[l]) votes |= 1u << l;
    }
    for (uint32_t l = 0; l < WARP; l++) {
        if (!(mask >> l & 1u)) continue;
        warp[l].value = warp[l].kind == SIM_SHUFFLE ? values[warp[l].source] : votes;
        warp[l].wait = SIM_RUNS;
    }
}

/* Completes what can be completed in a warp; true if a lane can go on. */
static bool complete_warp(struct sim_worker *w, uint32_t warp)
{
    struct sim_thread *lanes = w->threads + warp * WARP;
    bool any = false;
    for (uint32_t l = 0; l < WARP; l++) {
        if (lanes[l].wait != SIM_AT_WARP || !lanes_met(lanes, &lanes[l])) continue;
        if (lanes[l].kind == SIM_MMA) multiply(lanes);
        if (lanes[l].kind == SIM_SYNCWARP && w->checker) sim_check_warp_met(w->checker, warp);
        release_lanes(lanes, lanes[l].mask);
        any = true;
    }
    return any;
}

/* A lane waits at a collective that cannot complete: names the first lane that is missing. */
static void report_stuck_lane(struct sim_worker *w, uint32_t i)
{
    const struct sim_thread *t = &w->threads[i], *lanes = w->threads + i / WARP * WARP;
    sim_place.thread.x = i;
    for (uint32_t l = 0; l < WARP; l++) {
        const struct sim_thread *u = &lanes[l];
        if (!(t->mask >> l & 1u) || (u->wait == SIM_AT_WARP && u->kind == t->kind &&
                                     u->line == t->line && u->mask == t->mask))
            continue;
        if (u->wait == SIM_ENDED)
            sim_report(w, SIM_MASK,
                       "%s at line %d with mask 0x%08x waits for lane %u, which has ended",
                       kind_names[t->kind], t->line, t->mask, l);
        else
            sim_report(
                w, SIM_MASK,
                "%s at line %d with mask 0x%08x waits for lane %u, which is at the %s of line %d",
                kind_names[t->kind], t->line, t->mask, l, kind_names[u->kind], u->line);
        return;
    }
}

/* Runs a warp until all its lanes have ended or wait for the block. */
static void run_warp(struct sim_worker *w, uint32_t warp)
{
    uint32_t first = warp * WARP;
    do {
        for (uint32_t i = first; i < first + WARP; i++) {
            if (w->threads[i].wait == SIM_RUNS) resume(w, i);
            if (w->stop) return;
        }
    } while (complete_warp(w, warp));
    for (uint32_t i = first; i < first + WARP; i++)
        if (w->threads[i].wait == SIM_AT_WARP) {
            report_stuck_lane(w, i);
            w->stop = true;
            return;
        }
}

/* All threads have ended or wait at a barrier. True if the block goes on. */
static bool pass_barrier(struct sim_worker *w, uint32_t n)
{
    uint32_t at = n, not_at = n;
    for (uint32_t i = 0; i < n; i++) {
        if (w->threads[i].wait == SIM_AT_BARRIER && at == n) at = i;
        if (w->threads[i].wait != SIM_AT_BARRIER && not_at == n) not_at = i;
    }
    if (at == n) return false;
    for (uint32_t i = 0; i < n && not_at == n; i++)
        if (w->threads[i].line != w->threads[at].line) not_at = i;
    if (not_at != n) {
        sim_place.thread.x = at;
        if (w->threads[not_at].wait == SIM_ENDED)
            sim_report(w, SIM_DIVERGED, "waits at line %d, while thread (%u,0,0) has ended",
                       w->threads[at].line, not_at);
        else
            sim_report(w, SIM_DIVERGED, "waits at line %d, while thread (%u,0,0) waits at line %d",
                       w->threads[at].line, not_at, w->threads[not_at].line);
        w->stop = true;
        return false;
    }
    if (w->checker) sim_check_block_met(w->checker);
    for (uint32_t i = 0; i < n; i++) w->threads[i].wait = SIM_RUNS;
    return true;
}

static void run_block_fibers(struct sim_worker *w)
{
    uint32_t n = w->launch->block;
    if (w->checker) sim_check_block(w->checker);
    for (uint32_t i = 0; i < n; i++) {
        /* Not all stacks' ends in the same few lines of a cache. */
        const size_t bytes = SIM_STACK - i % 64 * SIM_STACK_SHIFT;
        fiber_make(&w->threads[i].point, w->stacks + (size_t)i * SIM_STACK, bytes, thread_main);
        w->threads[i].wait = SIM_RUNS;
    }
    do {
        for (uint32_t warp = 0; warp < n / WARP && !w->stop; warp++) run_warp(w, warp);
    } while (!w->stop && pass_barrier(w, n));
    w->current = NULL;
}

void sim_run_blocks(struct sim_worker *w, uint64_t begin, uint64_t end)
{
    const struct launch *l = w->launch;
    bool fibers = kernel_table[l->kernel].barriers || w->checker;
    sim_worker = w;
    sim_place =
        (struct sim_place){.threads = {l->block, 1, 1}, .blocks = {l->grid_x, l->grid_y, 1}};
    w->current = NULL;
    w->stop = false;
    w->n_arrays = 0;
    w->shared_used = 0;
    for (uint64_t i = begin; i < end && !w->stop; i++) {
        w->block = i;
        sim_place.block.x = (uint32_t)(i % l->grid_x);
        sim_place.block.y = (uint32_t)(i / l->grid_x);
        if (fibers) {
            run_block_fibers(w);
            continue;
        }
        for (uint32_t t = 0; t < l->block && !w->stop; t++) {
            sim_place.thread.x = t;
            w->kernel(l->args);
        }
    }
    sim_worker = NULL;
}

/* Tells the checks; relaxed like CUDA's own. */
static _Atomic uint32_t *atomic_at(void *at)
{
    if (sim_worker->checker) sim_check_atomic(sim_worker->checker, at);
    return at;
}

uint32_t sim_atomic_add(uint32_t *at, uint32_t v)
{
    return atomic_fetch_add_explicit(atomic_at(at), v, memory_order_relaxed);
}

uint32_t sim_atomic_max(uint32_t *at, uint32_t v)
{
    _Atomic uint32_t *p = atomic_at(at);
    uint32_t old = atomic_load_explicit(p, memory_order_relaxed);
    while (old < v && !atomic_compare_exchange_weak_explicit(p, &old, v, memory_order_relaxed,
                                                             memory_order_relaxed)) {}
    return old;
}

float sim_atomic_add_f(float *at, float v)
{
    _Atomic uint32_t *p = atomic_at(at);
    uint32_t old = atomic_load_explicit(p, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(p, &old,
                                                  __float_as_uint(__uint_as_float(old) + v),
                                                  memory_order_relaxed, memory_order_relaxed)) {}
    return __uint_as_float(old);
}
