/* Which kernels run: by the device's class, or forced by words. */
#include "engine/vulkan/vk.h"

#include <stdlib.h>
#include <string.h>

/* Words of backend_options.variant:
 *   rows | reduce            products: lanes over rows, or over a row's groups with a reduction
 *   subgroup | shared        reductions by subgroup arithmetic or through shared memory
 *   half | narrow | words    weights read through 8- and 16-bit storage, and halves converted by
 *                            the device (half) or by integer bits; or weights read as 32-bit words
 *   push | sets              push descriptors or descriptor sets
 *   direct | staging         imports written into mapped memory or through the staging ring
 *   sg4 sg8 sg16 sg32 sg64   required subgroup size
 *   each                     one submission per operation
 *   timeout=N                milliseconds that a submission may take
 *   range=N                  bytes that may be bound at once, if the device binds more
 * A word that the device cannot follow is ST_NO_DEVICE: that variant does not exist there. */
const char vk_words[] = "rows reduce subgroup shared half narrow words push sets direct staging "
                        "sg4 sg8 sg16 sg32 sg64 each timeout= range=";

static bool is(const char *word, size_t len, const char *name)
{
    return strlen(name) == len && strncmp(word, name, len) == 0;
}

static enum status force_subgroup(struct vk_config *c, const struct vk_caps *caps, uint32_t size,
                                  struct err *e)
{
    bool fixed = caps->min_subgroup == size && caps->max_subgroup == size;
    if (!fixed && (!caps->size_control || size < caps->min_subgroup || size > caps->max_subgroup))
        return fail(e, ST_NO_DEVICE, "%s has no subgroup size %u (%u to %u)",
                    caps->props.deviceName, size, caps->min_subgroup, caps->max_subgroup);
    c->force_size = size;
    return ST_OK;
}

static enum status need(bool there, const struct vk_caps *caps, const char *what, struct err *e)
{
    return there ? ST_OK : fail(e, ST_NO_DEVICE, "%s has no %s", caps->props.deviceName, what);
}

static bool reaches_segments(const struct vk_caps *caps)
{
    return caps->props.limits.maxTexelBufferElements >= ROWS_TEXELS;
}

static enum status take_word(struct vk_config *c, const struct vk_caps *caps, const char *w,
                             size_t n, struct err *e)
{
    if (is(w, n, "rows") || is(w, n, "reduce")) {
        c->rows = is(w, n, "rows");
        return need(!c->rows || reaches_segments(caps), caps, "texel buffers long enough", e);
    } else if (is(w, n, "shared")) {
        c->subgroup = false;
    } else if (is(w, n, "subgroup")) {
        c->subgroup = true;
        return need(caps->subgroup_arithmetic, caps, "subgroup arithmetic", e);
    } else if (is(w, n, "words")) {
        c->narrow = c->half = false;
    } else if (is(w, n, "narrow") || is(w, n, "half")) {
        c->narrow = true;
        c->half = is(w, n, "half");
        if (c->half && !caps->half)
            return need(false, caps, "shaderFloat16 that keeps infinities", e);
        return need(caps->storage8 && caps->storage16, caps, "8- and 16-bit storage", e);
    } else if (is(w, n, "sets")) {
        c->push = false;
    } else if (is(w, n, "push")) {
        c->push = true;
        return need(caps->push_descriptors, caps, "VK_KHR_push_descriptor", e);
    } else if (is(w, n, "staging")) {
        c->direct = false;
    } else if (is(w, n, "direct")) {
        return need(c->direct, caps, "device memory that the host sees", e);
    } else if (is(w, n, "sg4") || is(w, n, "sg8") || is(w, n, "sg16") || is(w, n, "sg32") ||
               is(w, n, "sg64")) {
        return force_subgroup(c, caps, (uint32_t)strtoul(w + 2, NULL, 10), e);
    } else if (is(w, n, "each")) {
        c->each = true;
    } else if (n > 8 && n < 16 && strncmp(w, "timeout=", 8) == 0) {
        char *end;
        c->timeout_ms = (uint32_t)strtoul(w + 8, &end, 10);
        if (end != w + n) return fail(e, ST_USAGE, "%.*s: timeout takes milliseconds", (int)n, w);
    } else if (n > 6 && n < 16 && strncmp(w, "range=", 6) == 0) {
        char *end;
        const unsigned long bytes = strtoul(w + 6, &end, 10);
        if (end != w + n || bytes < 4096)
            return fail(e, ST_USAGE, "%.*s: range takes bytes, 4096 or more", (int)n, w);
        if (bytes < c->range) c->range = (uint32_t)bytes;
    }
    return ST_OK;
}

/* Memory of the largest device heap that the host may write into. */
static bool device_memory_visible(const struct vk_caps *caps)
{
    const VkPhysicalDeviceMemoryProperties *m = &caps->memory;
    const VkMemoryPropertyFlags want = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                       VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                       VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    VkDeviceSize largest = 0;
    for (uint32_t i = 0; i < m->memoryHeapCount; i++)
        if ((m->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) &&
            m->memoryHeaps[i].size > largest)
            largest = m->memoryHeaps[i].size;
    for (uint32_t i = 0; i < m->memoryTypeCount; i++)
        if ((m->memoryTypes[i].propertyFlags & want) == want &&
            m->memoryHeaps[m->memoryTypes[i].heapIndex].size == largest)
            return true;
    return false;
}

enum status vk_config_make(struct vk_config *out, const struct vk_caps *caps, const char *words,
                           struct err *e)
{
    *out = (struct vk_config){.rows = caps->cpu && reaches_segments(caps),
                              .subgroup = caps->subgroup_arithmetic,
                              .narrow = !caps->cpu && caps->storage8 && caps->storage16,
                              .half = !caps->cpu && caps->storage8 && caps->storage16 && caps->half,
                              .push = caps->push_descriptors,
                              .direct = device_memory_visible(caps),
                              .range = caps->props.limits.maxStorageBufferRange,
                              .timeout_ms = caps->cpu ? 600000 : 60000};
    for (const char *w = words ? words : ""; *w;) {
        size_t n = strcspn(w, "+");
        enum status st = n ? take_word(out, caps, w, n, e) : ST_OK;
        if (st) return st;
        w += n + (w[n] == '+');
    }
    return ST_OK;
}
