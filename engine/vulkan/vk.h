/* Inside the Vulkan backend. Files: loader.c (library, instance, devices), device.c (open, close),
 * result.c (what a call returned), buffer.c (memory), batch.c (recording, submission), transfer.c
 * (bytes to and from buffers), pipeline.c (shaders), cache.c (pipelines on disk), window.c, and the
 * op table: ops.c, ops_matmul.c, ops_experts.c, ops_attention.c. */
#ifndef VK_H
#define VK_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include "engine/backend.h"
#include "engine/vulkan/window.h"

/* ---- functions of the loader, by level ------------------------------------------------------ */

/* clang-format off */
#define VK_GLOBAL_FUNCTIONS(X)                                                                     \
    X(vkCreateInstance) X(vkEnumerateInstanceVersion) X(vkEnumerateInstanceLayerProperties)
#define VK_INSTANCE_FUNCTIONS(X)                                                                   \
    X(vkDestroyInstance) X(vkEnumeratePhysicalDevices) X(vkGetPhysicalDeviceProperties)            \
    X(vkGetPhysicalDeviceProperties2) X(vkGetPhysicalDeviceFeatures2)                              \
    X(vkGetPhysicalDeviceMemoryProperties) X(vkGetPhysicalDeviceQueueFamilyProperties)             \
    X(vkEnumerateDeviceExtensionProperties) X(vkCreateDevice) X(vkGetDeviceProcAddr)
#define VK_DEVICE_FUNCTIONS(X)                                                                     \
    X(vkDestroyDevice) X(vkGetDeviceQueue) X(vkCreateBuffer) X(vkDestroyBuffer)                    \
    X(vkGetBufferMemoryRequirements) X(vkAllocateMemory) X(vkFreeMemory) X(vkBindBufferMemory)     \
    X(vkMapMemory) X(vkCreateBufferView) X(vkDestroyBufferView) X(vkCreateCommandPool)             \
    X(vkDestroyCommandPool) X(vkAllocateCommandBuffers)                                            \
    X(vkBeginCommandBuffer) X(vkEndCommandBuffer) X(vkResetCommandBuffer) X(vkCreateFence)         \
    X(vkDestroyFence) X(vkResetFences) X(vkWaitForFences) X(vkQueueSubmit) X(vkDeviceWaitIdle)     \
    X(vkCmdPipelineBarrier) X(vkCmdCopyBuffer) X(vkCmdBindPipeline) X(vkCmdPushConstants)          \
    X(vkCmdDispatch) X(vkCmdBindDescriptorSets) X(vkCreateShaderModule) X(vkDestroyShaderModule)   \
    X(vkCreateDescriptorSetLayout) X(vkDestroyDescriptorSetLayout) X(vkCreateDescriptorPool)       \
    X(vkDestroyDescriptorPool) X(vkAllocateDescriptorSets) X(vkUpdateDescriptorSets)               \
    X(vkCreatePipelineLayout) X(vkDestroyPipelineLayout) X(vkCreateComputePipelines)               \
    X(vkDestroyPipeline) X(vkCreatePipelineCache) X(vkDestroyPipelineCache)                        \
    X(vkGetPipelineCacheData)

/* clang-format on */

#define VK_MEMBER(name) PFN_##name name;

/* An instance and the devices behind it that can compute. */
struct vk_instance {
    void *library;
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    struct vk_messages *messages; /* what validation said; NULL without validation */
    VkPhysicalDevice *devices;
    uint32_t n_devices;
    PFN_vkGetInstanceProcAddr get;
    VK_GLOBAL_FUNCTIONS(VK_MEMBER)
    VK_INSTANCE_FUNCTIONS(VK_MEMBER)
};

struct vk_messages {
    uint32_t n;
    char first[400];
};

/* ST_NO_DEVICE with the reason if there is no loader, no driver, or no device that computes. */
enum status vk_instance_open(struct vk_instance *out, struct err *e);
void vk_instance_close(struct vk_instance *in);

/* What a device is and can. */
struct vk_caps {
    VkPhysicalDeviceProperties props;
    VkPhysicalDeviceMemoryProperties memory;
    char driver[128];
    uint8_t driver_uuid[VK_UUID_SIZE];
    uint32_t queue_family;
    uint32_t subgroup_size, min_subgroup, max_subgroup; /* min = max without size control */
    uint64_t max_allocation;
    bool push_descriptors, size_control, full_subgroups, subgroup_arithmetic;
    bool storage8, storage16;
    bool half; /* arithmetic in binary16, which keeps zeros' signs, infinities and NaN */
    bool denorm_preserve, special_preserve, round_to_even; /* of binary32 */
    bool cpu;                                              /* the device is the processor */
};
void vk_caps_read(const struct vk_instance *in, VkPhysicalDevice device, struct vk_caps *out);

/* ---- kernels ------------------------------------------------------------------------------- */

enum kernel {
#define KERNEL(name, source, types, defines) KERNEL_##name,
#include "engine/vulkan/kernels.def"
#undef KERNEL
    KERNEL_COUNT
};

enum { N_BINDINGS = 9, N_TEXELS = 2, N_SPECS = 5, LOCAL_SIZE = 64 };

/* Push constants, as in common.glsl. */
struct params {
    uint32_t base[N_BINDINGS];
    uint32_t n_in, n_out, n_cols, row0, n_rows;
    uint32_t n_tokens, n_heads, n_kv_heads, head_dim, n_cells, n_dims;
    uint32_t flags, k0;
    float scale, softcap;
    uint32_t value_dim, n_experts, n_used;
    uint32_t extra[4]; /* as the kernel says */
};
_Static_assert(sizeof(struct params) <= 128,
               "push constants of 128 bytes are all that is promised");

enum { FLAG_BIAS = 1, FLAG_NEOX = 2, FLAG_SINKS = 4, FLAG_LAST = 8, FLAG_PER_SLOT = 16 };

/* Compiled shaders, made at build time; sorted by name ("matvec_rows.q4_k", "rope"). */
struct shader {
    const char *name;
    const uint32_t *words;
    size_t n_words;
};
extern const struct shader vk_shaders[];
extern const size_t vk_n_shaders;

struct binding {
    VkBuffer buffer;
    uint64_t offset, size;
    bool write;
};

struct dispatch {
    enum kernel kernel;
    enum tensor_type type;  /* TYPE_F32 for kernels compiled once */
    uint32_t spec[N_SPECS]; /* spec[0]: workgroup size; the rest as the kernel says */
    struct binding bind[N_BINDINGS];
    VkBufferView texels; /* or none: the buffer of bind[0], by 16 bytes. Binding N_BINDINGS is this
                            and the tables. */
    struct params params;
    uint64_t groups;
};

/* ---- a device in use ------------------------------------------------------------------------ */

/* How kernels are chosen: defaults by device class, forced by words (backend_options.variant). */
struct vk_config {
    bool rows;           /* lanes over rows (processors) or over a row's groups (GPUs) */
    bool subgroup;       /* reduce by subgroup arithmetic, or through shared memory */
    bool narrow;         /* read weights through 8- and 16-bit storage, or as words */
    bool half;           /* narrow, and halves converted by the device, or by integer bits */
    bool push;           /* push descriptors, or descriptor sets */
    bool direct;         /* write imports into mapped device memory, or through the staging ring */
    bool each;           /* one submission per operation: failures name it */
    uint32_t force_size; /* subgroup size, 0 = the driver's choice */
    uint32_t range;      /* the longest binding, in bytes */
    uint32_t timeout_ms;
};

struct pipeline_entry {
    uint32_t key[2 + N_SPECS];
    VkPipeline handle;
};

struct dbuf {
    struct segments segments;
    uint32_t n_segments;
    VkBuffer *buffers;
    VkDeviceMemory *memory;
    VkBufferView *texels; /* of whole segments, by 16 bytes; none where no kernel reads them so */
    void **mapped;        /* NULL entries: not visible to the host */
    struct dbuf *next;    /* in the list of released ones */
};

struct access {
    VkBuffer buffer;
    uint64_t begin, end;
    bool write;
};

enum { MAX_ACCESSES = 96, MAX_SETS = 1024, MAX_PIPELINES = 2048 };

/* Recorded and not yet submitted work. */
struct batch {
    bool recording;
    uint32_t n_ops, n_dispatches, n_sets;
    char first_op[48], last_op[48];
    struct access accesses[MAX_ACCESSES]; /* since the last barrier */
    uint32_t n_accesses;
    size_t staged; /* bytes of the staging buffer in use */
};

struct backend {
    struct backend_base base;
    struct vk_instance instance;
    struct vk_caps caps;
    struct vk_config config;
    VkDevice device;
    VkQueue queue;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout pipeline_layout;
    VkDescriptorPool set_pool; /* without push descriptors */
    VkDescriptorSet *sets;     /* MAX_SETS of them */
    VkPipelineCache pipeline_cache;
    bool cache_dirty;
    struct pipeline_entry *pipelines; /* hash table of MAX_PIPELINES */
    uint32_t n_pipelines;
    const struct shader *shaders[KERNEL_COUNT][TYPE_ID_END];
    struct dbuf *staging, *readback, *tables, *scratch;
    struct dbuf *released; /* waiting for the batch to end */
    struct batch batch;
    bool lost, hung; /* no further work; hung: the device still owns its objects */
    uint64_t dispatches;
    char variant[64];
    VK_DEVICE_FUNCTIONS(VK_MEMBER)
    PFN_vkCmdPushDescriptorSetKHR vkCmdPushDescriptorSetKHR;
};

/* result.c: runs a call and, unless it succeeds, records its text, the result's name and what was
 * being computed. */
#define VK(b, e, call) vk_check(b, e, #call, (b)->call)
enum status vk_check(struct backend *b, struct err *e, const char *call, VkResult r);
const char *vk_result_name(VkResult r);

/* device.c */
extern const struct backend_ops vulkan_backend;

/* config.c */
/* Texels that a buffer view must reach for the products of processors: a segment of an import. */
#define ROWS_TEXELS ((UINT64_C(1) << 26) + (UINT64_C(1) << 20))
extern const char vk_words[]; /* as in struct backend_ops */
enum status vk_config_make(struct vk_config *out, const struct vk_caps *caps, const char *words,
                           struct err *e);

/* buffer.c */
enum memory_kind { MEMORY_DEVICE, MEMORY_STAGING, MEMORY_READBACK };
enum status vk_buffer_make(struct backend *b, enum memory_kind kind, size_t bytes,
                           struct dbuf **out, struct err *e);
/* The same in segments of s, which are imported and read by windows. */
enum status vk_buffer_segments(struct backend *b, enum memory_kind kind, const struct segments *s,
                               struct dbuf **out, struct err *e);
void vk_buffer_free(struct backend *b, struct dbuf *buf);
enum status vk_alloc(struct backend *b, size_t bytes, struct dbuf **out, struct err *e);
void vk_release(struct backend *b, struct dbuf *buf);

/* transfer.c */
enum status vk_import(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                      struct err *e);
enum status vk_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                      struct err *e);
enum status vk_download(struct backend *b, void *dst, struct view src, size_t bytes, struct err *e);

/* batch.c */
enum status vk_begin(struct backend *b, const char *op, bool computes, struct err *e);
void vk_order(struct backend *b, const struct access *a, uint32_t n);
enum status vk_dispatch(struct backend *b, const char *op, const struct dispatch *d, struct err *e);
enum status vk_flush(struct backend *b, struct err *e);

/* pipeline.c */
enum status vk_pipelines_open(struct backend *b, struct err *e);
void vk_pipelines_close(struct backend *b);
enum status vk_pipeline(struct backend *b, const struct dispatch *d, VkPipeline *out,
                        struct err *e);

/* cache.c: the driver's pipeline cache on disk. Failing to read or write it is no error. */
size_t vk_cache_load(struct backend *b, void **data);
void vk_cache_store(struct backend *b, const void *data, size_t size);

/* ops.c, ops_matmul.c, ops_experts.c, ops_attention.c */
#define OP(name, args, types, tol)                                                                 \
    enum status vk_op_##name(struct backend *b, const struct op_##args *a, struct err *e);
#include "spec/ops.def"
#undef OP
/* Binds bytes [at.off, at.off + bytes) to a slot; refuses what is longer than the device binds. */
enum status vk_bind(struct backend *b, struct dispatch *d, uint32_t slot, struct view at,
                    uint64_t bytes, bool write, struct err *e);
/* A matrix or a cache: rows one after the other, of any size together. */
struct row_range {
    struct view at;
    uint64_t row_bytes;
    uint32_t n_rows;
};
/* Binds the window of it that begins at row0 to a slot. */
enum status vk_bind_window(struct backend *b, struct dispatch *d, uint32_t slot,
                           const struct row_range *r, uint32_t row0, bool write, struct window *out,
                           struct err *e);
/* Memory of the backend's own for what one operation hands to another dispatch of it: at least
 * bytes, until the next call. */
enum status vk_scratch(struct backend *b, size_t bytes, struct view *out, struct err *e);
/* Rows of n values that one binding holds; 1 if not one does, which vk_bind then refuses. */
uint32_t vk_rows_per_dispatch(const struct backend *b, uint64_t n);

static inline uint64_t vk_div_up(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

/* The view from value n on. */
static inline struct view vk_advance(struct view v, uint64_t n)
{
    return (struct view){v.buf, v.off + (size_t)n * 4};
}

#endif
