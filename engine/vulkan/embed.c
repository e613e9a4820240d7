/* Build tool: writes SPIR-V modules as one C file. embed OUT.c MODULE.spv ...: the array
 * vk_shaders of vk.h, sorted by name (the file's name without .spv). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_name(const void *a, const void *b)
{
    const char *x = base_name(*(const char *const *)a), *y = base_name(*(const char *const *)b);
    size_t nx = strlen(x) - 4, ny = strlen(y) - 4, n = nx < ny ? nx : ny;
    int d = strncmp(x, y, n);
    return d ? d : nx < ny ? -1 : nx > ny;
}

static int embed(FILE *out, const char *path, int i)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    fprintf(out, "static const uint32_t s%d[] = {", i);
    uint8_t w[4];
    for (size_t n = 0; fread(w, 4, 1, f) == 1; n++)
        fprintf(out, "%s0x%x,", n % 12 ? "" : "\n",
                w[0] | (unsigned)w[1] << 8 | (unsigned)w[2] << 16 | (unsigned)w[3] << 24);
    fprintf(out, "\n};\n");
    int bad = ferror(f);
    fclose(f);
    return bad;
}

int main(int argc, char **argv)
{
    FILE *out = argc > 2 ? fopen(argv[1], "w") : NULL;
    if (!out) {
        fprintf(stderr, "usage: embed OUT.c MODULE.spv ...\n");
        return 1;
    }
    int n = argc - 2, bad = 0;
    qsort(argv + 2, (size_t)n, sizeof *argv, by_name);
    fprintf(out, "/* Made by engine/vulkan/embed.c. */\n#include \"engine/vulkan/vk.h\"\n");
    for (int i = 0; i < n; i++) bad |= embed(out, argv[i + 2], i);
    fprintf(out, "const struct shader vk_shaders[] = {\n");
    for (int i = 0; i < n; i++) {
        const char *name = base_name(argv[i + 2]);
        fprintf(out, "{\"%.*s\", s%d, sizeof s%d / 4},\n", (int)strlen(name) - 4, name, i, i);
    }
    fprintf(out, "};\nconst size_t vk_n_shaders = %d;\n", n);
    return fclose(out) || bad;
}
