/* A stand-in for libcuda.so.1: the entry points that the CUDA backend calls, over cuda-sim's kernels.
 * With it the backend's host code (queue, graphs, memory, errors) runs where there is no GPU:
 * ASSAY_CUDA_LIBRARY names it. Like the driver it copies arguments and pageable memory at the call
 * and works later, when the stream is waited for.
 *
 * Entry points of its own: standin_live (objects not yet released), standin_count (calls of an entry
 * so far), standin_fail (makes a later call of an entry fail). Not for several threads. */
#include "driver.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { INVALID_VALUE = 1, NOT_FOUND = 500, KERNEL_FAILED = 700 };

/* ---- what tests may ask ------------------------------------------------------------------ */

EXPORT int standin_live(void);
EXPORT int standin_count(const char *symbol);
EXPORT void standin_fail(const char *symbol, int after, int error);

static int live;
static bool dead; /* a kernel has failed: the context's later work does not run */
static int counts[64], fail_after[64], fail_error[64];

static const char *const symbols[] = {
#define ENTRY(name, symbol, params) #symbol,
    CU_ENTRIES(ENTRY)
#undef ENTRY
};
enum { N_SYMBOLS = sizeof symbols / sizeof *symbols };

static int symbol_index(const char *symbol)
{
    int i = 0;
    while (i < N_SYMBOLS && strcmp(symbols[i], symbol) != 0) i++;
    return i < N_SYMBOLS ? i : -1;
}

int standin_live(void)
{
    return live;
}

int standin_count(const char *symbol)
{
    int i = symbol_index(symbol);
    return i < 0 ? -1 : counts[i];
}

/* after: how many calls still succeed. */
void standin_fail(const char *symbol, int after, int error)
{
    int i = symbol_index(symbol);
    if (i < 0) return;
    fail_after[i] = after + 1;
    fail_error[i] = error;
}

/* The error that this call is to give. */
static int called(enum cu_call call)
{
    counts[call]++;
    if (!fail_after[call] || --fail_after[call] != 0) return CU_SUCCESS;
    dead = dead || fail_error[call] >= KERNEL_FAILED;
    return fail_error[call];
}

#define CALLED(name)                                                                               \
    do {                                                                                           \
        int error_ = called(CU_CALL_##name);                                                       \
        if (error_ != CU_SUCCESS) return error_;                                                   \
    } while (0)

/* Prototypes as the backend believes them: a difference does not compile. */
#define ENTRY(name, symbol, params) EXPORT int symbol params;
CU_ENTRIES(ENTRY)
#undef ENTRY

/* ---- work -------------------------------------------------------------------------------- */

/* A launch, or a copy into the device's memory. */
struct work {
    struct launch launch;
    void *to;
    void *from; /* copied at the call; owned */
    size_t bytes;
    struct work *next;
};

struct stream {
    struct work *first, **last;
};

struct graph {
    size_t n, cap;
    struct launch *launches;
};

static struct sim_worker worker;
static struct sim_kernel_name {
    enum kernel_id id;
} names[KERNEL_COUNT];

static const size_t args_bytes[KERNEL_COUNT] = {
#define KERNEL(name, file, args, barriers) sizeof(struct k_##args),
#include "kernels/kernels.def"
#undef KERNEL
};

static struct launch launch_of(cu_handle function, const unsigned *grid, unsigned block,
                               void **args)
{
    const struct sim_kernel_name *k = function;
    struct launch l = {.kernel = k->id, .grid_x = grid[0], .grid_y = grid[1], .block = block};
    memcpy(l.args, args[0], args_bytes[k->id]);
    return l;
}

static struct work *add_work(struct stream *s)
{
    struct work *w = alloc_array(1, sizeof *w);
    if (!w) return NULL;
    *s->last = w;
    s->last = &w->next;
    return w;
}

static void run_launch(const struct launch *l)
{
    worker.launch = l;
    worker.kernel = sim_kernel_of(sim_build_by_name("fast"), l->kernel);
    sim_run_blocks(&worker, 0, (uint64_t)l->grid_x * l->grid_y);
}

static void run_stream(struct stream *s)
{
    while (s->first) {
        struct work *w = s->first;
        s->first = w->next;
        if (w->from && !dead)
            memcpy(w->to, w->from, w->bytes);
        else if (!dead)
            run_launch(&w->launch);
        free(w->from);
        free(w);
    }
    s->last = &s->first;
}

/* ---- entry points -------------------------------------------------------------------------- */

int cuInit(unsigned flags)
{
    CALLED(init);
    return flags ? INVALID_VALUE : CU_SUCCESS;
}

int cuDriverGetVersion(int *version)
{
    CALLED(driver_version);
    *version = 13000;
    return CU_SUCCESS;
}

int cuDeviceGetCount(int *count)
{
    CALLED(device_count);
    *count = 1;
    return CU_SUCCESS;
}

int cuDeviceGet(int *device, int ordinal)
{
    CALLED(device_get);
    *device = 0;
    return ordinal == 0 ? CU_SUCCESS : INVALID_VALUE;
}

int cuDeviceGetName(char *name, int cap, int device)
{
    static const char text[] = "stand-in";
    CALLED(device_name);
    if (device != 0 || cap < (int)sizeof text) return INVALID_VALUE;
    memcpy(name, text, sizeof text);
    return CU_SUCCESS;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    CALLED(device_memory);
    *bytes = (size_t)1 << 30;
    return device == 0 ? CU_SUCCESS : INVALID_VALUE;
}

int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    CALLED(device_attribute);
    *value = attribute == CU_ATTRIBUTE_MAJOR ? 9 : attribute == CU_ATTRIBUTE_MINOR ? 0 : 1;
    return device == 0 ? CU_SUCCESS : INVALID_VALUE;
}

int cuDevicePrimaryCtxRetain(cu_handle *context, int device)
{
    struct err e = {0};
    CALLED(context_retain);
    if (device != 0) return INVALID_VALUE;
    if (!worker.stacks && sim_worker_open(&worker, &e) != ST_OK) return CU_OUT_OF_MEMORY;
    for (int k = 0; k < KERNEL_COUNT; k++) names[k].id = (enum kernel_id)k;
    live++;
    *context = &worker;
    return CU_SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int device)
{
    CALLED(context_release);
    live--;
    return device == 0 ? CU_SUCCESS : INVALID_VALUE;
}

int cuCtxSetCurrent(cu_handle context)
{
    CALLED(context_use);
    return !context || context == &worker ? CU_SUCCESS : INVALID_VALUE;
}

int cuModuleLoadData(cu_handle *module, const void *image)
{
    CALLED(module_load);
    uint32_t magic;
    memcpy(&magic, image, sizeof magic);
    if (magic != 0xba55ed50u) return INVALID_VALUE; /* of a fatbin */
    live++;
    *module = (void *)(uintptr_t)image;
    return CU_SUCCESS;
}

int cuModuleUnload(cu_handle module)
{
    CALLED(module_unload);
    live--;
    return module ? CU_SUCCESS : INVALID_VALUE;
}

int cuModuleGetFunction(cu_handle *function, cu_handle module, const char *name)
{
    CALLED(module_function);
    for (int k = 0; module && k < KERNEL_COUNT; k++)
        if (strcmp(kernel_table[k].name, name) == 0) {
            *function = &names[k];
            return CU_SUCCESS;
        }
    return NOT_FOUND;
}

int cuMemAlloc_v2(uint64_t *address, size_t bytes)
{
    CALLED(alloc);
    void *p = bytes ? aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
    if (!p) return bytes ? CU_OUT_OF_MEMORY : INVALID_VALUE;
    memset(p, 0xff, bytes); /* NaN: nothing may be read before it is written */
    live++;
    *address = (uint64_t)(uintptr_t)p;
    return CU_SUCCESS;
}

int cuMemFree_v2(uint64_t address)
{
    CALLED(free);
    live--;
    free((void *)(uintptr_t)address);
    return CU_SUCCESS;
}

int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, cu_handle stream)
{
    CALLED(upload);
    struct work *w = add_work(stream);
    if (w) w->from = alloc_array(bytes, 1);
    if (!w || !w->from) return CU_OUT_OF_MEMORY;
    memcpy(w->from, from, bytes);
    w->to = (void *)(uintptr_t)to;
    w->bytes = bytes;
    return CU_SUCCESS;
}

int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, cu_handle stream)
{
    CALLED(download);
    run_stream(stream);
    memcpy(to, (const void *)(uintptr_t)from, bytes);
    return CU_SUCCESS;
}

int cuStreamCreate(cu_handle *stream, unsigned flags)
{
    CALLED(stream_create);
    struct stream *s = alloc_array(1, sizeof *s);
    if (!s) return CU_OUT_OF_MEMORY;
    s->last = &s->first;
    live++;
    *stream = s;
    return flags == CU_STREAM_NON_BLOCKING ? CU_SUCCESS : INVALID_VALUE;
}

int cuStreamDestroy_v2(cu_handle stream)
{
    CALLED(stream_destroy);
    run_stream(stream);
    free(stream);
    live--;
    return CU_SUCCESS;
}

int cuStreamSynchronize(cu_handle stream)
{
    CALLED(stream_wait);
    run_stream(stream);
    return CU_SUCCESS;
}

int cuLaunchKernel(cu_handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                   unsigned by, unsigned bz, unsigned shared_bytes, cu_handle stream, void **args,
                   void **extra)
{
    CALLED(launch);
    if (gz != 1 || by != 1 || bz != 1 || shared_bytes || extra) return INVALID_VALUE;
    struct work *w = add_work(stream);
    if (!w) return CU_OUT_OF_MEMORY;
    w->launch = launch_of(function, (unsigned[]){gx, gy}, bx, args);
    return CU_SUCCESS;
}

int cuGraphCreate(cu_handle *graph, unsigned flags)
{
    CALLED(graph_create);
    *graph = alloc_array(1, sizeof(struct graph));
    if (!*graph) return CU_OUT_OF_MEMORY;
    live++;
    return flags ? INVALID_VALUE : CU_SUCCESS;
}

/* A node is the number of its launch, plus 1; the backend's graphs are chains. */
int cuGraphAddKernelNode_v2(cu_handle *node, cu_handle graph, const cu_handle *after,
                            size_t n_after, const struct cu_kernel_node *k)
{
    CALLED(graph_add_kernel);
    struct graph *g = graph;
    if (n_after != (g->n > 0) || (n_after && (uintptr_t)after[0] != g->n)) return INVALID_VALUE;
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 16;
        struct launch *more = realloc(g->launches, cap * sizeof *more);
        if (!more) return CU_OUT_OF_MEMORY;
        g->launches = more;
        g->cap = cap;
    }
    g->launches[g->n++] =
        launch_of(k->function, (unsigned[]){k->grid_x, k->grid_y}, k->block_x, k->args);
    *node = (void *)(uintptr_t)g->n;
    return CU_SUCCESS;
}

/* The executable graph is a copy: changing it leaves the graph alone. */
int cuGraphInstantiateWithFlags(cu_handle *exec, cu_handle graph, unsigned long long flags)
{
    CALLED(graph_instantiate);
    const struct graph *g = graph;
    struct graph *x = alloc_array(1, sizeof *x);
    if (x) x->launches = alloc_array(g->n, sizeof *x->launches);
    if (!x || !x->launches) return CU_OUT_OF_MEMORY;
    memcpy(x->launches, g->launches, g->n * sizeof *x->launches);
    x->n = g->n;
    live++;
    *exec = x;
    return flags ? INVALID_VALUE : CU_SUCCESS;
}

int cuGraphExecKernelNodeSetParams_v2(cu_handle exec, cu_handle node,
                                      const struct cu_kernel_node *k)
{
    CALLED(graph_set_kernel);
    struct graph *x = exec;
    uintptr_t i = (uintptr_t)node;
    if (i == 0 || i > x->n) return INVALID_VALUE;
    x->launches[i - 1] =
        launch_of(k->function, (unsigned[]){k->grid_x, k->grid_y}, k->block_x, k->args);
    return CU_SUCCESS;
}

int cuGraphLaunch(cu_handle exec, cu_handle stream)
{
    CALLED(graph_launch);
    const struct graph *x = exec;
    for (size_t i = 0; i < x->n; i++) {
        struct work *w = add_work(stream);
        if (!w) return CU_OUT_OF_MEMORY;
        w->launch = x->launches[i];
    }
    return CU_SUCCESS;
}

static int graph_free(struct graph *g)
{
    free(g->launches);
    free(g);
    live--;
    return CU_SUCCESS;
}

int cuGraphExecDestroy(cu_handle exec)
{
    CALLED(graph_exec_destroy);
    return graph_free(exec);
}

int cuGraphDestroy(cu_handle graph)
{
    CALLED(graph_destroy);
    return graph_free(graph);
}

int cuGetErrorName(int error, const char **text)
{
    *text = error == CU_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == CU_NO_DEVICE   ? "CUDA_ERROR_NO_DEVICE"
                                      : NULL;
    return *text ? CU_SUCCESS : INVALID_VALUE;
}

int cuGetErrorString(int error, const char **text)
{
    *text = NULL;
    return error ? INVALID_VALUE : CU_SUCCESS;
}
