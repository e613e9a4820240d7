/* What a call returned, told with what was being computed. */
#include "engine/vulkan/vk.h"

#include <string.h>

const char *vk_result_name(VkResult r)
{
#define NAME(x)                                                                                    \
    case x:                                                                                        \
        return #x;
    switch (r) {
        NAME(VK_SUCCESS)
        NAME(VK_NOT_READY)
        NAME(VK_TIMEOUT)
        NAME(VK_INCOMPLETE)
        NAME(VK_ERROR_OUT_OF_HOST_MEMORY)
        NAME(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        NAME(VK_ERROR_INITIALIZATION_FAILED)
        NAME(VK_ERROR_DEVICE_LOST)
        NAME(VK_ERROR_MEMORY_MAP_FAILED)
        NAME(VK_ERROR_LAYER_NOT_PRESENT)
        NAME(VK_ERROR_EXTENSION_NOT_PRESENT)
        NAME(VK_ERROR_FEATURE_NOT_PRESENT)
        NAME(VK_ERROR_INCOMPATIBLE_DRIVER)
        NAME(VK_ERROR_TOO_MANY_OBJECTS)
        NAME(VK_ERROR_INVALID_EXTERNAL_HANDLE)
    default:
        return "an unknown VkResult";
    }
#undef NAME
}

enum status vk_check(struct backend *b, struct err *e, const char *call, VkResult r)
{
    if (r == VK_SUCCESS) return ST_OK;
    const struct batch *t = &b->batch;
    bool memory = r == VK_ERROR_OUT_OF_HOST_MEMORY || r == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (!memory) b->lost = true;
    int name = (int)strcspn(call, "(");
    enum status st = memory ? ST_NOMEM : ST_DEVICE;
    if (t->n_ops == 0)
        return fail(e, st, "%.*s: %s on %s", name, call, vk_result_name(r),
                    b->caps.props.deviceName);
    if (t->n_ops == 1)
        return fail(e, st, "%.*s: %s on %s while computing %s", name, call, vk_result_name(r),
                    b->caps.props.deviceName, t->first_op);
    return fail(e, st, "%.*s: %s on %s while computing %u operations, %s to %s", name, call,
                vk_result_name(r), b->caps.props.deviceName, t->n_ops, t->first_op, t->last_op);
}
