/* assay devices: every device of every backend, and why there is none. */
#include "command/commands.h"
#include "engine/backend.h"
#include "base/terminal.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay devices [options]\n\n"
    "Lists the devices of every backend: driver, version, memory, subgroup size, and the features\n"
    "that the backend uses or misses. A backend without a device is listed with the reason.\n\n",
    "A device is chosen by --subject vulkan:1, or by ASSAY_VULKAN_DEVICE or ASSAY_CUDA_DEVICE.\n"
    "Words after it force the kernels that another device would get: --subject "
    "vulkan+reduce+half.\n\n"
    "Exit status: 0 listed, 1 the file cannot be written, 2 usage.\n",
};

static void print_bytes(uint64_t n)
{
    const char *units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    int u = 0;
    for (; v >= 1024 && u < 4; u++) v /= 1024;
    printf("  memory    %.*f %s\n", u ? 1 : 0, v, units[u]);
}

static void print_text(const char *label, const char *text)
{
    if (text[0]) printf("  %-9s %s\n", label, text);
}

static void print_device(const struct device_info *d, const char *words)
{
    printf("%s%s%s\n", terminal_color("bold"), d->subject, terminal_color("reset"));
    print_text("name", d->name);
    print_text("driver", d->driver);
    print_text("version", d->api);
    if (d->memory_bytes) print_bytes(d->memory_bytes);
    if (d->subgroup_size) printf("  subgroups of %u\n", d->subgroup_size);
    print_text("features", d->features);
    print_text("words", words);
}

static json_t *device_json(const struct device_info *d)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:s}", "subject", d->subject, "name", d->name,
                     "driver", d->driver, "api", d->api, "memory_bytes",
                     (json_int_t)d->memory_bytes, "subgroup_size", (int)d->subgroup_size,
                     "features", d->features);
}

/* Why a backend has no device: it was left out of the build, or it says so itself. */
static void absence(const char *name, struct err *why)
{
    const struct backend_ops *ops = backend_by_name(name);
    struct backend *b = NULL;
    struct device_info d;
    if (ops)
        ops->describe(0, &d, why);
    else
        backend_open(&b, name, NULL, why);
    backend_close(b);
}

static void list_backend(const char *name, bool print, json_t *devices, json_t *absent)
{
    const struct backend_ops *ops = backend_by_name(name);
    uint32_t n = 0;
    struct device_info d = {0};
    for (struct err e = {0}; ops && ops->describe(n, &d, &e) == ST_OK; n++) {
        if (print) print_device(&d, ops->words);
        json_array_append_new(devices, device_json(&d));
    }
    if (n > 0) return;
    struct err why = {0};
    absence(name, &why);
    if (print)
        printf("%s%s%s\n  none      %s\n", terminal_color("bold"), name, terminal_color("reset"),
               why.text);
    json_array_append_new(absent, json_pack("{s:s, s:s}", "backend", name, "reason", why.text));
}

static int write_json(json_t *root, const char *path)
{
    struct err e = {0};
    bool to_stdout = strcmp(path, "-") == 0;
    int bad = to_stdout ? json_dumpf(root, stdout, JSON_INDENT(2))
                        : json_dump_file(root, path, JSON_INDENT(2));
    if (!bad) {
        if (to_stdout) putchar('\n');
        return EXIT_PASS;
    }
    fail(&e, ST_IO, "%s: cannot be written", path);
    return cmd_error("devices", &e);
}

int cmd_devices(int argc, char **argv)
{
    const char *path = NULL;
    const struct option_row rows[] = {
        {"json", OPTION_TEXT, &path, .argument = "FILE",
         .help = "write it as JSON too; '-' writes only that, to standard output"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0) return code;
    if (optind != argc) return cmd_usage("devices", "no name is wanted: '%s'", argv[optind]);
    json_t *devices = json_array(), *absent = json_array();
    const char *name;
    for (size_t i = 0; (name = backend_name_at(i)); i++)
        list_backend(name, !path || strcmp(path, "-") != 0, devices, absent);
    json_t *root = json_pack("{s:o, s:o}", "devices", devices, "absent", absent);
    code = path ? write_json(root, path) : EXIT_PASS;
    json_decref(root);
    return code;
}
