/* The CUDA driver, opened at run time: the entry points that this backend calls, and how their
 * failures are told. Only what the driver's ABI fixes is declared here; no header or library of
 * CUDA is needed. */
#ifndef CUDA_DRIVER_H
#define CUDA_DRIVER_H

#include "engine/base/base.h"

/* Handles; the driver's own tags, so that engine/cuda/test/abi.c can compare prototypes with
 * cuda.h. */
typedef struct CUctx_st *cu_context;
typedef struct CUmod_st *cu_module;
typedef struct CUfunc_st *cu_function;
typedef struct CUstream_st *cu_stream;
typedef struct CUgraph_st *cu_graph;
typedef struct CUgraphNode_st *cu_node;
typedef struct CUgraphExec_st *cu_exec;
typedef unsigned long long cu_address;

enum {
    CU_SUCCESS = 0,
    CU_OUT_OF_MEMORY = 2,
    CU_NO_DEVICE = 100,
    CU_NON_BLOCKING = 1, /* a stream that does not wait for the default one */
    CU_ATTRIBUTE_PROCESSORS = 16,
    CU_ATTRIBUTE_MAJOR = 75,
    CU_ATTRIBUTE_MINOR = 76
};

/* CUDA_KERNEL_NODE_PARAMS_v2 */
struct cu_kernel_node {
    cu_function function;
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
    void **args;
    void **extra;
    void *kernel;       /* NULL: the function says it */
    cu_context context; /* NULL: the current one */
};

/* ENTRY(name, symbol, parameters) */
#define CU_ENTRIES(ENTRY)                                                                          \
    ENTRY(init, cuInit, (unsigned flags))                                                          \
    ENTRY(driver_version, cuDriverGetVersion, (int *version))                                      \
    ENTRY(device_count, cuDeviceGetCount, (int *count))                                            \
    ENTRY(device_get, cuDeviceGet, (int *device, int ordinal))                                     \
    ENTRY(device_name, cuDeviceGetName, (char *name, int cap, int device))                         \
    ENTRY(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, int device))                        \
    ENTRY(device_attribute, cuDeviceGetAttribute, (int *value, unsigned attribute, int device))    \
    ENTRY(context_retain, cuDevicePrimaryCtxRetain, (cu_context * context, int device))            \
    ENTRY(context_release, cuDevicePrimaryCtxRelease_v2, (int device))                             \
    ENTRY(context_use, cuCtxSetCurrent, (cu_context context))                                      \
    ENTRY(module_load, cuModuleLoadData, (cu_module * module, const void *image))                  \
    ENTRY(module_unload, cuModuleUnload, (cu_module module))                                       \
    ENTRY(module_function, cuModuleGetFunction,                                                    \
          (cu_function * function, cu_module module, const char *name))                            \
    ENTRY(alloc, cuMemAlloc_v2, (cu_address * address, size_t bytes))                              \
    ENTRY(free, cuMemFree_v2, (cu_address address))                                                \
    ENTRY(upload, cuMemcpyHtoDAsync_v2,                                                            \
          (cu_address to, const void *from, size_t bytes, cu_stream stream))                       \
    ENTRY(download, cuMemcpyDtoHAsync_v2,                                                          \
          (void *to, cu_address from, size_t bytes, cu_stream stream))                             \
    ENTRY(stream_create, cuStreamCreate, (cu_stream * stream, unsigned flags))                     \
    ENTRY(stream_destroy, cuStreamDestroy_v2, (cu_stream stream))                                  \
    ENTRY(stream_wait, cuStreamSynchronize, (cu_stream stream))                                    \
    ENTRY(launch, cuLaunchKernel,                                                                  \
          (cu_function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,  \
           unsigned bz, unsigned shared_bytes, cu_stream stream, void **args, void **extra))       \
    ENTRY(graph_create, cuGraphCreate, (cu_graph * graph, unsigned flags))                         \
    ENTRY(graph_add_kernel, cuGraphAddKernelNode_v2,                                               \
          (cu_node * node, cu_graph graph, const cu_node *after, size_t n_after,                   \
           const struct cu_kernel_node *kernel))                                                   \
    ENTRY(graph_instantiate, cuGraphInstantiateWithFlags,                                          \
          (cu_exec * exec, cu_graph graph, unsigned long long flags))                              \
    ENTRY(graph_set_kernel, cuGraphExecKernelNodeSetParams_v2,                                     \
          (cu_exec exec, cu_node node, const struct cu_kernel_node *kernel))                       \
    ENTRY(graph_launch, cuGraphLaunch, (cu_exec exec, cu_stream stream))                           \
    ENTRY(graph_exec_destroy, cuGraphExecDestroy, (cu_exec exec))                                  \
    ENTRY(graph_destroy, cuGraphDestroy, (cu_graph graph))                                         \
    ENTRY(error_name, cuGetErrorName, (unsigned error, const char **text))                         \
    ENTRY(error_text, cuGetErrorString, (unsigned error, const char **text))

enum cu_call {
#define ENTRY(name, symbol, params) CU_CALL_##name,
    CU_ENTRIES(ENTRY)
#undef ENTRY
};

struct driver {
    void *library;
    int version; /* 13000 = 13.0 */
#define ENTRY(name, symbol, params) unsigned(*name) params;
    CU_ENTRIES(ENTRY)
#undef ENTRY
};

/* Opens libcuda.so.1, or what ASSAY_CUDA_LIBRARY names, and initialises it. ST_NO_DEVICE with the
 * reason. */
enum status driver_open(struct driver *d, struct err *e);
void driver_close(struct driver *d);

/* ST_OK, or what the driver's answer to a call means. args: the call's text; where: "" or more of
 * the place (a kernel's name). */
enum status driver_check(const struct driver *d, unsigned error, enum cu_call call,
                         const char *args, const char *where, struct err *e);
#define CU(d, name, args)           CU_AT(d, "", name, args)
#define CU_AT(d, where, name, args) driver_check(d, (d)->name args, CU_CALL_##name, #args, where, e)

#endif
