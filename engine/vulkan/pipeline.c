/* Shaders and pipelines: found by kernel and type, told what the device promises about floats,
 * made when first used. */
#include "engine/vulkan/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kernel_names[KERNEL_COUNT] = {
#define KERNEL(name, source, types, defines) #name,
#include "engine/vulkan/kernels.def"
#undef KERNEL
};

static int compare_name(const void *key, const void *s)
{
    return strcmp(key, ((const struct shader *)s)->name);
}

static void find_shaders(struct backend *b)
{
    for (int k = 0; k < KERNEL_COUNT; k++)
        for (const struct type_spec *t = NULL; (t = type_next(t));) {
            char name[64];
            snprintf(name, sizeof name, "%s.%s", kernel_names[k], t->c_name);
            const struct shader *s =
                bsearch(name, vk_shaders, vk_n_shaders, sizeof *vk_shaders, compare_name);
            if (!s && t->id == TYPE_F32)
                s = bsearch(kernel_names[k], vk_shaders, vk_n_shaders, sizeof *vk_shaders,
                            compare_name);
            b->shaders[k][t->id] = s;
        }
}

static enum status make_layouts(struct backend *b, struct err *e)
{
    VkDescriptorSetLayoutBinding slots[N_BINDINGS + 1];
    for (uint32_t i = 0; i <= N_BINDINGS; i++)
        slots[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType = i < N_BINDINGS ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                             : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER,
            .descriptorCount = i < N_BINDINGS ? 1 : N_TEXELS,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .flags = b->config.push ? VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT_KHR : 0,
        .bindingCount = N_BINDINGS + 1,
        .pBindings = slots};
    enum status st = VK(b, e, vkCreateDescriptorSetLayout(b->device, &set, NULL, &b->set_layout));
    if (st) return st;
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(struct params)};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &b->set_layout,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &range};
    return VK(b, e, vkCreatePipelineLayout(b->device, &layout, NULL, &b->pipeline_layout));
}

/* Without push descriptors: a set for each dispatch of a batch, written anew every time. */
static enum status make_sets(struct backend *b, struct err *e)
{
    VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, MAX_SETS * N_BINDINGS},
                                    {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, MAX_SETS * N_TEXELS}};
    VkDescriptorPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = MAX_SETS,
                                       .poolSizeCount = 2,
                                       .pPoolSizes = sizes};
    b->sets = alloc_array(MAX_SETS, sizeof *b->sets);
    VkDescriptorSetLayout *layouts = alloc_array(MAX_SETS, sizeof *layouts);
    enum status st = ST_OK;
    if (!b->sets || !layouts) st = fail(e, ST_NOMEM, "out of memory for descriptor sets");
    if (!st) st = VK(b, e, vkCreateDescriptorPool(b->device, &pool, NULL, &b->set_pool));
    for (int i = 0; !st && i < MAX_SETS; i++) layouts[i] = b->set_layout;
    VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                        .descriptorPool = b->set_pool,
                                        .descriptorSetCount = MAX_SETS,
                                        .pSetLayouts = layouts};
    if (!st) st = VK(b, e, vkAllocateDescriptorSets(b->device, &info, b->sets));
    free(layouts);
    return st;
}

enum status vk_pipelines_open(struct backend *b, struct err *e)
{
    find_shaders(b);
    b->pipelines = alloc_array(MAX_PIPELINES, sizeof *b->pipelines);
    if (!b->pipelines) return fail(e, ST_NOMEM, "out of memory for pipelines");
    enum status st = make_layouts(b, e);
    if (!st && !b->config.push) st = make_sets(b, e);
    if (st) return st;
    void *data;
    size_t size = vk_cache_load(b, &data);
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = size,
                                      .pInitialData = data};
    st = VK(b, e, vkCreatePipelineCache(b->device, &info, NULL, &b->pipeline_cache));
    free(data);
    return st;
}

static void store_cache(struct backend *b)
{
    size_t size = 0;
    if (!b->cache_dirty || b->lost ||
        b->vkGetPipelineCacheData(b->device, b->pipeline_cache, &size, NULL) || size == 0)
        return;
    void *data = alloc_array(1, size);
    if (data && b->vkGetPipelineCacheData(b->device, b->pipeline_cache, &size, data) == VK_SUCCESS)
        vk_cache_store(b, data, size);
    free(data);
}

void vk_pipelines_close(struct backend *b)
{
    if (b->pipeline_cache) store_cache(b);
    for (uint32_t i = 0; b->pipelines && i < MAX_PIPELINES; i++)
        if (b->pipelines[i].handle) b->vkDestroyPipeline(b->device, b->pipelines[i].handle, NULL);
    b->vkDestroyPipelineCache(b->device, b->pipeline_cache, NULL);
    b->vkDestroyDescriptorPool(b->device, b->set_pool, NULL);
    b->vkDestroyPipelineLayout(b->device, b->pipeline_layout, NULL);
    b->vkDestroyDescriptorSetLayout(b->device, b->set_layout, NULL);
}

/* Opcodes and numbers of SPIR-V that the patch below needs. */
enum {
    OP_ENTRY_POINT = 15,
    OP_EXECUTION_MODE = 16,
    OP_CAPABILITY = 17,
    CAPABILITY_FLOAT16 = 9,
    SPIRV_HEADER = 5,
    MODE_WORDS = 4 * (2 + 4) /* at most that many are added */
};

struct float_mode {
    uint32_t mode, capability, width;
    bool there;
};

static bool uses_halves(const struct shader *s)
{
    for (size_t at = SPIRV_HEADER; at < s->n_words; at += s->words[at] >> 16) {
        if ((s->words[at] & 0xffff) != OP_CAPABILITY) return false; /* they come first */
        if (s->words[at + 1] == CAPABILITY_FLOAT16) return true;
    }
    return false;
}

/* The shader with execution modes for what the device promises about binary32: subnormals kept;
 * zeros' signs, infinities and NaN respected (of binary16 too, if the shader has it); rounding to
 * nearest even. One module serves all devices, each promising something else. Returns the number of
 * words; out has room for MODE_WORDS more. */
static size_t add_float_modes(const struct backend *b, const struct shader *s, uint32_t *out)
{
    const struct float_mode modes[] = {{4459, 4464, 32, b->caps.denorm_preserve},
                                       {4461, 4466, 32, b->caps.special_preserve},
                                       {4461, 4466, 16, b->caps.half && uses_halves(s)},
                                       {4462, 4467, 32, b->caps.round_to_even}};
    const size_t n_modes = sizeof modes / sizeof *modes;
    size_t n = SPIRV_HEADER;
    bool done = false;
    memcpy(out, s->words, SPIRV_HEADER * 4);
    for (size_t m = 0; m < n_modes; m++)
        if (modes[m].there) {
            out[n++] = 2u << 16 | OP_CAPABILITY;
            out[n++] = modes[m].capability;
        }
    uint32_t entry = 0;
    for (size_t at = SPIRV_HEADER; at < s->n_words;) {
        uint32_t len = s->words[at] >> 16, op = s->words[at] & 0xffff;
        if (op == OP_ENTRY_POINT) entry = s->words[at + 2];
        if (op == OP_EXECUTION_MODE && !done) {
            for (size_t m = 0; m < n_modes; m++)
                if (modes[m].there) {
                    const uint32_t line[] = {4u << 16 | OP_EXECUTION_MODE, entry, modes[m].mode,
                                             modes[m].width};
                    memcpy(out + n, line, sizeof line);
                    n += 4;
                }
            done = true;
        }
        memcpy(out + n, s->words + at, len * 4);
        n += len;
        at += len;
    }
    return n;
}

static enum status make_module(struct backend *b, const struct shader *s, VkShaderModule *out,
                               struct err *e)
{
    uint32_t *words = alloc_array(s->n_words + MODE_WORDS, 4);
    if (!words) return fail(e, ST_NOMEM, "out of memory for shader %s", s->name);
    size_t n = add_float_modes(b, s, words);
    VkShaderModuleCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = n * 4, .pCode = words};
    enum status st = VK(b, e, vkCreateShaderModule(b->device, &info, NULL, out));
    free(words);
    return st;
}

static enum status make_pipeline(struct backend *b, const struct dispatch *d, VkPipeline *out,
                                 struct err *e)
{
    const struct shader *s = b->shaders[d->kernel][d->type];
    if (!s)
        return fail(e, ST_UNSUPPORTED, "no shader %s for %s", kernel_names[d->kernel],
                    type_by_id(d->type)->name);
    VkShaderModule module;
    enum status st = make_module(b, s, &module, e);
    if (st) return st;
    VkSpecializationMapEntry map[N_SPECS];
    for (uint32_t i = 0; i < N_SPECS; i++) map[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
    VkSpecializationInfo spec = {N_SPECS, map, sizeof d->spec, d->spec};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
        .requiredSubgroupSize = b->config.force_size};
    bool force = b->config.force_size && b->caps.size_control;
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = force ? &size : NULL,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &spec},
        .layout = b->pipeline_layout};
    st = VK(b, e, vkCreateComputePipelines(b->device, b->pipeline_cache, 1, &info, NULL, out));
    if (st) fail_prefix(e, "shader %s", s->name);
    b->vkDestroyShaderModule(b->device, module, NULL);
    b->cache_dirty = true;
    return st;
}

static struct pipeline_entry *find_entry(struct backend *b, const uint32_t *key)
{
    uint32_t h = 2166136261u;
    for (int i = 0; i < 2 + N_SPECS; i++) h = (h ^ key[i]) * 16777619u;
    struct pipeline_entry *p;
    do {
        p = &b->pipelines[h++ % MAX_PIPELINES];
    } while (p->handle && memcmp(p->key, key, sizeof p->key) != 0);
    return p;
}

enum status vk_pipeline(struct backend *b, const struct dispatch *d, VkPipeline *out, struct err *e)
{
    uint32_t key[2 + N_SPECS] = {(uint32_t)d->kernel, (uint32_t)d->type};
    memcpy(key + 2, d->spec, sizeof d->spec);
    struct pipeline_entry *p = find_entry(b, key);
    if (!p->handle) {
        if (b->n_pipelines >= MAX_PIPELINES / 2)
            return fail(e, ST_NOMEM, "more than %d pipelines", MAX_PIPELINES / 2);
        enum status st = make_pipeline(b, d, &p->handle, e);
        if (st) return st;
        memcpy(p->key, key, sizeof key);
        b->n_pipelines++;
    }
    *out = p->handle;
    const struct shader *s = b->shaders[d->kernel][d->type];
    snprintf(b->variant, sizeof b->variant, "%s", s->name);
    for (char *c = b->variant; *c; c++)
        if (*c == '.') *c = '_';
    return ST_OK;
}
