/* The driver's pipeline cache on disk: one file per driver and per set of shaders, checked by a sum
 * of its own, since drivers trust what they are given. A file that does not fit is ignored. */
#include "engine/vulkan/vk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct cache_header {
    char magic[8];
    uint64_t size, sum;
};

static const char magic[8] = {'A', 'S', 'S', 'A', 'Y', 'V', 'K', '1'};

static uint64_t fnv(uint64_t h, const void *data, size_t n)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t shaders_hash(void)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < vk_n_shaders; i++)
        h = fnv(h, vk_shaders[i].words, vk_shaders[i].n_words * 4);
    return h;
}

static bool cache_folder(char *out, size_t cap)
{
    const char *own = getenv("ASSAY_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int n = own && *own     ? snprintf(out, cap, "%s", own)
            : xdg && *xdg   ? snprintf(out, cap, "%s/assay", xdg)
            : home && *home ? snprintf(out, cap, "%s/.cache/assay", home)
                            : -1;
    if (n <= 0 || (size_t)n >= cap) return false;
    for (char *p = out + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(out, 0777);
            *p = '/';
        }
    struct stat s;
    mkdir(out, 0777);
    return stat(out, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool cache_path(const struct backend *b, char *out, size_t cap)
{
    char folder[400], uuid[2 * VK_UUID_SIZE + 1];
    if (!cache_folder(folder, sizeof folder)) return false;
    for (size_t i = 0; i < VK_UUID_SIZE; i++)
        snprintf(uuid + 2 * i, 3, "%02x", b->caps.driver_uuid[i]);
    uint64_t h = fnv(shaders_hash(), b->caps.props.pipelineCacheUUID, VK_UUID_SIZE);
    int n = snprintf(out, cap, "%s/vulkan-%s-%016llx.bin", folder, uuid, (unsigned long long)h);
    return n > 0 && (size_t)n < cap;
}

size_t vk_cache_load(struct backend *b, void **data)
{
    char path[512];
    *data = NULL;
    FILE *f = cache_path(b, path, sizeof path) ? fopen(path, "rb") : NULL;
    if (!f) return 0;
    struct cache_header h;
    size_t size = 0;
    if (fread(&h, sizeof h, 1, f) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 && h.size > 0 &&
        h.size < (UINT64_C(1) << 30)) {
        *data = alloc_array(1, h.size);
        if (*data && fread(*data, 1, h.size, f) == h.size && fgetc(f) == EOF &&
            fnv(0, *data, h.size) == h.sum)
            size = h.size;
    }
    fclose(f);
    if (size == 0) {
        free(*data);
        *data = NULL;
    }
    return size;
}

void vk_cache_store(struct backend *b, const void *data, size_t size)
{
    char path[512];
    struct cache_header h = {.size = size, .sum = fnv(0, data, size)};
    memcpy(h.magic, magic, sizeof magic);
    struct file_writer *w;
    if (!cache_path(b, path, sizeof path) || file_create(&w, path, NULL)) return;
    if (file_write(w, &h, sizeof h, NULL) || file_write(w, data, size, NULL))
        file_abort(w);
    else
        file_commit(w, NULL);
}
