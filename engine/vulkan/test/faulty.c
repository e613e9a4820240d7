/* A stand-in for libvulkan.so.1 that passes everything on to it, counts objects, and makes chosen
 * calls fail: what the backend does about that is tested where no device ever fails.
 * ASSAY_VULKAN_LIBRARY names it.
 *
 * Entry points of its own: faulty_live (objects not yet released), faulty_calls (calls of a
 * function so far), faulty_fail (makes one later call of a function fail). Not for several
 * threads. */
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int faulty_live(void);
EXPORT int faulty_calls(const char *function);
EXPORT void faulty_fail(const char *function, int after, int result);
EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vkGetInstanceProcAddr(VkInstance instance,
                                                                      const char *name);

/* ---- the functions
 * ---------------------------------------------------------------------------- */

/* MAKE(function, parent, information, object), FREE(function, parent, object), and
 * CALL(function, parameters, arguments), which neither makes nor frees. */
#define FUNCTIONS(MAKE, FREE, CALL)                                                                \
    MAKE(vkCreateDevice, VkPhysicalDevice, VkDeviceCreateInfo, VkDevice)                           \
    MAKE(vkCreateBuffer, VkDevice, VkBufferCreateInfo, VkBuffer)                                   \
    MAKE(vkCreateBufferView, VkDevice, VkBufferViewCreateInfo, VkBufferView)                       \
    MAKE(vkAllocateMemory, VkDevice, VkMemoryAllocateInfo, VkDeviceMemory)                         \
    MAKE(vkCreateCommandPool, VkDevice, VkCommandPoolCreateInfo, VkCommandPool)                    \
    MAKE(vkCreateFence, VkDevice, VkFenceCreateInfo, VkFence)                                      \
    MAKE(vkCreateShaderModule, VkDevice, VkShaderModuleCreateInfo, VkShaderModule)                 \
    MAKE(vkCreateDescriptorSetLayout, VkDevice, VkDescriptorSetLayoutCreateInfo,                   \
         VkDescriptorSetLayout)                                                                    \
    MAKE(vkCreateDescriptorPool, VkDevice, VkDescriptorPoolCreateInfo, VkDescriptorPool)           \
    MAKE(vkCreatePipelineLayout, VkDevice, VkPipelineLayoutCreateInfo, VkPipelineLayout)           \
    MAKE(vkCreatePipelineCache, VkDevice, VkPipelineCacheCreateInfo, VkPipelineCache)              \
    FREE(vkDestroyBuffer, VkDevice, VkBuffer)                                                      \
    FREE(vkDestroyBufferView, VkDevice, VkBufferView)                                              \
    FREE(vkFreeMemory, VkDevice, VkDeviceMemory)                                                   \
    FREE(vkDestroyCommandPool, VkDevice, VkCommandPool)                                            \
    FREE(vkDestroyFence, VkDevice, VkFence)                                                        \
    FREE(vkDestroyShaderModule, VkDevice, VkShaderModule)                                          \
    FREE(vkDestroyDescriptorSetLayout, VkDevice, VkDescriptorSetLayout)                            \
    FREE(vkDestroyDescriptorPool, VkDevice, VkDescriptorPool)                                      \
    FREE(vkDestroyPipelineLayout, VkDevice, VkPipelineLayout)                                      \
    FREE(vkDestroyPipelineCache, VkDevice, VkPipelineCache)                                        \
    FREE(vkDestroyPipeline, VkDevice, VkPipeline)                                                  \
    CALL(vkMapMemory,                                                                              \
         (VkDevice d, VkDeviceMemory m, VkDeviceSize at, VkDeviceSize n, VkMemoryMapFlags f,       \
          void **out),                                                                             \
         (d, m, at, n, f, out))                                                                    \
    CALL(vkBindBufferMemory, (VkDevice d, VkBuffer b, VkDeviceMemory m, VkDeviceSize at),          \
         (d, b, m, at))                                                                            \
    CALL(vkAllocateCommandBuffers,                                                                 \
         (VkDevice d, const VkCommandBufferAllocateInfo *i, VkCommandBuffer *out), (d, i, out))    \
    CALL(vkAllocateDescriptorSets,                                                                 \
         (VkDevice d, const VkDescriptorSetAllocateInfo *i, VkDescriptorSet *out), (d, i, out))    \
    CALL(vkBeginCommandBuffer, (VkCommandBuffer c, const VkCommandBufferBeginInfo *i), (c, i))     \
    CALL(vkEndCommandBuffer, (VkCommandBuffer c), (c))                                             \
    CALL(vkResetFences, (VkDevice d, uint32_t n, const VkFence *f), (d, n, f))                     \
    CALL(vkQueueSubmit, (VkQueue q, uint32_t n, const VkSubmitInfo *s, VkFence f), (q, n, s, f))   \
    CALL(vkWaitForFences,                                                                          \
         (VkDevice d, uint32_t n, const VkFence *f, VkBool32 all, uint64_t timeout),               \
         (d, n, f, all, timeout))

enum function {
#define MAKE(name, parent, info, object)  FN_##name,
#define FREE(name, parent, object)        FN_##name,
#define CALL(name, parameters, arguments) FN_##name,
    FUNCTIONS(MAKE, FREE, CALL)
#undef MAKE
#undef FREE
#undef CALL
        FN_vkCreateInstance,
    FN_vkDestroyInstance,
    FN_vkDestroyDevice,
    FN_vkCreateComputePipelines,
    N_FUNCTIONS
};

static const char *const names[] = {
#define MAKE(name, parent, info, object)  #name,
#define FREE(name, parent, object)        #name,
#define CALL(name, parameters, arguments) #name,
    FUNCTIONS(MAKE, FREE, CALL)
#undef MAKE
#undef FREE
#undef CALL
        "vkCreateInstance",
    "vkDestroyInstance",
    "vkDestroyDevice",
    "vkCreateComputePipelines",
};

static int live, calls[N_FUNCTIONS], fails_at[N_FUNCTIONS], result[N_FUNCTIONS];
static PFN_vkVoidFunction real[N_FUNCTIONS];
static PFN_vkGetInstanceProcAddr real_instance;
static PFN_vkGetDeviceProcAddr real_device;

static int index_of(const char *name)
{
    int i = 0;
    while (i < N_FUNCTIONS && strcmp(names[i], name) != 0) i++;
    return i;
}

int faulty_live(void)
{
    return live;
}

int faulty_calls(const char *function)
{
    const int i = index_of(function);
    return i < N_FUNCTIONS ? calls[i] : -1;
}

/* after: how many calls still succeed. */
void faulty_fail(const char *function, int after, int error)
{
    const int i = index_of(function);
    if (i == N_FUNCTIONS) return;
    fails_at[i] = calls[i] + after + 1;
    result[i] = error;
}

static VkResult fault(enum function f)
{
    return ++calls[f] == fails_at[f] ? (VkResult)result[f] : VK_SUCCESS;
}

#define MAKE(name, parent, info, object)                                                           \
    static VKAPI_ATTR VkResult VKAPI_CALL my_##name(parent p, const info *i,                       \
                                                    const VkAllocationCallbacks *a, object *out)   \
    {                                                                                              \
        VkResult r = fault(FN_##name);                                                             \
        if (r == VK_SUCCESS) r = ((PFN_##name)real[FN_##name])(p, i, a, out);                      \
        live += r == VK_SUCCESS;                                                                   \
        return r;                                                                                  \
    }
#define FREE(name, parent, object)                                                                 \
    static VKAPI_ATTR void VKAPI_CALL my_##name(parent p, object o,                                \
                                                const VkAllocationCallbacks *a)                    \
    {                                                                                              \
        live -= o != VK_NULL_HANDLE;                                                               \
        ((PFN_##name)real[FN_##name])(p, o, a);                                                    \
    }
#define CALL(name, parameters, arguments)                                                          \
    static VKAPI_ATTR VkResult VKAPI_CALL my_##name parameters                                     \
    {                                                                                              \
        const VkResult r = fault(FN_##name);                                                       \
        return r == VK_SUCCESS ? ((PFN_##name)real[FN_##name])arguments : r;                       \
    }
FUNCTIONS(MAKE, FREE, CALL)
#undef MAKE
#undef FREE
#undef CALL

static VKAPI_ATTR VkResult VKAPI_CALL my_vkCreateInstance(const VkInstanceCreateInfo *i,
                                                          const VkAllocationCallbacks *a,
                                                          VkInstance *out)
{
    VkResult r = fault(FN_vkCreateInstance);
    if (r == VK_SUCCESS) r = ((PFN_vkCreateInstance)real[FN_vkCreateInstance])(i, a, out);
    live += r == VK_SUCCESS;
    return r;
}

static VKAPI_ATTR void VKAPI_CALL my_vkDestroyInstance(VkInstance i, const VkAllocationCallbacks *a)
{
    live -= i != VK_NULL_HANDLE;
    ((PFN_vkDestroyInstance)real[FN_vkDestroyInstance])(i, a);
}

static VKAPI_ATTR void VKAPI_CALL my_vkDestroyDevice(VkDevice d, const VkAllocationCallbacks *a)
{
    live -= d != VK_NULL_HANDLE;
    ((PFN_vkDestroyDevice)real[FN_vkDestroyDevice])(d, a);
}

static VKAPI_ATTR VkResult VKAPI_CALL my_vkCreateComputePipelines(
    VkDevice d, VkPipelineCache c, uint32_t n, const VkComputePipelineCreateInfo *i,
    const VkAllocationCallbacks *a, VkPipeline *out)
{
    VkResult r = fault(FN_vkCreateComputePipelines);
    if (r == VK_SUCCESS)
        r = ((PFN_vkCreateComputePipelines)real[FN_vkCreateComputePipelines])(d, c, n, i, a, out);
    if (r == VK_SUCCESS) live += (int)n;
    return r;
}

/* ---- handing them out
 * ------------------------------------------------------------------------- */

/* The wrapper of a function, where there is one and the real function exists. */
static PFN_vkVoidFunction wrapped(const char *name, PFN_vkVoidFunction f)
{
    static const PFN_vkVoidFunction wrappers[] = {
#define MAKE(name, parent, info, object)  (PFN_vkVoidFunction) my_##name,
#define FREE(name, parent, object)        (PFN_vkVoidFunction) my_##name,
#define CALL(name, parameters, arguments) (PFN_vkVoidFunction) my_##name,
        FUNCTIONS(MAKE, FREE, CALL)
#undef MAKE
#undef FREE
#undef CALL
            (PFN_vkVoidFunction) my_vkCreateInstance,
        (PFN_vkVoidFunction)my_vkDestroyInstance,
        (PFN_vkVoidFunction)my_vkDestroyDevice,
        (PFN_vkVoidFunction)my_vkCreateComputePipelines,
    };
    const int i = index_of(name);
    if (!f || i == N_FUNCTIONS) return f;
    real[i] = f;
    return wrappers[i];
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL my_vkGetDeviceProcAddr(VkDevice d, const char *name)
{
    return wrapped(name, real_device(d, name));
}

PFN_vkVoidFunction vkGetInstanceProcAddr(VkInstance instance, const char *name)
{
    if (!real_instance) {
        void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
        void *p = library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
        memcpy(&real_instance, &p, sizeof real_instance);
        if (!real_instance) return NULL;
    }
    const PFN_vkVoidFunction f = real_instance(instance, name);
    if (strcmp(name, "vkGetDeviceProcAddr") != 0) return wrapped(name, f);
    real_device = (PFN_vkGetDeviceProcAddr)f;
    return (PFN_vkVoidFunction)my_vkGetDeviceProcAddr;
}
