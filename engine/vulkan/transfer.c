/* Bytes to and from buffers. */
#include "engine/vulkan/vk.h"

#include <string.h>

/* Segments of a large import repeat this many bytes of the next one: more than any row has. */
#define SEGMENT_OVERLAP (UINT64_C(4) << 20)
#define SEGMENT_STRIDE  (UINT64_C(1) << 30)

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

static uint64_t segment_limit(const struct backend *b)
{
    uint64_t most = b->caps.max_allocation / 2;
    return most < SEGMENT_STRIDE ? most : SEGMENT_STRIDE;
}

enum status vk_import(struct backend *b, const void *host, size_t bytes, struct dbuf **out,
                      struct err *e)
{
    uint64_t stride = segment_limit(b);
    struct segments s = {.bytes = bytes, .stride = stride, .overlap = SEGMENT_OVERLAP};
    if (bytes <= stride) s.stride = s.overlap = 0;
    struct dbuf *buf = NULL;
    enum status st = vk_buffer_segments(b, MEMORY_DEVICE, &s, &buf, e);
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
