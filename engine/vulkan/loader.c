/* The Vulkan library, an instance of it, its devices, and what they can. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "engine/vulkan/vk.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Validation layers are asked for by ASSAY_VULKAN_VALIDATION: "1" with checks of synchronisation,
 * "gpu" with GPU-assisted ones. */
static const char *validation_wanted(void)
{
    const char *v = getenv("ASSAY_VULKAN_VALIDATION");
    return v && *v && strcmp(v, "0") != 0 ? v : NULL;
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *ctx)
{
    struct vk_messages *m = ctx;
    (void)severity, (void)types;
    if (m->n++ == 0) snprintf(m->first, sizeof m->first, "%s", data->pMessage);
    return VK_FALSE;
}

/* Function pointers come as void * from the dynamic linker. */
static PFN_vkGetInstanceProcAddr find_entry(void *library)
{
    void *p = dlsym(library, "vkGetInstanceProcAddr");
    PFN_vkGetInstanceProcAddr f = NULL;
    memcpy(&f, &p, sizeof f);
    return f;
}

static enum status open_library(struct vk_instance *in, struct err *e)
{
    const char *name = getenv("ASSAY_VULKAN_LIBRARY");
    if (!name) name = "libvulkan.so.1";
    in->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!in->library) return fail(e, ST_NO_DEVICE, "no Vulkan loader: %s", dlerror());
    in->get = find_entry(in->library);
    if (!in->get) return fail(e, ST_NO_DEVICE, "%s has no vkGetInstanceProcAddr", name);
#define LOAD(name) in->name = (PFN_##name)in->get(NULL, #name);
    VK_GLOBAL_FUNCTIONS(LOAD)
#undef LOAD
    uint32_t version = VK_API_VERSION_1_0;
    if (in->vkEnumerateInstanceVersion) in->vkEnumerateInstanceVersion(&version);
    if (!in->vkCreateInstance || version < VK_API_VERSION_1_2)
        return fail(e, ST_NO_DEVICE, "the Vulkan loader is older than version 1.2");
    return ST_OK;
}

static bool has_validation_layer(const struct vk_instance *in)
{
    VkLayerProperties layers[64];
    uint32_t n = 64;
    in->vkEnumerateInstanceLayerProperties(&n, layers);
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(layers[i].layerName, "VK_LAYER_KHRONOS_validation") == 0) return true;
    return false;
}

static VkResult create_instance(struct vk_instance *in, const char *validation)
{
    const char *layer = "VK_LAYER_KHRONOS_validation",
               *extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    VkValidationFeatureEnableEXT checks[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT,
    };
    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = in->messages,
    };
    VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger,
        .enabledValidationFeatureCount = validation && strcmp(validation, "gpu") == 0 ? 3 : 1,
        .pEnabledValidationFeatures = checks,
    };
    VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                             .pApplicationName = "assay",
                             .apiVersion = VK_API_VERSION_1_2};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pNext = validation ? &features : NULL,
                                 .pApplicationInfo = &app,
                                 .enabledLayerCount = validation ? 1 : 0,
                                 .ppEnabledLayerNames = &layer,
                                 .enabledExtensionCount = validation ? 1 : 0,
                                 .ppEnabledExtensionNames = &extension};
    VkResult r = in->vkCreateInstance(&info, NULL, &in->handle);
    if (r != VK_SUCCESS || !validation) return r;
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)in->get(in->handle, "vkCreateDebugUtilsMessengerEXT");
    return create(in->handle, &messenger, NULL, &in->messenger);
}

/* Keeps the devices of version 1.2 that compute. */
static enum status list_devices(struct vk_instance *in, struct err *e)
{
    uint32_t n = 0;
    VkResult r = in->vkEnumeratePhysicalDevices(in->handle, &n, NULL);
    if (r == VK_SUCCESS && n > 0) {
        in->devices = alloc_array(n, sizeof *in->devices);
        if (!in->devices) return fail(e, ST_NOMEM, "out of memory listing devices");
        r = in->vkEnumeratePhysicalDevices(in->handle, &n, in->devices);
    }
    if (r < 0) return fail(e, ST_NO_DEVICE, "vkEnumeratePhysicalDevices: %s", vk_result_name(r));
    for (uint32_t i = 0; i < n; i++) {
        VkPhysicalDeviceProperties props;
        in->vkGetPhysicalDeviceProperties(in->devices[i], &props);
        VkQueueFamilyProperties queues[16];
        uint32_t n_queues = 16;
        in->vkGetPhysicalDeviceQueueFamilyProperties(in->devices[i], &n_queues, queues);
        bool computes = false;
        for (uint32_t q = 0; q < n_queues; q++)
            computes = computes || (queues[q].queueFlags & VK_QUEUE_COMPUTE_BIT);
        if (computes && props.apiVersion >= VK_API_VERSION_1_2)
            in->devices[in->n_devices++] = in->devices[i];
    }
    if (n == 0) return fail(e, ST_NO_DEVICE, "no Vulkan driver finds a device");
    if (in->n_devices == 0)
        return fail(e, ST_NO_DEVICE, "no Vulkan 1.2 device with a compute queue (%u found)", n);
    return ST_OK;
}

enum { MAX_DRIVERS = 16 };

struct drivers {
    char paths[MAX_DRIVERS][512];
    size_t n;
};

static int note_driver(struct dl_phdr_info *info, size_t size, void *ctx)
{
    struct drivers *d = ctx;
    (void)size;
    if (d->n < MAX_DRIVERS && info->dlpi_name && strstr(info->dlpi_name, "libvulkan_"))
        snprintf(d->paths[d->n++], sizeof d->paths[0], "%s", info->dlpi_name);
    return 0;
}

/* Drivers stay in the process once they are there. Unloaded with their instance, Mesa's leave
 * memory behind that nothing points to any more, every time anew. */
static void keep_drivers(void)
{
    struct drivers d = {.n = 0};
    dl_iterate_phdr(note_driver, &d);
    for (size_t i = 0; i < d.n; i++)
        (void)dlopen(d.paths[i], RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

enum status vk_instance_open(struct vk_instance *out, struct err *e)
{
    *out = (struct vk_instance){0};
    const char *validation = validation_wanted();
    enum status st = open_library(out, e);
    if (st) goto out;
    if (validation) {
        out->messages = alloc_array(1, sizeof *out->messages);
        if (!out->messages)
            st = fail(e, ST_NOMEM, "out of memory opening Vulkan");
        else if (!has_validation_layer(out))
            st = fail(e, ST_NO_DEVICE,
                      "ASSAY_VULKAN_VALIDATION is set and the validation layer "
                      "VK_LAYER_KHRONOS_validation is not installed");
        if (st) goto out;
    }
    VkResult r = create_instance(out, validation);
    if (r != VK_SUCCESS) {
        st = fail(e, ST_NO_DEVICE, "no Vulkan driver: vkCreateInstance: %s", vk_result_name(r));
        goto out;
    }
#define LOAD(name) out->name = (PFN_##name)out->get(out->handle, #name);
    VK_INSTANCE_FUNCTIONS(LOAD)
#undef LOAD
    st = list_devices(out, e);
    keep_drivers();
out:
    if (st) vk_instance_close(out);
    return st;
}

void vk_instance_close(struct vk_instance *in)
{
    if (in->messenger) {
        PFN_vkDestroyDebugUtilsMessengerEXT destroy = (PFN_vkDestroyDebugUtilsMessengerEXT)in->get(
            in->handle, "vkDestroyDebugUtilsMessengerEXT");
        destroy(in->handle, in->messenger, NULL);
    }
    if (in->handle) {
        PFN_vkDestroyInstance destroy =
            (PFN_vkDestroyInstance)in->get(in->handle, "vkDestroyInstance");
        destroy(in->handle, NULL);
    }
    free(in->devices);
    free(in->messages);
    if (in->library) dlclose(in->library);
    *in = (struct vk_instance){0};
}

static bool has_extension(const VkExtensionProperties *all, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(all[i].extensionName, name) == 0) return true;
    return false;
}

static void read_extensions(const struct vk_instance *in, VkPhysicalDevice device,
                            struct vk_caps *out)
{
    uint32_t n = 0;
    in->vkEnumerateDeviceExtensionProperties(device, NULL, &n, NULL);
    VkExtensionProperties *all = alloc_array(n + 1, sizeof *all);
    if (!all || in->vkEnumerateDeviceExtensionProperties(device, NULL, &n, all) < 0) n = 0;
    out->push_descriptors = has_extension(all, n, VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME);
    out->size_control = has_extension(all, n, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    free(all);
}

static void read_features(const struct vk_instance *in, VkPhysicalDevice device,
                          struct vk_caps *out)
{
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT size = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT};
    VkPhysicalDeviceVulkan12Features v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = out->size_control ? &size : NULL};
    VkPhysicalDeviceVulkan11Features v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &v12};
    VkPhysicalDeviceFeatures2 f = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                   .pNext = &v11};
    in->vkGetPhysicalDeviceFeatures2(device, &f);
    out->storage8 = v12.storageBuffer8BitAccess;
    out->storage16 = v11.storageBuffer16BitAccess;
    out->half = v12.shaderFloat16;
    out->full_subgroups = size.computeFullSubgroups;
    out->size_control = out->size_control && size.subgroupSizeControl;
}

static void read_properties(const struct vk_instance *in, VkPhysicalDevice device,
                            struct vk_caps *out)
{
    VkPhysicalDeviceSubgroupSizeControlPropertiesEXT size = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT};
    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
        .pNext = out->size_control ? &size : NULL};
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v12};
    VkPhysicalDeviceProperties2 p = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                     .pNext = &v11};
    in->vkGetPhysicalDeviceProperties2(device, &p);
    out->props = p.properties;
    out->cpu = p.properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    snprintf(out->driver, sizeof out->driver, "%.40s %.80s", v12.driverName, v12.driverInfo);
    memcpy(out->driver_uuid, v11.driverUUID, VK_UUID_SIZE);
    out->max_allocation = v11.maxMemoryAllocationSize;
    out->subgroup_size = v11.subgroupSize;
    out->min_subgroup = out->size_control ? size.minSubgroupSize : v11.subgroupSize;
    out->max_subgroup = out->size_control ? size.maxSubgroupSize : v11.subgroupSize;
    out->size_control =
        out->size_control && (size.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT);
    out->subgroup_arithmetic =
        (v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
        (v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT);
    out->denorm_preserve = v12.shaderDenormPreserveFloat32;
    out->special_preserve = v12.shaderSignedZeroInfNanPreserveFloat32;
    out->half = out->half && v12.shaderSignedZeroInfNanPreserveFloat16;
    out->round_to_even = v12.shaderRoundingModeRTEFloat32;
}

void vk_caps_read(const struct vk_instance *in, VkPhysicalDevice device, struct vk_caps *out)
{
    *out = (struct vk_caps){0};
    read_extensions(in, device, out);
    read_features(in, device, out);
    read_properties(in, device, out);
    in->vkGetPhysicalDeviceMemoryProperties(device, &out->memory);
    VkQueueFamilyProperties queues[16];
    uint32_t n = 16;
    in->vkGetPhysicalDeviceQueueFamilyProperties(device, &n, queues);
    while (out->queue_family + 1 < n &&
           !(queues[out->queue_family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        out->queue_family++;
}
