/* Buffers, and bytes to and from them. */
#include "engine/vulkan/vk.h"

#include <stdlib.h>
#include <string.h>

/* Segments of a large import repeat this many bytes of the next one: more than any row has. */
#define SEGMENT_OVERLAP (UINT64_C(4) << 20)
#define SEGMENT_STRIDE  (UINT64_C(1) << 30)

uint64_t vk_segment_limit(const struct backend *b)
{
    uint64_t most = b->caps.max_allocation / 2;
    return most < SEGMENT_STRIDE ? most : SEGMENT_STRIDE;
}

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

static enum status make_segments(struct backend *b, enum memory_kind kind, const struct segments *s,
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
    return make_segments(b, kind, &s, out, e);
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

/* Copies through the staging ring: the bytes are taken at once, the copy is queued. */
static enum status stage(struct backend *b, const char *op, VkBuffer dst, uint64_t off,
                         const uint8_t *src, uint64_t bytes, struct err *e)
{
    const uint64_t ring = b->staging->segments.bytes;
    enum status st = ST_OK;
    for (uint64_t done = 0; done < bytes && !st;) {
        if (b->batch.staged == ring) st = vk_flush(b, e);
        if (!st) st = vk_begin(b, op, false, e);
        if (st) break;
        uint64_t n = bytes - done, left = ring - b->batch.staged;
        if (n > left) n = left;
        memcpy((uint8_t *)b->staging->mapped[0] + b->batch.staged, src + done, n);
        VkBufferCopy copy = {.srcOffset = b->batch.staged, .dstOffset = off + done, .size = n};
        struct access a = {dst, off + done, off + done + n, true};
        vk_order(b, &a, 1);
        b->vkCmdCopyBuffer(b->commands, b->staging->buffers[0], dst, 1, &copy);
        b->batch.staged += (n + 15) / 16 * 16;
        if (b->batch.staged > ring) b->batch.staged = ring;
        done += n;
    }
    return st;
}

static enum status fill(struct backend *b, struct dbuf *buf, uint32_t i, const uint8_t *src,
                        struct err *e)
{
    uint64_t bytes = segment_bytes(&buf->segments, i);
    if (!buf->mapped[i]) return stage(b, "import", buf->buffers[i], 0, src, bytes, e);
    memcpy(buf->mapped[i], src, bytes);
    return ST_OK;
}

enum status vk_import(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                      struct err *e)
{
    uint64_t stride = vk_segment_limit(b);
    struct segments s = {.bytes = bytes, .stride = stride, .overlap = SEGMENT_OVERLAP};
    if (bytes <= stride) s.stride = s.overlap = 0;
    struct dbuf *buf = NULL;
    enum status st = make_segments(b, MEMORY_DEVICE, &s, &buf, e);
    for (uint32_t i = 0; !st && i < buf->n_segments; i++)
        st = fill(b, buf, i, (const uint8_t *)host + i * s.stride, e);
    if (st)
        vk_release(b, buf);
    else
        *out = buf;
    return st;
}

static enum status check_range(struct view v, size_t bytes, const char *op, struct err *e)
{
    if (v.buf->n_segments != 1 || v.off > v.buf->segments.bytes ||
        bytes > v.buf->segments.bytes - v.off)
        return fail(e, ST_RANGE, "%s of %zu bytes at %zu of a buffer of %llu", op, bytes, v.off,
                    (unsigned long long)v.buf->segments.bytes);
    return ST_OK;
}

enum status vk_upload(struct backend *b, struct view dst, const void *src, size_t bytes,
                      struct err *e)
{
    enum status st = check_range(dst, bytes, "upload", e);
    return st ? st : stage(b, "upload", dst.buf->buffers[0], dst.off, src, bytes, e);
}

enum status vk_download(struct backend *b, void *dst, struct view src, size_t bytes, struct err *e)
{
    const size_t room = (size_t)b->readback->segments.bytes;
    enum status st = check_range(src, bytes, "download", e);
    for (size_t done = 0; done < bytes && !st;) {
        size_t n = bytes - done < room ? bytes - done : room;
        st = vk_begin(b, "download", false, e);
        if (st) break;
        struct access a[2] = {{src.buf->buffers[0], src.off + done, src.off + done + n, false},
                              {b->readback->buffers[0], 0, n, true}};
        vk_order(b, a, 2);
        VkBufferCopy copy = {.srcOffset = src.off + done, .dstOffset = 0, .size = n};
        b->vkCmdCopyBuffer(b->commands, src.buf->buffers[0], b->readback->buffers[0], 1, &copy);
        st = vk_flush(b, e);
        if (!st) memcpy((uint8_t *)dst + done, b->readback->mapped[0], n);
        done += n;
    }
    return st;
}
