/* Threads that split loops. A loop is cut into chunks that threads take one after the other, the
 * caller too: a thread that the system does not let run holds nobody up. Workers sleep between
 * loops, after a short while of waiting: loops of one token follow each other within microseconds.
 */
#define _GNU_SOURCE /* sched_getaffinity: the cores that taskset and containers leave us */
#include "engine/base/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#define RELAX() _mm_pause()
#else
#define RELAX() ((void)0)
#endif

/* Waiting: first on the processor, then leaving it to others, then asleep. */
enum { POOL_MAX = 1024, SPINS = 64, YIELDS = 64, CHUNKS_PER_THREAD = 4 };

struct loop {
    size_t n, grain, n_chunks;
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
    struct loop loop; /* stands still while one of its chunks is not finished */
    /* Number of the loop << 32 | chunks of it that nobody has taken. */
    _Atomic uint64_t open;
    atomic_size_t unfinished; /* chunks */
    atomic_int sleepers;      /* workers that begun must wake */
    atomic_bool stop;
    pthread_mutex_t lock; /* of both conditions */
    pthread_cond_t begun, done;
};

int pool_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < POOL_MAX ? (int)n : 1;
}

static void run_chunk(const struct loop *l, size_t i, int thread)
{
    size_t grains = l->n / l->grain + (l->n % l->grain != 0);
    size_t each = grains / l->n_chunks, over = grains % l->n_chunks;
    size_t first = i * each + (i < over ? i : over), count = each + (i < over);
    size_t end = first + count == grains ? l->n : (first + count) * l->grain;
    l->fn(l->ctx, first * l->grain, end, thread);
}

static inline size_t chunks_of(uint64_t open)
{
    return (size_t)(open & 0xffffffffu);
}

/* Takes a chunk of the present loop and runs it; false if none is left. */
static bool take_chunk(struct pool *p, int thread)
{
    uint64_t open = atomic_load(&p->open);
    do {
        if (chunks_of(open) == 0) return false;
    } while (!atomic_compare_exchange_weak(&p->open, &open, open - 1));
    run_chunk(&p->loop, p->loop.n_chunks - chunks_of(open), thread);
    if (atomic_fetch_sub(&p->unfinished, 1) == 1 && thread != 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_signal(&p->done);
        pthread_mutex_unlock(&p->lock);
    }
    return true;
}

static void rest(int i)
{
    if (i < SPINS) {
        RELAX();
    } else {
        sched_yield();
    }
}

/* Until another loop than the one that `seen` is of. */
static void wait_for_loop(struct pool *p, uint64_t seen)
{
    for (int i = 0; i < SPINS + YIELDS; i++) {
        if (atomic_load(&p->open) >> 32 != seen >> 32) return;
        rest(i);
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->open) >> 32 == seen >> 32) pthread_cond_wait(&p->begun, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    for (;;) {
        uint64_t seen = atomic_load(&p->open);
        while (take_chunk(p, w->index)) seen = atomic_load(&p->open);
        if (atomic_load(&p->stop)) return NULL;
        wait_for_loop(p, seen);
    }
}

static void begin_loop(struct pool *p, size_t n_chunks)
{
    uint64_t number = (atomic_load(&p->open) >> 32) + 1;
    atomic_store(&p->open, number << 32 | n_chunks);
    if (atomic_load(&p->sleepers) == 0) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->begun);
    pthread_mutex_unlock(&p->lock);
}

static void wait_for_chunks(struct pool *p)
{
    for (int i = 0; i < SPINS + YIELDS; i++) {
        if (atomic_load(&p->unfinished) == 0) return;
        rest(i);
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->unfinished) != 0) pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, size_t n, size_t grain,
              void (*fn)(void *ctx, size_t begin, size_t end, int thread), void *ctx)
{
    if (n == 0) return;
    struct loop l = {n, grain ? grain : 1, 0, fn, ctx};
    if (p->n_threads == 1 || n <= l.grain) { /* one chunk: nobody to wake */
        fn(ctx, 0, n, 0);
        return;
    }
    size_t grains = n / l.grain + (n % l.grain != 0);
    size_t most = (size_t)p->n_threads * CHUNKS_PER_THREAD;
    l.n_chunks = grains < most ? grains : most;
    p->loop = l;
    atomic_store(&p->unfinished, l.n_chunks);
    begin_loop(p, l.n_chunks);
    while (take_chunk(p, 0)) {}
    wait_for_chunks(p);
}

enum status pool_open(struct pool **out, int n_threads, struct err *e)
{
    *out = NULL;
    if (n_threads > POOL_MAX)
        return fail(e, ST_USAGE, "%d threads asked for, at most %d", n_threads, POOL_MAX);
    if (n_threads <= 0) n_threads = pool_cores();
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
    begin_loop(p, 0);
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
