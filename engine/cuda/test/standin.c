/* A stand-in for libcuda.so.1: the entry points that the CUDA backend calls, over cuda-sim's
 * kernels. With it the backend's host code (queue, graphs, memory, errors) runs where there is no
 * GPU: ASSAY_CUDA_LIBRARY names it. Like the driver it copies arguments at the call and works
 * later, when the stream is waited for. Only then does it read what is uploaded: the latest that a
 * driver may.
 *
 * Entry points of its own: standin_live (objects not yet released), standin_count (calls of an
 * entry so far), standin_fail (makes a later call of an entry fail). Not for several threads. */
#include "engine/cuda/driver.h"
#include "engine/cuda/sim/sim.h"

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
static int counts[64], fail_after[64];
static unsigned fail_error[64];

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
    fail_error[i] = (unsigned)error;
}

/* The error that this call is to give. */
static unsigned called(enum cu_call call)
{
    counts[call]++;
    if (!fail_after[call] || --fail_after[call] != 0) return CU_SUCCESS;
    dead = dead || fail_error[call] >= KERNEL_FAILED;
    return fail_error[call];
}

#define CALLED(name)                                                                               \
    do {                                                                                           \
        unsigned error_ = called(CU_CALL_##name);                                                  \
        if (error_ != CU_SUCCESS) return error_;                                                   \
    } while (0)

/* Prototypes as the backend believes them: a difference does not compile. */
#define ENTRY(name, symbol, params) EXPORT unsigned symbol params;
CU_ENTRIES(ENTRY)
#undef ENTRY

/* ---- work -------------------------------------------------------------------------------- */

/* A launch, or a copy into the device's memory. */
struct work {
    struct launch launch;
    void *to;
    const void *from; /* the caller's */
    size_t bytes;
    struct work *next;
};

struct CUstream_st {
    struct work *first, **last;
};

struct CUgraph_st {
    size_t n, cap;
    struct launch *launches;
};

struct CUgraphExec_st {
    struct CUgraph_st copy;
};

struct CUfunc_st {
    enum kernel_id id;
};

static struct sim_worker worker;
static struct CUfunc_st functions[KERNEL_COUNT];

static const size_t args_bytes[KERNEL_COUNT] = {
#define KERNEL(name, file, args, barriers) sizeof(struct k_##args),
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL
};

static cu_context the_context(void)
{
    return (cu_context)(void *)&worker;
}

static struct launch launch_of(cu_function function, const unsigned *grid, unsigned block,
                               void **args)
{
    struct launch l = {
        .kernel = function->id, .grid_x = grid[0], .grid_y = grid[1], .block = block};
    memcpy(l.args, args[0], args_bytes[function->id]);
    return l;
}

static struct work *add_work(cu_stream s)
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

static void run_stream(cu_stream s)
{
    while (s->first) {
        struct work *w = s->first;
        s->first = w->next;
        if (w->from && !dead)
            memcpy(w->to, w->from, w->bytes);
        else if (!dead)
            run_launch(&w->launch);
        free(w);
    }
    s->last = &s->first;
}

/* ---- entry points -------------------------------------------------------------------------- */

unsigned cuInit(unsigned flags)
{
    CALLED(init);
    return flags ? INVALID_VALUE : CU_SUCCESS;
}

unsigned cuDriverGetVersion(int *version)
{
    CALLED(driver_version);
    *version = 13000;
    return CU_SUCCESS;
}

unsigned cuDeviceGetCount(int *count)
{
    CALLED(device_count);
    *count = 1;
    return CU_SUCCESS;
}

unsigned cuDeviceGet(int *device, int ordinal)
{
    CALLED(device_get);
    *device = 0;
    return ordinal == 0 ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuDeviceGetName(char *name, int cap, int device)
{
    static const char text[] = "stand-in";
    CALLED(device_name);
    if (device != 0 || cap < (int)sizeof text) return INVALID_VALUE;
    memcpy(name, text, sizeof text);
    return CU_SUCCESS;
}

unsigned cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    CALLED(device_memory);
    *bytes = (size_t)1 << 30;
    return device == 0 ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuDeviceGetAttribute(int *value, unsigned attribute, int device)
{
    CALLED(device_attribute);
    *value = attribute == CU_ATTRIBUTE_MAJOR ? 9 : attribute == CU_ATTRIBUTE_MINOR ? 0 : 1;
    return device == 0 ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuDevicePrimaryCtxRetain(cu_context *context, int device)
{
    struct err e = {0};
    CALLED(context_retain);
    if (device != 0) return INVALID_VALUE;
    if (!worker.stacks && sim_worker_open(&worker, &e) != ST_OK) return CU_OUT_OF_MEMORY;
    for (int k = 0; k < KERNEL_COUNT; k++) functions[k].id = (enum kernel_id)k;
    live++;
    *context = the_context();
    return CU_SUCCESS;
}

unsigned cuDevicePrimaryCtxRelease_v2(int device)
{
    CALLED(context_release);
    live--;
    return device == 0 ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuCtxSetCurrent(cu_context context)
{
    CALLED(context_use);
    return !context || context == the_context() ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuModuleLoadData(cu_module *module, const void *image)
{
    CALLED(module_load);
    uint32_t magic;
    memcpy(&magic, image, sizeof magic);
    if (magic != 0xba55ed50u) return INVALID_VALUE; /* of a fatbin */
    live++;
    *module = (cu_module)(uintptr_t)image;
    return CU_SUCCESS;
}

unsigned cuModuleUnload(cu_module module)
{
    CALLED(module_unload);
    live--;
    return module ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuModuleGetFunction(cu_function *function, cu_module module, const char *name)
{
    CALLED(module_function);
    for (int k = 0; module && k < KERNEL_COUNT; k++)
        if (strcmp(kernel_table[k].name, name) == 0) {
            *function = &functions[k];
            return CU_SUCCESS;
        }
    return NOT_FOUND;
}

unsigned cuMemAlloc_v2(cu_address *address, size_t bytes)
{
    CALLED(alloc);
    void *p = bytes ? aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
    if (!p) return bytes ? CU_OUT_OF_MEMORY : INVALID_VALUE;
    memset(p, 0xff, bytes); /* NaN: nothing may be read before it is written */
    live++;
    *address = (uintptr_t)p;
    return CU_SUCCESS;
}

unsigned cuMemFree_v2(cu_address address)
{
    CALLED(free);
    live--;
    free((void *)(uintptr_t)address);
    return CU_SUCCESS;
}

unsigned cuMemcpyHtoDAsync_v2(cu_address to, const void *from, size_t bytes, cu_stream stream)
{
    CALLED(upload);
    struct work *w = add_work(stream);
    if (!w) return CU_OUT_OF_MEMORY;
    w->from = from;
    w->to = (void *)(uintptr_t)to;
    w->bytes = bytes;
    return CU_SUCCESS;
}

unsigned cuMemcpyDtoHAsync_v2(void *to, cu_address from, size_t bytes, cu_stream stream)
{
    CALLED(download);
    run_stream(stream);
    memcpy(to, (const void *)(uintptr_t)from, bytes);
    return CU_SUCCESS;
}

unsigned cuStreamCreate(cu_stream *stream, unsigned flags)
{
    CALLED(stream_create);
    cu_stream s = alloc_array(1, sizeof *s);
    if (!s) return CU_OUT_OF_MEMORY;
    s->last = &s->first;
    live++;
    *stream = s;
    return flags == CU_NON_BLOCKING ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuStreamDestroy_v2(cu_stream stream)
{
    CALLED(stream_destroy);
    run_stream(stream);
    free(stream);
    live--;
    return CU_SUCCESS;
}

unsigned cuStreamSynchronize(cu_stream stream)
{
    CALLED(stream_wait);
    run_stream(stream);
    return CU_SUCCESS;
}

unsigned cuLaunchKernel(cu_function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                        unsigned by, unsigned bz, unsigned shared_bytes, cu_stream stream,
                        void **args, void **extra)
{
    CALLED(launch);
    if (gz != 1 || by != 1 || bz != 1 || shared_bytes || extra) return INVALID_VALUE;
    struct work *w = add_work(stream);
    if (!w) return CU_OUT_OF_MEMORY;
    w->launch = launch_of(function, (unsigned[]){gx, gy}, bx, args);
    return CU_SUCCESS;
}

unsigned cuGraphCreate(cu_graph *graph, unsigned flags)
{
    CALLED(graph_create);
    *graph = alloc_array(1, sizeof **graph);
    if (!*graph) return CU_OUT_OF_MEMORY;
    live++;
    return flags ? INVALID_VALUE : CU_SUCCESS;
}

/* A node is the number of its launch, plus 1; the backend's graphs are chains. */
unsigned cuGraphAddKernelNode_v2(cu_node *node, cu_graph g, const cu_node *after, size_t n_after,
                                 const struct cu_kernel_node *k)
{
    CALLED(graph_add_kernel);
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
    *node = (cu_node)(uintptr_t)g->n;
    return CU_SUCCESS;
}

/* The executable graph is a copy: changing it leaves the graph alone. */
unsigned cuGraphInstantiateWithFlags(cu_exec *exec, cu_graph g, unsigned long long flags)
{
    CALLED(graph_instantiate);
    cu_exec x = alloc_array(1, sizeof *x);
    if (x) x->copy.launches = alloc_array(g->n, sizeof *x->copy.launches);
    if (!x || !x->copy.launches) return CU_OUT_OF_MEMORY;
    memcpy(x->copy.launches, g->launches, g->n * sizeof *x->copy.launches);
    x->copy.n = g->n;
    live++;
    *exec = x;
    return flags ? INVALID_VALUE : CU_SUCCESS;
}

unsigned cuGraphExecKernelNodeSetParams_v2(cu_exec exec, cu_node node,
                                           const struct cu_kernel_node *k)
{
    CALLED(graph_set_kernel);
    struct CUgraph_st *x = &exec->copy;
    uintptr_t i = (uintptr_t)node;
    if (i == 0 || i > x->n) return INVALID_VALUE;
    x->launches[i - 1] =
        launch_of(k->function, (unsigned[]){k->grid_x, k->grid_y}, k->block_x, k->args);
    return CU_SUCCESS;
}

unsigned cuGraphLaunch(cu_exec exec, cu_stream stream)
{
    CALLED(graph_launch);
    const struct CUgraph_st *x = &exec->copy;
    for (size_t i = 0; i < x->n; i++) {
        struct work *w = add_work(stream);
        if (!w) return CU_OUT_OF_MEMORY;
        w->launch = x->launches[i];
    }
    return CU_SUCCESS;
}

unsigned cuGraphExecDestroy(cu_exec exec)
{
    CALLED(graph_exec_destroy);
    free(exec->copy.launches);
    free(exec);
    live--;
    return CU_SUCCESS;
}

unsigned cuGraphDestroy(cu_graph graph)
{
    CALLED(graph_destroy);
    free(graph->launches);
    free(graph);
    live--;
    return CU_SUCCESS;
}

unsigned cuGetErrorName(unsigned error, const char **text)
{
    *text = error == CU_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == CU_NO_DEVICE   ? "CUDA_ERROR_NO_DEVICE"
                                      : NULL;
    return *text ? CU_SUCCESS : INVALID_VALUE;
}

unsigned cuGetErrorString(unsigned error, const char **text)
{
    *text = NULL;
    return error ? INVALID_VALUE : CU_SUCCESS;
}
