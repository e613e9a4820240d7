/* Opening and closing a device, describing devices, and the table of the backend. */
#include "engine/vulkan/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGING_BYTES  (UINT64_C(16) << 20)
#define READBACK_BYTES (UINT64_C(8) << 20)

/* Codes of the grids, one per word: what table_code of words.glsl reads. */
static const uint32_t grid_codes[] = {
#define CODEBOOK_IQ2XXS
#include "spec/codebook.def"
    ,
#define CODEBOOK_IQ2XS
#include "spec/codebook.def"
    ,
#define CODEBOOK_IQ2S
#include "spec/codebook.def"
    ,
#define CODEBOOK_IQ3XXS
#include "spec/codebook.def"
    ,
#define CODEBOOK_IQ3S
#include "spec/codebook.def"
    ,
#define CODEBOOK_IQ1S
#include "spec/codebook.def"
};
_Static_assert(sizeof grid_codes == 4608 * 4, "the offsets in words.glsl");

/* The device that a GPU user means when not asked: discrete, then integrated, then any. */
static uint32_t default_device(const struct vk_instance *in)
{
    const VkPhysicalDeviceType order[] = {VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU,
                                          VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU,
                                          VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU};
    for (size_t o = 0; o < sizeof order / sizeof *order; o++)
        for (uint32_t i = 0; i < in->n_devices; i++) {
            VkPhysicalDeviceProperties p;
            in->vkGetPhysicalDeviceProperties(in->devices[i], &p);
            if (p.deviceType == order[o]) return i;
        }
    return 0;
}

static enum status choose_device(const struct vk_instance *in, const char *wanted, uint32_t *out,
                                 struct err *e)
{
    if (!wanted || !*wanted) wanted = getenv("ASSAY_VULKAN_DEVICE");
    *out = default_device(in);
    if (!wanted || !*wanted) return ST_OK;
    char *end;
    unsigned long i = strtoul(wanted, &end, 10);
    if (*end || *wanted < '0' || *wanted > '9')
        return fail(e, ST_USAGE, "Vulkan device \"%s\" is not a number", wanted);
    if (i >= in->n_devices)
        return fail(e, ST_NO_DEVICE, "no Vulkan device %lu: there are %u", i, in->n_devices);
    *out = (uint32_t)i;
    return ST_OK;
}

static enum status make_device(struct backend *b, VkPhysicalDevice physical, struct err *e)
{
    const struct vk_caps *c = &b->caps;
    const char *extensions[2];
    uint32_t n = 0;
    if (c->push_descriptors) extensions[n++] = VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME;
    if (c->size_control) extensions[n++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT,
        .subgroupSizeControl = VK_TRUE};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = c->size_control ? &size : NULL,
        .storageBuffer8BitAccess = c->storage8,
        .shaderFloat16 = c->half};
    VkPhysicalDeviceVulkan11Features v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
        .pNext = &v12,
        .storageBuffer16BitAccess = c->storage16};
    float priority = 1.0f;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = c->queue_family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &v11,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = n,
                               .ppEnabledExtensionNames = extensions};
    enum status st = VK(b, e, instance.vkCreateDevice(physical, &info, NULL, &b->device));
    if (st) return st;
#define LOAD(name) b->name = (PFN_##name)b->instance.vkGetDeviceProcAddr(b->device, #name);
    VK_DEVICE_FUNCTIONS(LOAD)
    LOAD(vkCmdPushDescriptorSetKHR)
#undef LOAD
    b->vkGetDeviceQueue(b->device, c->queue_family, 0, &b->queue);
    return ST_OK;
}

static enum status make_commands(struct backend *b, struct err *e)
{
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = b->caps.queue_family};
    enum status st = VK(b, e, vkCreateCommandPool(b->device, &pool, NULL, &b->pool));
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = b->pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1};
    if (!st) st = VK(b, e, vkAllocateCommandBuffers(b->device, &info, &b->commands));
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    if (!st) st = VK(b, e, vkCreateFence(b->device, &fence, NULL, &b->fence));
    return st;
}

static enum status make_buffers(struct backend *b, struct err *e)
{
    enum status st = vk_buffer_make(b, MEMORY_STAGING, STAGING_BYTES, &b->staging, e);
    if (!st) st = vk_buffer_make(b, MEMORY_READBACK, READBACK_BYTES, &b->readback, e);
    if (!st) st = vk_buffer_make(b, MEMORY_DEVICE, sizeof grid_codes, &b->tables, e);
    struct view all = {b->tables, 0};
    if (!st) st = vk_upload(b, all, grid_codes, sizeof grid_codes, e);
    return st ? st : vk_flush(b, e);
}

/* Releases everything. After a submission that never ended the device still owns its objects:
 * it gets the time of one more timeout; if it does not use it, they stay where they are. */
static void vk_close(struct backend *b)
{
    if (!b) return;
    if (b->device) {
        if (b->hung) {
            VkResult r = b->vkWaitForFences(b->device, 1, &b->fence, VK_TRUE,
                                            (uint64_t)b->config.timeout_ms * 1000000);
            b->hung = r == VK_TIMEOUT;
        }
        if (!b->hung) b->vkDeviceWaitIdle(b->device);
    }
    while (b->released) {
        struct dbuf *next = b->released->next;
        vk_buffer_free(b, b->released);
        b->released = next;
    }
    vk_buffer_free(b, b->staging);
    vk_buffer_free(b, b->readback);
    vk_buffer_free(b, b->tables);
    vk_buffer_free(b, b->scratch);
    if (b->device && !b->hung) {
        vk_pipelines_close(b);
        b->vkDestroyFence(b->device, b->fence, NULL);
        b->vkDestroyCommandPool(b->device, b->pool, NULL);
        b->vkDestroyDevice(b->device, NULL);
    }
    if (!b->hung) vk_instance_close(&b->instance);
    free(b->pipelines);
    free(b->sets);
    free(b);
}

static enum status vk_open(struct backend **out, const struct backend_options *o, struct err *e)
{
    struct backend *b = alloc_array(1, sizeof *b);
    if (!b) return fail(e, ST_NOMEM, "out of memory opening Vulkan");
    b->base.ops = &vulkan_backend;
    uint32_t index = 0;
    enum status st = vk_instance_open(&b->instance, e);
    if (!st) st = choose_device(&b->instance, o ? o->device : NULL, &index, e);
    if (!st) {
        vk_caps_read(&b->instance, b->instance.devices[index], &b->caps);
        st = vk_config_make(&b->config, &b->caps, o ? o->variant : NULL, e);
    }
    if (!st) st = make_device(b, b->instance.devices[index], e);
    if (!st) st = make_commands(b, e);
    if (!st) st = vk_pipelines_open(b, e);
    if (!st) st = make_buffers(b, e);
    if (st)
        vk_close(b);
    else
        *out = b;
    return st;
}

static void describe_features(const struct vk_caps *c, char *out, size_t cap)
{
    const struct {
        const char *name;
        bool there;
    } all[] = {{"push descriptors", c->push_descriptors},
               {"subgroup arithmetic", c->subgroup_arithmetic},
               {"subgroup size control", c->size_control},
               {"8-bit storage", c->storage8},
               {"16-bit storage", c->storage16},
               {"shaderFloat16", c->half},
               {"subnormals kept", c->denorm_preserve},
               {"infinities and NaN kept", c->special_preserve}};
    size_t n = 0;
    out[0] = 0;
    for (int there = 1; there >= 0; there--) {
        bool first = true;
        for (size_t i = 0; i < sizeof all / sizeof *all && n < cap; i++)
            if (all[i].there == there) {
                const char *sep = !first ? ", " : there ? "" : n ? "; missing: " : "missing: ";
                n += (size_t)snprintf(out + n, cap - n, "%s%s", sep, all[i].name);
                first = false;
            }
    }
    if (c->cpu && n < cap) snprintf(out + n, cap - n, "; runs on the processor");
}

static enum status vk_describe(uint32_t i, struct device_info *out, struct err *e)
{
    struct vk_instance in;
    enum status st = vk_instance_open(&in, e);
    if (st) return st;
    if (i >= in.n_devices) {
        st = fail(e, ST_NO_DEVICE, "no Vulkan device %u: there are %u", i, in.n_devices);
        vk_instance_close(&in);
        return st;
    }
    struct vk_caps c;
    vk_caps_read(&in, in.devices[i], &c);
    *out = (struct device_info){.subgroup_size = c.subgroup_size};
    snprintf(out->subject, sizeof out->subject, "vulkan:%u", i);
    snprintf(out->name, sizeof out->name, "%.120s", c.props.deviceName);
    snprintf(out->driver, sizeof out->driver, "%s", c.driver);
    snprintf(out->api, sizeof out->api, "Vulkan %u.%u.%u", VK_API_VERSION_MAJOR(c.props.apiVersion),
             VK_API_VERSION_MINOR(c.props.apiVersion), VK_API_VERSION_PATCH(c.props.apiVersion));
    for (uint32_t h = 0; h < c.memory.memoryHeapCount; h++)
        if (c.memory.memoryHeaps[h].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            out->memory_bytes += c.memory.memoryHeaps[h].size;
    describe_features(&c, out->features, sizeof out->features);
    vk_instance_close(&in);
    return ST_OK;
}

static void vk_stats(struct backend *b, struct backend_stats *out)
{
    *out = (struct backend_stats){.dispatches = b->dispatches, .flushes = !b->caps.denorm_preserve};
    memcpy(out->variant, b->variant, sizeof out->variant);
}

const struct backend_ops vulkan_backend = {
    .name = "vulkan",
    .words = vk_words,
    .open = vk_open,
    .close = vk_close,
    .describe = vk_describe,
    .alloc = vk_alloc,
    .release = vk_release,
    .import = vk_import,
    .upload = vk_upload,
    .download = vk_download,
    .flush = vk_flush,
    .stats = vk_stats,
#define OP(op_name, args, types, tol) .op_name = vk_op_##op_name,
#include "spec/ops.def"
#undef OP
};
