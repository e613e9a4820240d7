/* Building a mutated program: a tree of links to the sources with one file exchanged, the sources
 * that the row names compiled in it with the build's own commands, less optimised, and linked in
 * front of the build's libraries, whose members they replace. See mutant.h. */
#include "mutants/mutant.h"
#include "base/paths.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_LEN = 4096 };

/* Text that grows. Without memory for all of it there is no text: s is NULL and stays so, as in all
 * texts to which it is added. */
struct text {
    char *s;
    size_t len, cap;
    bool failed;
};

static void put(struct text *t, const char *s, size_t n)
{
    size_t cap;
    if (t->failed) return;
    if (!s || !add_size(t->len, n, &cap) || !mul_size(cap + 1, 2, &cap)) {
        t->failed = true;
    } else if (t->len + n + 1 > t->cap) {
        char *grown = realloc(t->s, cap);
        t->failed = !grown;
        if (grown) t->s = grown, t->cap = cap;
    }
    if (t->failed) {
        free(t->s);
        t->s = NULL;
        return;
    }
    memcpy(t->s + t->len, s, n);
    t->len += n;
    t->s[t->len] = 0;
}

static void puts_to(struct text *t, const char *s)
{
    put(t, s, s ? strlen(s) : 0);
}

int mutant_shell(const char *command, const char *log)
{
    pid_t pid = fork();
    if (pid == 0) {
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
        if (out < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- what the build says -------------------------------------------------------------------- */

static enum status load_json(json_t **out, const char *dir, const char *name, struct err *e)
{
    char path[PATH_LEN];
    json_error_t je;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    *out = json_load_file(path, 0, &je);
    if (*out) return ST_OK;
    return fail(e, ST_IO, "%s: %s; mutants need a build tree (--build DIR)", path, je.text);
}

enum status mutant_build_open(struct mutant_build *b, const char *dir, struct err *e)
{
    char full[PATH_LEN] = "";
    *b = (struct mutant_build){0};
    if (!realpath(dir, full)) return fail(e, ST_IO, "%s: %s", dir, strerror(errno));
    b->dir = strdup(full);
    if (!b->dir) return fail(e, ST_NOMEM, "no memory");
    enum status st = load_json(&b->config, full, "mutants.json", e);
    if (st == ST_OK) st = load_json(&b->commands, full, "compile_commands.json", e);
    if (st == ST_OK) b->source = json_string_value(json_object_get(b->config, "source"));
    if (st == ST_OK && !b->source) st = fail(e, ST_FORMAT, "mutants.json names no source tree");
    if (st != ST_OK) mutant_build_close(b);
    return st;
}

void mutant_build_close(struct mutant_build *b)
{
    json_decref(b->config);
    json_decref(b->commands);
    free(b->dir);
    *b = (struct mutant_build){0};
}

static const char *config_text(const struct mutant_build *b, const char *key)
{
    const char *s = json_string_value(json_object_get(b->config, key));
    return s ? s : "";
}

/* ---- the tree ------------------------------------------------------------------------------- */

/* Directories of their own and links to all files: a quoted include finds what lies beside the
 * file that includes, so a single exchanged file is seen by all of them. */
static enum status link_tree(const char *from, const char *to, struct err *e)
{
    enum status st = path_make(to, e);
    DIR *d = opendir(from);
    if (!d) return fail(e, ST_IO, "%s: %s", from, strerror(errno));
    for (struct dirent *f; st == ST_OK && (f = readdir(d));) {
        char source[PATH_LEN], link[PATH_LEN];
        struct stat s;
        if (f->d_name[0] == '.') continue;
        snprintf(source, sizeof source, "%s/%s", from, f->d_name);
        snprintf(link, sizeof link, "%s/%s", to, f->d_name);
        if (stat(source, &s) != 0) continue;
        if (S_ISDIR(s.st_mode))
            st = link_tree(source, link, e);
        else if (symlink(source, link) != 0)
            st = fail(e, ST_IO, "%s: %s", link, strerror(errno));
    }
    closedir(d);
    return st;
}

void mutant_clean(const char *scratch)
{
    DIR *d = opendir(scratch);
    for (struct dirent *f; d && (f = readdir(d));) {
        char path[PATH_LEN];
        struct stat s;
        if (strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0) continue;
        snprintf(path, sizeof path, "%s/%s", scratch, f->d_name);
        if (lstat(path, &s) == 0 && S_ISDIR(s.st_mode))
            mutant_clean(path);
        else
            unlink(path);
    }
    if (d) closedir(d);
    rmdir(scratch);
}

static enum status mutate(const struct mutant_build *b, const struct mutant *m, const char *scratch,
                          struct err *e)
{
    char from[PATH_LEN], to[PATH_LEN], *edited = NULL;
    struct file f;
    struct file_writer *w = NULL;
    snprintf(from, sizeof from, "%s/%s", b->source, m->file);
    snprintf(to, sizeof to, "%s/%s", scratch, m->file);
    if (strncmp(m->file, "engine/", 7) != 0)
        return fail(e, ST_FORMAT, "%s: %s is not below engine/", m->where, m->file);
    enum status st = file_open(&f, from, e);
    if (st != ST_OK) return ST_FORMAT;
    struct text text = {0};
    put(&text, (const char *)f.bytes.data, f.bytes.size);
    file_close(&f);
    st = text.failed ? fail(e, ST_NOMEM, "no memory for %s", from)
                     : mutant_edit(&edited, text.s, m, e);
    free(text.s);
    unlink(to);
    if (st == ST_OK) st = file_create(&w, to, e);
    if (st == ST_OK) st = file_write(w, edited, strlen(edited), e);
    if (st == ST_OK)
        st = file_commit(w, e);
    else if (w)
        file_abort(w);
    free(edited);
    return st;
}

/* ---- compiling ------------------------------------------------------------------------------ */

/* The command with the sources' folder exchanged for the mutated one. */
static void retarget(struct text *out, const struct mutant_build *b, const char *command,
                     const char *scratch)
{
    char folder[PATH_LEN];
    int n = snprintf(folder, sizeof folder, "%s/engine", b->source);
    for (const char *at; (at = strstr(command, folder)); command = at + n) {
        put(out, command, (size_t)(at - command));
        puts_to(out, scratch);
        puts_to(out, "/engine");
    }
    puts_to(out, command);
}

/* The build's command for a source; kernels of cuda-sim have one for each of its builds. */
static const char *command_of(const struct mutant_build *b, const char *source, const char *build)
{
    size_t i;
    json_t *row;
    char define[64];
    snprintf(define, sizeof define, "SIM_BUILD=%s ", build);
    json_array_foreach(b->commands, i, row)
    {
        const char *file = json_string_value(json_object_get(row, "file"));
        const char *command = json_string_value(json_object_get(row, "command"));
        if (!file || !command || strcmp(file, source) != 0) continue;
        if (!strstr(command, "SIM_BUILD=") || strstr(command, define)) return command;
    }
    return NULL;
}

/* Appends a command that compiles source as object n: all but the place of the output and the
 * optimisation is the build's. Includes are written from the root of the tree, so the scratch
 * directory, which has the mutated engine/, is searched before the build's own directories. */
static enum status add_compile(struct text *script, const struct mutant_build *b,
                               const char *source, const char *build, const char *object,
                               const char *scratch, struct err *e)
{
    const char *command = command_of(b, source, build);
    const char *out = command ? strstr(command, " -o ") : NULL;
    if (!out) return fail(e, ST_FORMAT, "the build does not compile %s", source);
    struct text t = {0};
    const char *first = strstr(command, " -I");
    if (!first || first > out) first = out;
    put(&t, command, (size_t)(first - command));
    puts_to(&t, " -I");
    puts_to(&t, scratch);
    put(&t, first, (size_t)(out - first));
    puts_to(&t, " -O1 -g0 -w -o ");
    puts_to(&t, object);
    puts_to(&t, out + 4 + strcspn(out + 4, " "));
    if (t.failed)
        put(script, NULL, 0);
    else
        retarget(script, b, t.s, scratch);
    puts_to(script, " &&\n");
    free(t.s);
    return ST_OK;
}

static enum status compile_units(struct text *script, struct text *objects,
                                 const struct mutant_build *b, const struct mutant *m,
                                 const char *scratch, struct err *e)
{
    enum status st = ST_OK;
    const char *build = strcmp(m->variant, "check") == 0 ? "check" : "fast";
    int n = 0;
    for (const char *at = m->units; st == ST_OK && *at; n++) {
        char source[PATH_LEN], object[PATH_LEN];
        size_t len = strcspn(at, " ");
        snprintf(source, sizeof source, "%s/%.*s", b->source, (int)len, at);
        snprintf(object, sizeof object, "%s/unit%d.o", scratch, n);
        st = add_compile(script, b, source, build, object, scratch, e);
        puts_to(objects, " ");
        puts_to(objects, object);
        at += len + strspn(at + len, " ");
    }
    return st;
}

/* Is a source of the tree, "engine/cuda/queue.c", compiled in this build? */
static bool is_compiled(const struct mutant_build *b, const char *source, size_t len)
{
    char path[PATH_LEN];
    snprintf(path, sizeof path, "%s/%.*s", b->source, (int)len, source);
    return command_of(b, path, "fast") != NULL;
}

void mutants_leave_out(struct mutant_list *l, const struct mutant_build *b)
{
    const char *folder;
    json_t *backend;
    for (size_t i = 0; i < l->n; i++) {
        struct mutant *m = &l->rows[i];
        for (const char *at = m->units; *at;) {
            size_t len = strcspn(at, " ");
            json_object_foreach(json_object_get(b->config, "left_out"), folder, backend)
            {
                if (strncmp(at, folder, strlen(folder)) == 0 && !is_compiled(b, at, len))
                    m->left_out = json_string_value(backend);
            }
            at += len + strspn(at + len, " ");
        }
    }
}

/* ---- shaders -------------------------------------------------------------------------------- */

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Shaders of no type, and of those for types what the cases need: an operation reads rows or
 * multiplies, in the type that the filter names; a model also has weights in f32. The others are
 * left out of the mutated program, which says so when a case asks for one. */
static bool shader_needed(const char *name, const char *filter)
{
    const char *type = strchr(name, '.');
    if (!type) return true;
    bool reads = starts(filter, "decode.") || starts(filter, "ops.get_rows.");
    if (reads || starts(filter, "ops.")) {
        bool used = starts(name, "get_rows") ? reads : starts(filter, "ops.mat");
        if (!used) return false;
    } else if (strcmp(type, ".f32") == 0) {
        return true;
    }
    for (const char *p = filter; *p; p++) {
        size_t i = 0;
        while (type[i] && tolower((unsigned char)p[i]) == type[i]) i++;
        if (!type[i] && (p[i] == '.' || !p[i])) return true;
    }
    return false;
}

static bool depends_on(const char *dir, const char *name, const char *file)
{
    char path[PATH_LEN];
    struct file f;
    struct err e = {0};
    snprintf(path, sizeof path, "%s/%s.d", dir, name);
    if (file_open(&f, path, &e) != ST_OK) return false;
    struct text t = {0};
    put(&t, (const char *)f.bytes.data, f.bytes.size);
    file_close(&f);
    bool found = t.failed || strstr(t.s, file) != NULL;
    free(t.s);
    return found;
}

static enum status compile_shaders(struct text *script, struct text *objects,
                                   const struct mutant_build *b, const struct mutant *m,
                                   const char *scratch, struct err *e)
{
    size_t i, n = 0;
    json_t *row;
    const char *dir = config_text(b, "shader_dir");
    char generated[PATH_LEN], table[PATH_LEN], object[PATH_LEN];
    struct text embed = {0}, command = {0};
    snprintf(generated, sizeof generated, "%s/../shaders.c", dir);
    snprintf(table, sizeof table, "%s/shaders.c", scratch);
    snprintf(object, sizeof object, "%s/shaders.o", scratch);
    puts_to(&embed, config_text(b, "embed"));
    puts_to(&embed, " ");
    puts_to(&embed, table);
    json_array_foreach(json_object_get(b->config, "shaders"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (!shader_needed(name, m->filter)) continue;
        bool affected = depends_on(dir, name, m->file);
        puts_to(&embed, " ");
        puts_to(&embed, affected ? scratch : dir);
        puts_to(&embed, "/");
        puts_to(&embed, name);
        puts_to(&embed, ".spv");
        if (!affected) continue;
        n++;
        command.len = 0;
        puts_to(&command, json_string_value(json_object_get(row, "command")));
        puts_to(&command, " -o ");
        puts_to(&command, scratch);
        puts_to(&command, "/");
        puts_to(&command, name);
        puts_to(&command, ".spv &&\n");
        if (!command.failed) retarget(script, b, command.s, scratch);
    }
    enum status st = n ? ST_OK : fail(e, ST_FORMAT, "%s: no shader includes %s", m->where, m->file);
    char *real = realpath(generated, NULL);
    const char *compile = real ? command_of(b, real, "") : NULL;
    const char *out = compile ? strstr(compile, " -o ") : NULL;
    if (st == ST_OK && !out) st = fail(e, ST_FORMAT, "the build does not compile %s", generated);
    if (st == ST_OK) {
        puts_to(script, command.failed ? NULL : embed.s);
        puts_to(script, " &&\n");
        put(script, compile, (size_t)(out - compile));
        puts_to(script, " -O0 -g0 -w -o ");
        puts_to(script, object);
        puts_to(script, " -c ");
        puts_to(script, table);
        puts_to(script, " &&\n");
        puts_to(objects, " ");
        puts_to(objects, object);
    }
    free(real);
    free(embed.s);
    free(command.s);
    return st;
}

/* ---- all together --------------------------------------------------------------------------- */

static bool is_shader(const char *file)
{
    size_t n = strlen(file);
    return n > 5 && (strcmp(file + n - 5, ".comp") == 0 || strcmp(file + n - 5, ".glsl") == 0);
}

enum status mutant_make(const struct mutant_build *b, const struct mutant *m, const char *scratch,
                        struct err *e)
{
    char from[PATH_LEN], to[PATH_LEN], log[PATH_LEN];
    struct text script = {0}, objects = {0};
    mutant_clean(scratch);
    snprintf(from, sizeof from, "%s/engine", b->source);
    snprintf(to, sizeof to, "%s/engine", scratch);
    snprintf(log, sizeof log, "%s/log", scratch);
    enum status st = link_tree(from, to, e);
    if (st == ST_OK && m->from) st = mutate(b, m, scratch, e);
    puts_to(&script, "cd '");
    puts_to(&script, b->dir);
    puts_to(&script, "' &&\n");
    if (st == ST_OK)
        st = (is_shader(m->file) ? compile_shaders : compile_units)(&script, &objects, b, m,
                                                                    scratch, e);
    if (st == ST_OK) {
        puts_to(&script, config_text(b, "link"));
        puts_to(&script, " -o ");
        puts_to(&script, scratch);
        puts_to(&script, "/assay");
        puts_to(&script, objects.s);
        puts_to(&script, " ");
        puts_to(&script, config_text(b, "libraries"));
        if (script.failed)
            st = fail(e, ST_NOMEM, "no memory for the commands that build %s", m->name);
        else if (mutant_shell(script.s, log) != 0)
            st = fail(e, ST_IO, "%s does not build: see %s", m->name, log);
    }
    free(script.s);
    free(objects.s);
    return st;
}
