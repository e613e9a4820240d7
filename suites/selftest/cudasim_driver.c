/* The CUDA backend's host code where there is no GPU: its calls go to a stand-in for the driver
 * that runs the same kernels on the processor (engine/cuda/test/standin.c).
 *
 *   replay    the same operations again and again, with other arguments each time: replayed as a
 *             graph, bit for bit what cuda-sim gives
 *   two       two backends in one process, taken in turns
 *   fault     calls that fail: the call and the kernel are named, everything is released
 */
#include "selftest/cudasim.h"
#include "engine/backend.h"
#include "judge/compare.h"
#include "harness/random.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 96, ROUNDS = 5, MAX_BUFFERS = 9, EXPERTS = 12, USED = 2, ROW = 32 };

struct standin {
    void *library;
    int (*live)(void);
    int (*count)(const char *symbol);
    void (*fail)(const char *symbol, int after, int error);
};

#ifdef ASSAY_CUDA_STANDIN
static bool entry(void *library, const char *name, void *fn)
{
    void *p = dlsym(library, name);
    memcpy(fn, &p, sizeof p); /* POSIX: the same representation */
    return p != NULL;
}
#endif

/* Puts the stand-in in the driver's place; false: skipped or failed. */
static bool standin_open(struct test *t, struct standin *s)
{
#ifdef ASSAY_CUDA_STANDIN
    const char *path = ASSAY_CUDA_STANDIN;
    s->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!s->library) {
        test_skip(t, "no stand-in for the driver: %s", dlerror());
        return false;
    }
    setenv("ASSAY_CUDA_LIBRARY", path, 1);
    return test_check(t,
                      entry(s->library, "standin_live", &s->live) &&
                          entry(s->library, "standin_count", &s->count) &&
                          entry(s->library, "standin_fail", &s->fail),
                      "%s lacks an entry point", path);
#else
    (void)s;
    test_skip(t, "the CUDA backend is not in this build");
    return false;
#endif
}

static void standin_close(struct test *t, struct standin *s)
{
    unsetenv("ASSAY_CUDA_LIBRARY");
    unsetenv("ASSAY_CUDA_SYNC");
    if (!s->library) return;
    test_check(t, s->live() == 0, "%d objects of the driver were not released", s->live());
    dlclose(s->library);
}

/* A backend with buffers for the sequence below. */
struct device {
    const struct backend_ops *ops;
    struct backend *b;
    struct dbuf *buffers[MAX_BUFFERS];
    struct view x, w, norm, y, z, ids, weights, cache;
};

static enum status device_open(struct device *d, const char *name, const float *w, struct err *e)
{
    struct view *views[] = {&d->x, &d->norm, &d->y, &d->z, &d->ids, &d->weights, &d->cache};
    const size_t sizes[] = {N, N, N, N, USED, USED, (size_t)EXPERTS * ROW};
    *d = (struct device){.ops = backend_by_name(name)};
    if (!d->ops) return fail(e, ST_NO_DEVICE, "%s is not in this build", name);
    enum status st = d->ops->open(&d->b, NULL, e);
    if (st == ST_OK) st = d->ops->import(d->b, w, N * N * sizeof *w, &d->w.buf, e);
    d->buffers[0] = d->w.buf;
    for (size_t i = 0; st == ST_OK && i < sizeof views / sizeof *views; i++) {
        st = d->ops->alloc(d->b, sizes[i] * sizeof(float), &views[i]->buf, e);
        d->buffers[i + 1] = views[i]->buf;
    }
    if (st == ST_OK) st = d->ops->upload(d->b, d->norm, w, N * sizeof *w, e);
    return st;
}

static void device_close(struct device *d)
{
    if (!d->b) return;
    for (size_t i = 0; i < MAX_BUFFERS; i++) d->ops->release(d->b, d->buffers[i]);
    d->ops->close(d->b);
}

/* Experts by the values of y, which are rows of w; the rows that they give to z by way of the cache
 * cells that are named like them. */
static enum status experts(struct device *d, struct err *e)
{
    const struct backend_ops *ops = d->ops;
    const struct op_route route = {.logits = d->y,
                                   .ids = d->ids,
                                   .weights = d->weights,
                                   .n_tokens = 1,
                                   .n_experts = EXPERTS,
                                   .n_used = USED,
                                   .gating = ROUTE_SIGMOID,
                                   .normalise = true,
                                   .scale = 2.0f};
    const struct op_matmul_id product = {.w = {d->w, TYPE_F32, N, N / EXPERTS},
                                         .x = d->y,
                                         .ids = d->ids,
                                         .out = d->z,
                                         .n_tokens = 1,
                                         .n_used = USED,
                                         .n_experts = EXPERTS};
    const struct op_moe_sum sum = {d->z, d->weights, d->x, 1, USED, N / EXPERTS};
    const struct op_kv_write write = {.src = d->y,
                                      .cells = d->ids,
                                      .cache = d->cache,
                                      .n_tokens = USED,
                                      .row = ROW,
                                      .type = TYPE_Q8_0};
    const struct op_get_rows read = {{d->cache, TYPE_Q8_0, ROW, EXPERTS}, d->ids, d->z, USED};
    const struct op_copy copy = {.x = d->x, .out = d->z, .rows = 1, .groups = 1, .n = N / EXPERTS};
    enum status st = ops->route(d->b, &route, e);
    if (st == ST_OK) st = ops->matmul_id(d->b, &product, e);
    if (st == ST_OK) st = ops->moe_sum(d->b, &sum, e);
    if (st == ST_OK) st = ops->kv_write(d->b, &write, e);
    if (st == ST_OK) st = ops->get_rows(d->b, &read, e);
    return st == ST_OK ? ops->copy(d->b, &copy, e) : st;
}

/* From memory that is overwritten when the call returns. */
static enum status upload_lent(struct device *d, struct view to, const float *x, struct err *e)
{
    static float lent[N];
    memcpy(lent, x, sizeof lent);
    enum status st = d->ops->upload(d->b, to, lent, sizeof lent, e);
    memset(lent, 0xff, sizeof lent);
    return st;
}

/* Norm, product, softmax over n of its values, experts, sum: lengths and factors change with the
 * round. */
static enum status sequence(struct device *d, const float *x, uint32_t round, float *out,
                            struct err *e)
{
    const struct backend_ops *ops = d->ops;
    uint32_t n = N - 8 * round;
    const struct op_norm norm = {
        .x = d->x, .w = d->norm, .out = d->y, .rows = 1, .n = N, .w_rows = 1, .eps = 1e-5f};
    const struct op_matmul product = {
        .w = {d->w, TYPE_F32, N, N}, .x = d->y, .out = d->z, .n_cols = 1};
    const struct op_softmax soft = {.x = d->z, .out = d->z, .rows = 1, .n = n};
    const struct op_scale scale = {d->y, d->y, N, 1.0f + (float)round};
    const struct op_binary add = {d->y, d->z, d->y, N};
    enum status st = upload_lent(d, d->x, x, e);
    if (st == ST_OK) st = ops->rms_norm(d->b, &norm, e);
    if (st == ST_OK) st = ops->matvec(d->b, &product, e);
    if (st == ST_OK) st = ops->softmax(d->b, &soft, e);
    if (st == ST_OK) st = ops->scale(d->b, &scale, e);
    if (st == ST_OK) st = experts(d, e);
    if (st == ST_OK) st = ops->add(d->b, &add, e);
    return st == ST_OK ? ops->download(d->b, out, d->y, N * sizeof *out, e) : st;
}

static float *random_values(struct test *t, struct rng *r, size_t n)
{
    float *x = test_alloc(t, n, sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)rng_gauss(r);
    return x;
}

/* Every round on each device; all against the first. */
static void run_rounds(struct test *t, struct device *devices, size_t n)
{
    struct rng r = rng_of(t);
    struct err e = {0};
    for (uint32_t round = 0; round < ROUNDS; round++) {
        float *x = random_values(t, &r, N), out[2][N];
        for (size_t i = 0; x && i < n; i++) {
            if (!test_ok(t, sequence(&devices[i], x, round, out[i > 0], &e), &e)) return;
            if (i > 0) compare_bits(&t->result, out[1], out[0], 1, N);
        }
    }
}

/* devices[0] is cuda-sim, the others the CUDA backend over the stand-in. */
static void run_against_sim(struct test *t, size_t n)
{
    struct standin s = {0};
    struct device devices[3] = {0};
    struct rng r = rng_of(t);
    struct err e = {0};
    float *w = random_values(t, &r, N * N);
    bool ok = w && standin_open(t, &s);
    for (size_t i = 0; ok && i < n; i++)
        ok = test_ok(t, device_open(&devices[i], i ? "cuda" : "cuda-sim", w, &e), &e);
    if (ok) run_rounds(t, devices, n);
    /* Twice launch by launch, then as a graph, in which something changed. */
    if (ok) {
        int replays = s.count("cuGraphLaunch"),
            changes = s.count("cuGraphExecKernelNodeSetParams_v2");
        test_check(t, replays == (ROUNDS - 1) * ((int)n - 1), "%d replays", replays);
        test_check(t, changes > 0, "nothing was exchanged between replays");
    }
    for (size_t i = 0; i < n; i++) device_close(&devices[i]);
    standin_close(t, &s);
}

static void run_replay(struct test *t, const struct test_case *c)
{
    (void)c;
    run_against_sim(t, 2);
}

static void run_two(struct test *t, const struct test_case *c)
{
    (void)c;
    run_against_sim(t, 3);
}

/* What fails, how, and what must be told. */
struct fault {
    const char *name, *symbol;
    int after, error;
    bool sync;  /* wait for every launch */
    bool opens; /* the backend opens; else opening fails */
    enum status st;
    const char *told[3]; /* parts of the message */
};

enum { UPLOADS = 3 }; /* each waits: two when the device is opened, one in the sequence */

static const struct fault faults[] = {
    {"no_device", "cuInit", 0, 100, false, false, ST_NO_DEVICE, {"cuInit", "NO_DEVICE"}},
    {"old_driver",
     "cuModuleLoadData",
     0,
     209,
     false,
     false,
     ST_DEVICE,
     {"cuModuleLoadData", "sm_"}},
    {"no_function",
     "cuModuleGetFunction",
     3,
     500,
     false,
     false,
     ST_DEVICE,
     {"cuModuleGetFunction"}},
    {"no_stream", "cuStreamCreate", 0, 2, false, false, ST_NOMEM, {"cuStreamCreate", "(2)"}},
    {"no_memory", "cuMemAlloc_v2", 2, 2, false, true, ST_NOMEM, {"cuMemAlloc_v2", "384 bytes"}},
    {"illegal_access",
     "cuStreamSynchronize",
     UPLOADS,
     700,
     false,
     true,
     ST_DEVICE,
     {"cuStreamSynchronize", "(700)", "rms_norm to add"}},
    {"illegal_access_sync",
     "cuStreamSynchronize",
     UPLOADS + 1,
     700,
     true,
     true,
     ST_DEVICE,
     {"cuStreamSynchronize", "(700)", "matvec"}},
    {"no_launch", "cuLaunchKernel", 2, 719, false, true, ST_DEVICE, {"cuLaunchKernel", "softmax"}},
};

static void run_fault(struct test *t, const struct test_case *c)
{
    const struct fault *f = c->arg;
    struct standin s = {0};
    struct device d = {0};
    struct rng r = rng_of(t);
    struct err e = {0}, later = {0};
    float *w = random_values(t, &r, N * N), out[N];
    if (w && standin_open(t, &s)) {
        if (f->sync) setenv("ASSAY_CUDA_SYNC", "1", 1);
        s.fail(f->symbol, f->after, f->error);
        enum status st = device_open(&d, "cuda", w, &e);
        test_check(t, f->opens == (d.b != NULL), "opening gave %d: %s", (int)st, e.text);
        if (st == ST_OK) st = sequence(&d, w, 0, out, &e);
        test_check(t, st == f->st, "status %d, not %d: %s", (int)st, (int)f->st, e.text);
        for (size_t i = 0; i < 3 && f->told[i]; i++)
            test_check(t, strstr(e.text, f->told[i]), "\"%s\" does not tell %s", e.text,
                       f->told[i]);
        if (d.b && f->st == ST_DEVICE)
            test_check(t, sequence(&d, w, 0, out, &later) == ST_DEVICE,
                       "a device that failed was used again");
        device_close(&d);
    }
    standin_close(t, &s);
}

void cudasim_driver_cases(struct case_list *l)
{
    struct test_case c = {.suite = "cudasim", .op = "driver", .subject = "cuda-sim", .quick = true};
    c.shape = "replay", c.run = run_replay;
    case_add(l, &c);
    c.shape = "two", c.run = run_two;
    case_add(l, &c);
    c.op = "driver_fault", c.run = run_fault;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        c.shape = faults[i].name, c.arg = &faults[i];
        case_add(l, &c);
    }
}
