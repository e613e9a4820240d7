/* Threads that split loops. Workers sleep between loops, after a short while of yielding: loops of
 * one token follow each other within microseconds. */
#define _GNU_SOURCE /* sched_getaffinity: the cores that taskset and containers leave us */
#include "base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POOL_MAX = 1024, YIELDS = 64 };

struct loop {
    size_t n, grain;
    void (*fn)(void *ctx, size_t begin, size_t end, int thread);
    void *ctx;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    int index;
};

struct pool {
    int n_threads;          /* the caller of pool_run is thread 0 */
    struct worker *workers; /* n_threads - 1 */
    int n_started;
    struct loop loop;   /* written before `round` grows, read by workers after */
    atomic_uint round;  /* grows by one per loop, and to stop */
    atomic_int running; /* workers that have not finished this round */
    atomic_bool stop;
    pthread_mutex_t lock; /* held while round grows and while running falls to 0 */
    pthread_cond_t begun, done;
};

static int available_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < POOL_MAX ? (int)n : 1;
}

/* Thread t of T runs an equal share of the grains; the first ones get those that are left over. */
static void run_share(const struct loop *l, int t, int n_threads)
{
    size_t grains = l->n / l->grain + (l->n % l->grain != 0);
    size_t each = grains / (size_t)n_threads, over = grains % (size_t)n_threads, i = (size_t)t;
    size_t first = i * each + (i < over ? i : over);
    size_t count = each + (i < over);
    if (count == 0) return;
    size_t begin = first * l->grain;
    size_t end = first + count == grains ? l->n : (first + count) * l->grain;
    l->fn(l->ctx, begin, end, t);
}

static void wait_for_round(struct pool *p, unsigned seen)
{
    for (int i = 0; i < YIELDS; i++) {
        if (atomic_load(&p->round) != seen) return;
        sched_yield();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->round) == seen) pthread_cond_wait(&p->begun, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (unsigned seen = 0;; seen++) {
        wait_for_round(p, seen);
        if (atomic_load(&p->stop)) return NULL;
        run_share(&p->loop, w->index, p->n_threads);
        if (atomic_fetch_sub(&p->running, 1) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void begin_round(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->round, 1);
    pthread_cond_broadcast(&p->begun);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, size_t n, size_t grain,
              void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx)
{
    if (n == 0) return;
    struct loop l = {n, grain ? grain : 1, fn, ctx};
    if (p->n_threads == 1 || n <= l.grain) { /* one share: nobody to wake */
        fn(ctx, 0, n, 0);
        return;
    }
    p->loop = l;
    atomic_store(&p->running, p->n_threads - 1);
    begin_round(p);
    run_share(&l, 0, p->n_threads);
    for (int i = 0; i < YIELDS; i++) {
        if (atomic_load(&p->running) == 0) return;
        sched_yield();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->running) != 0) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

enum status pool_open(struct pool **out, int n_threads, struct err *e)
{
    *out = NULL;
    if (n_threads > POOL_MAX)
        return fail(e, ST_USAGE, "%d threads asked for, at most %d", n_threads, POOL_MAX);
    if (n_threads <= 0) n_threads = available_cores();
    struct pool *p = alloc_array(1, sizeof *p);
    struct worker *workers = alloc_array((size_t)n_threads, sizeof *workers);
    if (!p || !workers) {
        free(p);
        free(workers);
        return fail(e, ST_NOMEM, "no memory for %d threads", n_threads);
    }
    p->n_threads = n_threads;
    p->workers = workers;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->begun, NULL);
    pthread_cond_init(&p->done, NULL);
    for (; p->n_started < n_threads - 1; p->n_started++) {
        struct worker *w = &workers[p->n_started];
        *w = (struct worker){.pool = p, .index = p->n_started + 1};
        int error = pthread_create(&w->thread, NULL, worker_main, w);
        if (error == 0) continue;
        fail(e, ST_IO, "thread %d of %d: %s", w->index, n_threads, strerror(error));
        pool_close(p);
        return ST_IO;
    }
    *out = p;
    return ST_OK;
}

void pool_close(struct pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, true);
    begin_round(p);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->workers[i].thread, NULL);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->begun);
    pthread_cond_destroy(&p->done);
    free(p->workers);
    free(p);
}

int pool_threads(const struct pool *p)
{
    return p->n_threads;
}
