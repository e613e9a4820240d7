/* Is driver.h, which declares the driver by itself, what NVIDIA's own header says? Compiled
 * by the CTest entry cuda.abi where there is a cuda.h, never linked: a difference does not
 * compile. */
#include "engine/cuda/driver.h"

#include <cuda.h>

/* CUDA 12 added two members at the end of a struct, and the calls that take it. An older header is
 * compared by what it had before them, which has the same parameters and the same members but
 * those. */
#if CUDA_VERSION < 12000
#define CUDA_KERNEL_NODE_PARAMS_v2_st     CUDA_KERNEL_NODE_PARAMS_st
#define CUDA_KERNEL_NODE_PARAMS_v2        CUDA_KERNEL_NODE_PARAMS_v1
#define cuGraphAddKernelNode_v2           cuGraphAddKernelNode
#define cuGraphExecKernelNodeSetParams_v2 cuGraphExecKernelNodeSetParams
#endif

/* From here on the rows speak of the header's struct. */
#define cu_kernel_node CUDA_KERNEL_NODE_PARAMS_v2_st

#define ENTRY(name, symbol, params) unsigned(*const abi_##name) params = symbol;
CU_ENTRIES(ENTRY)
#undef ENTRY
#undef cu_kernel_node

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours " is " #theirs)
SAME(CU_SUCCESS, CUDA_SUCCESS);
SAME(CU_OUT_OF_MEMORY, CUDA_ERROR_OUT_OF_MEMORY);
SAME(CU_NO_DEVICE, CUDA_ERROR_NO_DEVICE);
SAME(CU_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(CU_ATTRIBUTE_PROCESSORS, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME(CU_ATTRIBUTE_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(CU_ATTRIBUTE_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);

#define FIELD(ours, theirs)                                                                        \
    SAME(offsetof(struct cu_kernel_node, ours), offsetof(CUDA_KERNEL_NODE_PARAMS_v2, theirs));     \
    SAME(sizeof((struct cu_kernel_node *)0)->ours, sizeof((CUDA_KERNEL_NODE_PARAMS_v2 *)0)->theirs)
FIELD(function, func);
FIELD(grid_x, gridDimX);
FIELD(grid_y, gridDimY);
FIELD(grid_z, gridDimZ);
FIELD(block_x, blockDimX);
FIELD(block_y, blockDimY);
FIELD(block_z, blockDimZ);
FIELD(shared_bytes, sharedMemBytes);
FIELD(args, kernelParams);
FIELD(extra, extra);
#if CUDA_VERSION >= 12000
FIELD(kernel, kern);
FIELD(context, ctx);
SAME(sizeof(struct cu_kernel_node), sizeof(CUDA_KERNEL_NODE_PARAMS_v2));
#endif
