/* Runs loops on several threads. The threads live for one call: nothing is left behind that a
 * fork could lose, and a call costs tens of microseconds, which the reference can afford. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "reference/ref.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { MAX_THREADS = 64, CHUNKS_PER_THREAD = 8 };

static atomic_int wanted_threads; /* 0 = one per available core */
static _Thread_local bool inside; /* a loop inside a loop runs on the thread it is on */

struct loop {
    void (*fn)(void *ctx, size_t i);
    void *ctx;
    size_t n, chunk;
    atomic_size_t next;
};

void ref_set_threads(int n)
{
    atomic_store(&wanted_threads, n > 0 ? n : 0);
}

/* The cores that this process may run on: taskset and containers leave it fewer than there are. */
static long available_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    return sysconf(_SC_NPROCESSORS_ONLN);
}

static size_t thread_count(void)
{
    long n = atomic_load(&wanted_threads);
    if (n == 0) n = available_cores();
    if (n < 1) n = 1;
    return n > MAX_THREADS ? MAX_THREADS : (size_t)n;
}

static void *loop_run(void *arg)
{
    struct loop *loop = arg;
    bool was_inside = inside;
    inside = true;
    for (;;) {
        size_t i = atomic_fetch_add(&loop->next, loop->chunk);
        if (i >= loop->n) break;
        size_t end = loop->n - i < loop->chunk ? loop->n : i + loop->chunk;
        for (; i < end; i++) loop->fn(loop->ctx, i);
    }
    inside = was_inside;
    return NULL;
}

void ref_parallel(size_t n, void (*fn)(void *ctx, size_t i), void *ctx)
{
    size_t threads = inside ? 1 : thread_count();
    if (threads > n) threads = n;
    if (threads <= 1) {
        for (size_t i = 0; i < n; i++) fn(ctx, i);
        return;
    }
    struct loop loop = {.fn = fn, .ctx = ctx, .n = n};
    loop.chunk = n / (threads * CHUNKS_PER_THREAD);
    if (loop.chunk == 0) loop.chunk = 1;
    atomic_init(&loop.next, 0);

    pthread_t thread[MAX_THREADS];
    size_t started = 0;
    /* A thread that cannot be made is no error: the others, at least this one, do its share. */
    while (started + 1 < threads && !pthread_create(&thread[started], NULL, loop_run, &loop)) {
        started++;
    }
    loop_run(&loop);
    for (size_t k = 0; k < started; k++) pthread_join(thread[k], NULL);
}
