/* Recording work into one command buffer, ordering it, and submitting it. */
#include "engine/vulkan/vk.h"

#include <stdio.h>
#include <string.h>

static void barrier(struct backend *b, VkPipelineStageFlags to_stage, VkAccessFlags to_access)
{
    VkMemoryBarrier m = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                         .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                         .dstAccessMask = to_access};
    b->vkCmdPipelineBarrier(b->commands,
                            VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                            to_stage, 0, 1, &m, 0, NULL, 0, NULL);
    b->batch.n_accesses = 0;
}

static void device_barrier(struct backend *b)
{
    barrier(b, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT |
                VK_ACCESS_TRANSFER_WRITE_BIT);
}

/* Begins the batch if there is none and counts op into it. What computes is named in failures
 * before what only moves bytes. */
enum status vk_begin(struct backend *b, const char *op, bool computes, struct err *e)
{
    struct batch *t = &b->batch;
    if (b->lost)
        return fail(e, ST_DEVICE, "%s: %s is lost since an earlier failure", op,
                    b->caps.props.deviceName);
    if (!t->recording) {
        VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                         .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
        enum status st = VK(b, e, vkBeginCommandBuffer(b->commands, &info));
        if (st) return st;
        *t = (struct batch){.recording = true};
        device_barrier(b); /* what the batch before wrote becomes visible */
    }
    if (t->n_ops == 0 || (computes && t->n_dispatches == 0))
        snprintf(t->first_op, sizeof t->first_op, "%s", op);
    if (t->n_ops++ == 0 || computes) snprintf(t->last_op, sizeof t->last_op, "%s", op);
    return ST_OK;
}

/* Puts a barrier in front of work that touches these ranges if it must wait for earlier work. */
void vk_order(struct backend *b, const struct access *a, uint32_t n)
{
    struct batch *t = &b->batch;
    bool wait = t->n_accesses + n > MAX_ACCESSES;
    for (uint32_t i = 0; i < n && !wait; i++)
        for (uint32_t k = 0; k < t->n_accesses && !wait; k++) {
            const struct access *o = &t->accesses[k];
            wait = o->buffer == a[i].buffer && (o->write || a[i].write) && o->begin < a[i].end &&
                   a[i].begin < o->end;
        }
    if (wait) device_barrier(b);
    memcpy(t->accesses + t->n_accesses, a, n * sizeof *a);
    t->n_accesses += n;
}

static void bind_buffers(struct backend *b, const struct dispatch *d)
{
    VkDescriptorBufferInfo info[N_BINDINGS];
    for (uint32_t i = 0; i < N_BINDINGS; i++) {
        const struct binding *s = &d->bind[i];
        info[i] = (VkDescriptorBufferInfo){s->buffer, s->offset, s->size};
        if (!s->buffer) info[i] = (VkDescriptorBufferInfo){b->tables->buffers[0], 0, VK_WHOLE_SIZE};
    }
    /* A set is used again: a view in it that no longer exists is replaced, even if no shader reads
     * it, for drivers may look at all of a set. */
    const VkBufferView spare = b->tables->texels[0];
    const VkBufferView texels[N_TEXELS] = {d->texels ? d->texels : spare, spare};
    VkWriteDescriptorSet w[2] = {{.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                  .descriptorCount = N_BINDINGS,
                                  .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                  .pBufferInfo = info},
                                 {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                  .dstBinding = N_BINDINGS,
                                  .descriptorCount = N_TEXELS,
                                  .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
                                  .pTexelBufferView = texels}};
    const uint32_t n = d->texels || (spare && !b->config.push) ? 2 : 1;
    if (b->config.push) {
        b->vkCmdPushDescriptorSetKHR(b->commands, VK_PIPELINE_BIND_POINT_COMPUTE,
                                     b->pipeline_layout, 0, n, w);
        return;
    }
    const VkDescriptorSet set = b->sets[b->batch.n_sets++];
    w[0].dstSet = w[1].dstSet = set;
    b->vkUpdateDescriptorSets(b->device, n, w, 0, NULL);
    b->vkCmdBindDescriptorSets(b->commands, VK_PIPELINE_BIND_POINT_COMPUTE, b->pipeline_layout, 0,
                               1, &set, 0, NULL);
}

static void order_dispatch(struct backend *b, const struct dispatch *d)
{
    struct access a[N_BINDINGS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < N_BINDINGS; i++) {
        const struct binding *s = &d->bind[i];
        if (s->buffer && s->buffer != b->tables->buffers[0])
            a[n++] = (struct access){s->buffer, s->offset, s->offset + s->size, s->write};
    }
    vk_order(b, a, n);
}

enum status vk_dispatch(struct backend *b, const char *op, const struct dispatch *d, struct err *e)
{
    if (d->groups == 0) return ST_OK;
    enum status st = ST_OK;
    VkPipeline pipeline;
    if (!b->config.push && b->batch.n_sets == MAX_SETS) st = vk_flush(b, e);
    if (!st) st = vk_begin(b, op, true, e);
    if (!st) st = vk_pipeline(b, d, &pipeline, e);
    if (st) return st;
    order_dispatch(b, d);
    b->vkCmdBindPipeline(b->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    bind_buffers(b, d);
    b->vkCmdPushConstants(b->commands, b->pipeline_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                          sizeof d->params, &d->params);
    uint64_t most = b->caps.props.limits.maxComputeWorkGroupCount[0];
    uint64_t x = d->groups < most ? d->groups : 32768, y = (d->groups + x - 1) / x;
    if (y > b->caps.props.limits.maxComputeWorkGroupCount[1])
        return fail(e, ST_RANGE, "%s needs %llu workgroups", op, (unsigned long long)d->groups);
    b->vkCmdDispatch(b->commands, (uint32_t)x, (uint32_t)y, 1);
    b->batch.n_dispatches++;
    return b->config.each ? vk_flush(b, e) : ST_OK;
}

static enum status submit_and_wait(struct backend *b, struct err *e)
{
    barrier(b, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    enum status st = VK(b, e, vkEndCommandBuffer(b->commands));
    VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                         .commandBufferCount = 1,
                         .pCommandBuffers = &b->commands};
    if (!st) st = VK(b, e, vkQueueSubmit(b->queue, 1, &info, b->fence));
    if (st) return st;
    uint64_t ns = (uint64_t)b->config.timeout_ms * 1000000;
    VkResult r = b->vkWaitForFences(b->device, 1, &b->fence, VK_TRUE, ns);
    b->hung = r == VK_TIMEOUT;
    st = vk_check(b, e, "vkWaitForFences", r);
    if (b->hung && e) fail_prefix(e, "no end after %u ms", b->config.timeout_ms);
    if (!st) st = VK(b, e, vkResetFences(b->device, 1, &b->fence));
    return st;
}

/* Submits what is recorded and waits for it. After a failure the backend computes no more. */
enum status vk_flush(struct backend *b, struct err *e)
{
    struct batch *t = &b->batch;
    if (!t->recording && b->lost)
        return fail(e, ST_DEVICE, "flush: %s is lost since an earlier failure",
                    b->caps.props.deviceName);
    if (!t->recording) return ST_OK;
    enum status st = submit_and_wait(b, e);
    if (st) {
        b->lost = true;
        /* What was submitted may still run, and reads what is freed below. */
        if (!b->hung) b->vkDeviceWaitIdle(b->device);
    } else {
        b->dispatches += t->n_dispatches;
    }
    *t = (struct batch){.recording = false};
    while (b->released && !b->hung) {
        struct dbuf *buf = b->released;
        b->released = buf->next;
        vk_buffer_free(b, buf);
    }
    const struct vk_messages *m = b->instance.messages;
    if (!st && m && m->n) {
        b->lost = true;
        st = fail(e, ST_DEVICE, "Vulkan validation, %u messages, first: %s", m->n, m->first);
    }
    return st;
}
