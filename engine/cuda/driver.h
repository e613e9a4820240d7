/* The CUDA driver, opened at run time: the entry points that this backend calls, and how their
 * failures are told. Only what the driver's ABI fixes is declared here; no header or library of
 * CUDA is needed. */
#ifndef CUDA_DRIVER_H
#define CUDA_DRIVER_H

#include "base.h"

typedef void *cu_handle; /* context, module, function, stream, graph, node */

enum {
    CU_SUCCESS = 0,
    CU_OUT_OF_MEMORY = 2,
    CU_NO_DEVICE = 100,
    CU_STREAM_NON_BLOCKING = 1,
    CU_ATTRIBUTE_PROCESSORS = 16,
    CU_ATTRIBUTE_MAJOR = 75,
    CU_ATTRIBUTE_MINOR = 76
};

/* CUDA_KERNEL_NODE_PARAMS_v2 */
struct cu_kernel_node {
    cu_handle function;
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
    void **args;
    void **extra;
    cu_handle kernel, context;
};

/* ENTRY(name, symbol, parameters) */
#define CU_ENTRIES(ENTRY)                                                                          \
    ENTRY(init, cuInit, (unsigned flags))                                                          \
    ENTRY(driver_version, cuDriverGetVersion, (int *version))                                      \
    ENTRY(device_count, cuDeviceGetCount, (int *count))                                            \
    ENTRY(device_get, cuDeviceGet, (int *device, int ordinal))                                     \
    ENTRY(device_name, cuDeviceGetName, (char *name, int cap, int device))                         \
    ENTRY(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, int device))                        \
    ENTRY(device_attribute, cuDeviceGetAttribute, (int *value, int attribute, int device))         \
    ENTRY(context_retain, cuDevicePrimaryCtxRetain, (cu_handle * context, int device))             \
    ENTRY(context_release, cuDevicePrimaryCtxRelease_v2, (int device))                             \
    ENTRY(context_use, cuCtxSetCurrent, (cu_handle context))                                       \
    ENTRY(module_load, cuModuleLoadData, (cu_handle * module, const void *image))                  \
    ENTRY(module_unload, cuModuleUnload, (cu_handle module))                                       \
    ENTRY(module_function, cuModuleGetFunction,                                                    \
          (cu_handle * function, cu_handle module, const char *name))                              \
    ENTRY(alloc, cuMemAlloc_v2, (uint64_t * address, size_t bytes))                                \
    ENTRY(free, cuMemFree_v2, (uint64_t address))                                                  \
    ENTRY(upload, cuMemcpyHtoDAsync_v2,                                                            \
          (uint64_t to, const void *from, size_t bytes, cu_handle stream))                         \
    ENTRY(download, cuMemcpyDtoHAsync_v2,                                                          \
          (void *to, uint64_t from, size_t bytes, cu_handle stream))                               \
    ENTRY(stream_create, cuStreamCreate, (cu_handle * stream, unsigned flags))                     \
    ENTRY(stream_destroy, cuStreamDestroy_v2, (cu_handle stream))                                  \
    ENTRY(stream_wait, cuStreamSynchronize, (cu_handle stream))                                    \
    ENTRY(launch, cuLaunchKernel,                                                                  \
          (cu_handle function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,    \
           unsigned bz, unsigned shared_bytes, cu_handle stream, void **args, void **extra))       \
    ENTRY(graph_create, cuGraphCreate, (cu_handle * graph, unsigned flags))                        \
    ENTRY(graph_add_kernel, cuGraphAddKernelNode_v2,                                               \
          (cu_handle * node, cu_handle graph, const cu_handle *after, size_t n_after,              \
           const struct cu_kernel_node *kernel))                                                   \
    ENTRY(graph_instantiate, cuGraphInstantiateWithFlags,                                          \
          (cu_handle * exec, cu_handle graph, unsigned long long flags))                           \
    ENTRY(graph_set_kernel, cuGraphExecKernelNodeSetParams_v2,                                     \
          (cu_handle exec, cu_handle node, const struct cu_kernel_node *kernel))                   \
    ENTRY(graph_launch, cuGraphLaunch, (cu_handle exec, cu_handle stream))                         \
    ENTRY(graph_exec_destroy, cuGraphExecDestroy, (cu_handle exec))                                \
    ENTRY(graph_destroy, cuGraphDestroy, (cu_handle graph))                                        \
    ENTRY(error_name, cuGetErrorName, (int error, const char **text))                              \
    ENTRY(error_text, cuGetErrorString, (int error, const char **text))

enum cu_call {
#define ENTRY(name, symbol, params) CU_CALL_##name,
    CU_ENTRIES(ENTRY)
#undef ENTRY
};

struct driver {
    void *library;
    int version; /* 13000 = 13.0 */
#define ENTRY(name, symbol, params) int(*name) params;
    CU_ENTRIES(ENTRY)
#undef ENTRY
};

/* Opens libcuda.so.1, or what ASSAY_CUDA_LIBRARY names, and initialises it. ST_NO_DEVICE with the
 * reason. */
enum status driver_open(struct driver *d, struct err *e);
void driver_close(struct driver *d);

/* ST_OK, or what the driver's answer to a call means. args: the call's text; where: "" or more of
 * the place (a kernel's name). */
enum status driver_check(const struct driver *d, int error, enum cu_call call, const char *args,
                         const char *where, struct err *e);
#define CU(d, name, args)           CU_AT(d, "", name, args)
#define CU_AT(d, where, name, args) driver_check(d, (d)->name args, CU_CALL_##name, #args, where, e)

#endif
