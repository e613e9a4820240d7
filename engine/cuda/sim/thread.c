/* The running thread of a simulated block: leaving it, telling what it did wrong, giving it up. */
#include "engine/cuda/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>

_Thread_local struct sim_place sim_place;
_Thread_local struct sim_worker *sim_worker;

static const char *const fault_names[SIM_FAULTS] = {
    "out of bounds", "misaligned access", "divergent barrier", "wrong mask",
    "race",          "uninitialised read"};

void sim_report(struct sim_worker *w, enum sim_fault kind, const char *fmt, ...)
{
    char *out = w->faults[kind];
    size_t cap = sizeof w->faults[kind];
    if (out[0]) return;
    w->fault_block[kind] = w->block;
    int n =
        snprintf(out, cap, "%s in kernel %s, block (%u,%u,0), thread (%u,0,0): ", fault_names[kind],
                 kernel_table[w->launch->kernel].name, sim_place.block.x, sim_place.block.y,
                 sim_place.thread.x);
    if (n < 0 || (size_t)n >= cap) return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(out + n, cap - (size_t)n, fmt, ap);
    va_end(ap);
}

void sim_leave(struct sim_worker *w)
{
    struct sim_thread *t = w->current;
    uint32_t next = sim_place.thread.x + 1;
    if (w->stop || next % WARP == 0 || t[1].wait != SIM_RUNS) {
        fiber_swap(&t->point, &w->scheduler);
        return;
    }
    sim_place.thread.x = next;
    w->current = t + 1;
    fiber_swap(&t->point, &t[1].point);
}

void sim_abandon(struct sim_worker *w)
{
    w->stop = true;
    if (!w->current) return;
    w->current->wait = SIM_ENDED;
    sim_leave(w);
}
