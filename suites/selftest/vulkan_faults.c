/* The suite of what fails on a device: calls of the Vulkan driver that fail, one at a time, at
 * their first, a middle and their last time while a model is loaded and evaluated. Each must be
 * told by name, and nothing may be left behind. engine/vulkan/test/faulty.c makes them fail. */
#include "selftest/selftest.h"
#include "harness/harness.h"
#include "engine/backend.h"
#include "engine/engine.h"
#include "harness/files.h"
#include "engine/gguf/gguf.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef ASSAY_VULKAN_FAULTY

/* VkResult, as far as it is used here. */
enum { OUT_OF_HOST_MEMORY = -1, OUT_OF_DEVICE_MEMORY = -2, DEVICE_LOST = -4 };

static const struct failure {
    const char *function;
    int result;
    enum status st;
    const char *told; /* besides the function: the result, or what was being done */
} failures[] = {
    {"vkCreateInstance", OUT_OF_HOST_MEMORY, ST_NO_DEVICE, "VK_ERROR_OUT_OF_HOST_MEMORY"},
    {"vkCreateDevice", DEVICE_LOST, ST_DEVICE, "VK_ERROR_DEVICE_LOST"},
    {"vkCreateCommandPool", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkAllocateCommandBuffers", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkCreateFence", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkCreateDescriptorSetLayout", OUT_OF_HOST_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_HOST_MEMORY"},
    {"vkCreatePipelineLayout", OUT_OF_HOST_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_HOST_MEMORY"},
    {"vkCreateDescriptorPool", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkAllocateDescriptorSets", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkCreatePipelineCache", OUT_OF_HOST_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_HOST_MEMORY"},
    {"vkCreateShaderModule", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkCreateComputePipelines", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "shader "},
    {"vkCreateBuffer", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkCreateBufferView", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkAllocateMemory", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "buffer of "},
    {"vkBindBufferMemory", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkMapMemory", OUT_OF_HOST_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_HOST_MEMORY"},
    {"vkBeginCommandBuffer", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {"vkEndCommandBuffer", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "while computing"},
    {"vkQueueSubmit", DEVICE_LOST, ST_DEVICE, "while computing"},
    {"vkWaitForFences", DEVICE_LOST, ST_DEVICE, "while computing"},
    {"vkResetFences", OUT_OF_DEVICE_MEMORY, ST_NOMEM, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
};

static const char *const places[] = {"first", "middle", "last"};
enum { N_PLACES = sizeof places / sizeof *places, N_TOKENS = 3 };

struct faulty {
    void *library;
    int (*live)(void);
    int (*calls)(const char *function);
    void (*fail)(const char *function, int after, int result);
};

static bool entry(void *library, const char *name, void *function, size_t size)
{
    void *p = dlsym(library, name);
    memcpy(function, &p, size);
    return p != NULL;
}

static bool faulty_open(struct test *t, struct faulty *f)
{
    setenv("ASSAY_VULKAN_LIBRARY", ASSAY_VULKAN_FAULTY, 1);
    f->library = dlopen(ASSAY_VULKAN_FAULTY, RTLD_NOW | RTLD_LOCAL);
    return test_check(t, f->library != NULL, "%s", f->library ? "" : dlerror()) &&
           test_check(t,
                      entry(f->library, "faulty_live", &f->live, sizeof f->live) &&
                          entry(f->library, "faulty_calls", &f->calls, sizeof f->calls) &&
                          entry(f->library, "faulty_fail", &f->fail, sizeof f->fail),
                      "%s lacks an entry point", ASSAY_VULKAN_FAULTY);
}

/* A model is opened, put onto the device and evaluated; then all is closed. */
static enum status evaluate(const char *path, struct err *e)
{
    const int32_t tokens[N_TOKENS] = {1, 7, 3};
    struct engine_model *m = NULL;
    struct engine_session *s = NULL;
    struct backend *b = NULL;
    enum status st = engine_model_open(&m, path, e);
    if (st == ST_OK) st = backend_open(&b, "vulkan+sets", NULL, e);
    if (st == ST_OK) st = engine_session_open(&s, m, b, NULL, e);
    for (size_t i = 0; i < N_TOKENS && st == ST_OK; i++)
        st = engine_eval(s, tokens + i, 1, false, e);
    engine_session_close(s);
    backend_close(b);
    engine_model_close(m);
    return st;
}

static void check_failure(struct test *t, const struct faulty *f, const struct failure *how,
                          size_t place, const char *path)
{
    struct err clean = {0}, e = {0}, again = {0};
    const int before = f->calls(how->function);
    if (!test_ok(t, evaluate(path, &clean), &clean)) return;
    const int n = f->calls(how->function) - before;
    if (!test_check(t, n > 0, "%s is not called", how->function)) return;
    f->fail(how->function, place == 0 ? 0 : place == 1 ? n / 2 : n - 1, how->result);
    const enum status st = evaluate(path, &e);
    test_check(t, st == how->st, "status %d, not %d: %s", (int)st, (int)how->st, e.text);
    test_check(t, strstr(e.text, how->function) && strstr(e.text, how->told),
               "\"%s\" does not tell %s and %s", e.text, how->function, how->told);
    test_check(t, f->live() == 0, "%d objects were not released after: %s", f->live(), e.text);
    test_check(t, evaluate(path, &again) == ST_OK, "what comes after fails too: %s", again.text);
    test_check(t, f->live() == 0, "%d objects were not released", f->live());
}

static void run_failure(struct test *t, const struct test_case *c)
{
    struct faulty f = {0};
    struct err e = {0};
    struct backend *b = NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/forward/micro-q8_0.gguf.gz", t->options->vectors);
    enum status st = backend_open(&b, c->subject, NULL, &e);
    backend_close(b);
    if (!test_ok(t, st, &e)) return; /* no device: skipped */
    const char *dir = temp_dir(t);   /* its own cache of pipelines, so that all are made */
    if (!dir) return;
    setenv("ASSAY_CACHE", dir, 1);
    if (faulty_open(t, &f)) check_failure(t, &f, c->arg, c->index, path);
    temp_remove(dir);
}

/* The file that holds the cache of pipelines in a directory. */
static bool find_cache(const char *dir, char *out, size_t cap)
{
    DIR *d = opendir(dir);
    bool found = false;
    for (struct dirent *f; d && !found && (f = readdir(d));) {
        found = strncmp(f->d_name, "vulkan-", 7) == 0;
        if (found) snprintf(out, cap, "%s/%.255s", dir, f->d_name);
    }
    if (d) closedir(d);
    return found;
}

/* Cut off, empty, one byte changed, something else. */
enum { N_DAMAGES = 4 };
static bool damage(const char *file, int how)
{
    if (how < 2) return truncate(file, how == 0 ? 40 : 0) == 0;
    FILE *f = fopen(file, how == 2 ? "r+b" : "wb");
    bool ok = f && (how != 2 || fseek(f, 60, SEEK_SET) == 0) && fputs("hello", f) >= 0;
    return f && fclose(f) == 0 && ok;
}

/* A cache that does not fit is not used, and is replaced by one that does. */
static void run_corrupt_cache(struct test *t, const struct test_case *c)
{
    struct err e = {0};
    char path[4096], file[4096 + 300];
    snprintf(path, sizeof path, "%s/forward/micro-q8_0.gguf.gz", t->options->vectors);
    const char *dir = temp_dir(t);
    (void)c;
    if (!dir) return;
    setenv("ASSAY_CACHE", dir, 1);
    for (int how = -1; how < N_DAMAGES && test_ok(t, evaluate(path, &e), &e); how++) {
        if (!test_check(t, find_cache(dir, file, sizeof file), "no cache was written")) break;
        if (how >= 0) test_check(t, damage(file, how), "%s cannot be changed", file);
    }
    temp_remove(dir);
}

void suite_faults(struct case_list *l)
{
    struct test_case c = {.suite = "faults", .subject = "vulkan", .quick = false};
    c.run = run_failure;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        for (c.index = 0; c.index < N_PLACES; c.index++) {
            c.op = failures[i].function;
            c.shape = places[c.index];
            c.arg = &failures[i];
            case_add(l, &c);
        }
    c.op = "pipeline_cache", c.shape = "corrupt", c.run = run_corrupt_cache;
    case_add(l, &c);
}

#else

void suite_faults(struct case_list *l)
{
    (void)l;
}

#endif
