/* The environment of a run; see environment.h. */
#include "reports/environment.h"
#include "reports/build_info.h"
#include "reports/report_json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

static void cpu_name(char *out, size_t cap)
{
    snprintf(out, cap, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) != 0) continue;
        char *value = strchr(line, ':');
        if (!value) break;
        value[strcspn(value, "\n")] = 0;
        snprintf(out, cap, "%s", value + 2);
        break;
    }
    if (f) fclose(f);
}

json_t *environment_unknown(void)
{
    static const char *const texts[] = {"host", "kernel", "cpu", "compiler", "flags"};
    static const char *const lists[] = {"devices", "libraries", "models"};
    json_t *env = json_object();
    for (size_t i = 0; i < 5; i++) json_object_set_new(env, texts[i], json_string("unknown"));
    for (size_t i = 0; i < 3; i++) json_object_set_new(env, lists[i], json_array());
    json_object_set_new(env, "vectors_sha256", json_null());
    return env;
}

json_t *environment_make(void)
{
    struct utsname u = {0};
    char cpu[256], line[512];
    uname(&u);
    cpu_name(cpu, sizeof cpu);
    snprintf(line, sizeof line, "%.64s %.128s %.64s", u.sysname, u.release, u.machine);
    json_t *env = environment_unknown(), *libs = json_object_get(env, "libraries");
    json_object_set_new(env, "host", report_text(u.nodename));
    json_object_set_new(env, "kernel", report_text(line));
    json_object_set_new(env, "cpu", report_text(cpu));
    json_object_set_new(env, "compiler", report_text(build_info.compiler));
    json_object_set_new(env, "flags", report_text(build_info.flags));
    snprintf(line, sizeof line, "jansson %s", JANSSON_VERSION);
    json_array_append_new(libs, json_string(line));
    snprintf(line, sizeof line, "zlib %s", build_info.zlib);
    json_array_append_new(libs, json_string(line));
    return env;
}

/* Writes name and version of a shared object: "libz 1.2.13" for a path that ends in libz.so.1.2.13.
 * Returns false if the path is not one of a shared object. */
static bool library_name(const char *path, char *out, size_t cap)
{
    const char *base = strrchr(path, '/') + 1, *so = strstr(base, ".so");
    if (!so || (so[3] != '.' && so[3] != 0)) return false;
    snprintf(out, cap, "%.*s%s%s", (int)(so - base), base, so[3] ? " " : "", so[3] ? so + 4 : "");
    return true;
}

static bool holds(const json_t *texts, const char *text)
{
    for (size_t i = 0; i < json_array_size(texts); i++)
        if (strcmp(json_string_value(json_array_get(texts, i)), text) == 0) return true;
    return false;
}

void environment_libraries(json_t *env)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char line[4400], name[256];
    json_t *libs = json_object_get(env, "libraries");
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0;
        const char *path = strchr(line, '/');
        if (path && library_name(path, name, sizeof name) && !holds(libs, name))
            json_array_append_new(libs, report_text(name));
    }
    if (f) fclose(f);
}
