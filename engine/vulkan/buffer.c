/* Buffers: memory in segments, made and freed. */
#include "engine/vulkan/vk.h"

#include <stdlib.h>

/* The memory type of the kind's first wish that the buffer allows. */
static bool choose_type(const struct backend *b, enum memory_kind kind, uint32_t allowed,
                        uint32_t *out)
{
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags wishes[][3] = {
        [MEMORY_DEVICE] = {b->config.direct ? local | host : local, local, 0},
        [MEMORY_STAGING] = {host, host, host},
        [MEMORY_READBACK] = {host | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, host, host},
    };
    const VkPhysicalDeviceMemoryProperties *m = &b->caps.memory;
    for (int w = 0; w < 3; w++)
        for (uint32_t i = 0; i < m->memoryTypeCount; i++)
            if ((allowed >> i & 1) &&
                (m->memoryTypes[i].propertyFlags & wishes[kind][w]) == wishes[kind][w]) {
                *out = i;
                return true;
            }
    return false;
}

/* What product_rows reads weights through. A buffer that is too long for it holds no weights: an
 * import is cut into segments that are not. */
static enum status make_texels(struct backend *b, struct dbuf *buf, uint32_t i, uint64_t bytes,
                               struct err *e)
{
    VkBufferViewCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                   .buffer = buf->buffers[i],
                                   .format = VK_FORMAT_R32G32B32A32_UINT,
                                   .range = bytes / 16 * 16};
    if (info.range / 16 > b->caps.props.limits.maxTexelBufferElements) return ST_OK;
    return VK(b, e, vkCreateBufferView(b->device, &info, NULL, &buf->texels[i]));
}

static enum status make_segment(struct backend *b, enum memory_kind kind, struct dbuf *buf,
                                uint32_t i, struct err *e)
{
    uint64_t bytes = (segment_bytes(&buf->segments, i) + 3) / 4 * 4 + 2 * WINDOW_SLACK;
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = bytes,
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT |
                 VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    enum status st = VK(b, e, vkCreateBuffer(b->device, &info, NULL, &buf->buffers[i]));
    if (st) return st;
    VkMemoryRequirements need;
    b->vkGetBufferMemoryRequirements(b->device, buf->buffers[i], &need);
    VkMemoryAllocateInfo alloc = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                  .allocationSize = need.size};
    if (!choose_type(b, kind, need.memoryTypeBits, &alloc.memoryTypeIndex))
        return fail(e, ST_DEVICE, "%s has no memory type for a buffer", b->caps.props.deviceName);
    st = VK(b, e, vkAllocateMemory(b->device, &alloc, NULL, &buf->memory[i]));
    if (st) {
        fail_prefix(e, "buffer of %llu bytes", (unsigned long long)bytes);
        return st;
    }
    st = VK(b, e, vkBindBufferMemory(b->device, buf->buffers[i], buf->memory[i], 0));
    if (!st && kind == MEMORY_DEVICE && b->config.rows) st = make_texels(b, buf, i, bytes, e);
    bool visible = b->caps.memory.memoryTypes[alloc.memoryTypeIndex].propertyFlags &
                   VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    if (!st && visible && (kind != MEMORY_DEVICE || b->config.direct))
        st = VK(b, e, vkMapMemory(b->device, buf->memory[i], 0, VK_WHOLE_SIZE, 0, &buf->mapped[i]));
    return st;
}

enum status vk_buffer_segments(struct backend *b, enum memory_kind kind, const struct segments *s,
                               struct dbuf **out, struct err *e)
{
    uint32_t n = segment_count(s);
    enum status st = ST_OK;
    struct dbuf *buf = alloc_array(1, sizeof *buf);
    if (buf) {
        *buf = (struct dbuf){.segments = *s,
                             .n_segments = n,
                             .buffers = alloc_array(n, sizeof *buf->buffers),
                             .memory = alloc_array(n, sizeof *buf->memory),
                             .texels = alloc_array(n, sizeof *buf->texels),
                             .mapped = alloc_array(n, sizeof *buf->mapped)};
    }
    if (!buf || !buf->buffers || !buf->memory || !buf->texels || !buf->mapped)
        st = fail(e, ST_NOMEM, "out of memory for a buffer's description");
    for (uint32_t i = 0; i < n && !st; i++) st = make_segment(b, kind, buf, i, e);
    if (st)
        vk_buffer_free(b, buf);
    else
        *out = buf;
    return st;
}

enum status vk_buffer_make(struct backend *b, enum memory_kind kind, size_t bytes,
                           struct dbuf **out, struct err *e)
{
    if (bytes > b->caps.max_allocation - 64)
        return fail(e, ST_NOMEM, "a buffer of %zu bytes; %s allocates at most %llu at once", bytes,
                    b->caps.props.deviceName, (unsigned long long)b->caps.max_allocation);
    struct segments s = {.bytes = bytes};
    return vk_buffer_segments(b, kind, &s, out, e);
}

void vk_buffer_free(struct backend *b, struct dbuf *buf)
{
    if (!buf) return;
    for (uint32_t i = 0; i < buf->n_segments && !b->hung; i++) {
        if (buf->texels) b->vkDestroyBufferView(b->device, buf->texels[i], NULL);
        if (buf->buffers) b->vkDestroyBuffer(b->device, buf->buffers[i], NULL);
        if (buf->memory) b->vkFreeMemory(b->device, buf->memory[i], NULL);
    }
    free(buf->buffers);
    free(buf->memory);
    free(buf->texels);
    free(buf->mapped);
    free(buf);
}

enum status vk_alloc(struct backend *b, size_t bytes, struct dbuf **out, struct err *e)
{
    return vk_buffer_make(b, MEMORY_DEVICE, bytes, out, e);
}

enum status vk_scratch(struct backend *b, size_t bytes, struct view *out, struct err *e)
{
    if (!b->scratch || b->scratch->segments.bytes < bytes) {
        vk_release(b, b->scratch);
        b->scratch = NULL;
        enum status st = vk_alloc(b, bytes < 4096 ? 4096 : bytes, &b->scratch, e);
        if (st) return st;
    }
    *out = (struct view){b->scratch, 0};
    return ST_OK;
}

void vk_release(struct backend *b, struct dbuf *buf)
{
    if (!buf) return;
    if (b->batch.recording) {
        buf->next = b->released;
        b->released = buf;
    } else {
        vk_buffer_free(b, buf);
    }
}
