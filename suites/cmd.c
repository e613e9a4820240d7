/* What the subcommands share; see cmd.h. */
#define _XOPEN_SOURCE 700 /* wcwidth */
#include "build_info.h"
#include "cmd.h"
#include "info.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

int cmd_error(const char *command, const struct err *e)
{
    progress_end();
    fprintf(stderr, "assay %s: %s\n", command, e->text);
    if (e->st == ST_USAGE) return EXIT_USAGE;
    if (e->st == ST_NO_DEVICE) return EXIT_NOTHING;
    return EXIT_FAIL;
}

int cmd_usage(const char *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    progress_end();
    fprintf(stderr, "assay %s: ", command);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "; see 'assay %s --help'\n", command);
    va_end(ap);
    return EXIT_USAGE;
}

bool parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    if (*s < '0' || *s > '9') return false;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno || *end || v < min || v > max) return false;
    *out = v;
    return true;
}

bool parse_f64(const char *s, double *out)
{
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (end == s || *end || errno || !(v - v == 0)) return false;
    *out = v;
    return true;
}

/* ---- progress ---------------------------------------------------------------------------- */

static bool progress_drawn;

void progress_show(const char *what, size_t done, size_t total)
{
    static double last;
    if (!isatty(STDERR_FILENO)) return;
    double now = now_seconds();
    if (progress_drawn && now - last < 0.05 && done < total) return;
    last = now;
    progress_drawn = true;
    struct winsize w = {0};
    int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
    int bar = columns - 8 - (int)text_columns(what, strlen(what));
    if (bar > 40) bar = 40;
    double share = total ? (double)done / (double)total : 0;
    fprintf(stderr, "\r\033[K%.*s ", columns > 8 ? columns - 8 : 0, what);
    if (bar >= 5) {
        int full = (int)(share * bar);
        for (int i = 0; i < bar; i++) fputs(i < full ? "█" : "░", stderr);
    }
    fprintf(stderr, " %3d%%", (int)(share * 100));
    fflush(stderr);
}

void progress_end(void)
{
    if (!progress_drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    progress_drawn = false;
}

/* ---- Ctrl-C ------------------------------------------------------------------------------ */

static volatile sig_atomic_t interrupt_seen;

static void on_interrupt(int sig)
{
    interrupt_seen = 1;
    signal(sig, SIG_DFL);
}

void interrupt_catch(void)
{
    struct sigaction a = {.sa_handler = on_interrupt};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

bool interrupted(void)
{
    return interrupt_seen != 0;
}

/* ---- text -------------------------------------------------------------------------------- */

const char *color(const char *name)
{
    static const char *const table[][2] = {
        {"red", "\033[31m"}, {"green", "\033[32m"}, {"yellow", "\033[33m"},
        {"bold", "\033[1m"}, {"dim", "\033[2m"},    {"reset", "\033[0m"},
    };
    const char *no = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    if ((no && *no) || !isatty(STDOUT_FILENO) || (term && strcmp(term, "dumb") == 0)) return "";
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i][0], name) == 0) return table[i][1];
    return "";
}

void print_plain(const char *line)
{
    char *text = escape_text((struct gguf_str){line, strlen(line)}, false, 0);
    puts(text ? text : "(no memory for a line)");
    free(text);
}

size_t text_columns(const char *s, size_t len)
{
    size_t columns = 0, i = 0;
    mbstate_t state = {0};
    while (i < len) {
        wchar_t c;
        size_t n = mbrtowc(&c, s + i, len - i, &state);
        if (n == 0 || n > len - i) {
            memset(&state, 0, sizeof state);
            columns++;
            i++;
            continue;
        }
        int width = wcwidth(c);
        columns += width > 0 ? (size_t)width : 0;
        i += n;
    }
    return columns;
}

/* ---- places ------------------------------------------------------------------------------ */

static bool make_dirs(char *path)
{
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        bool ok = mkdir(path, 0777) == 0 || errno == EEXIST;
        *p = '/';
        if (!ok) return false;
    }
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

enum status make_directory(const char *path, struct err *e)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) return fail(e, ST_IO, "%s: the path is too long", path);
    strcpy(copy, path);
    if (!*path || !make_dirs(copy))
        return fail(e, ST_IO, "%s: cannot make the directory: %s", path, strerror(errno));
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
        return fail(e, ST_IO, "%s: is not a directory", path);
    if (access(path, W_OK) != 0)
        return fail(e, ST_IO, "%s: the directory is not writable: %s", path, strerror(errno));
    return ST_OK;
}

enum status cache_dir(char *out, size_t cap, struct err *e)
{
    const char *own = getenv("ASSAY_CACHE"), *xdg = getenv("XDG_CACHE_HOME"),
               *home = getenv("HOME");
    int n;
    if (own && *own)
        n = snprintf(out, cap, "%s", own);
    else if (xdg && *xdg)
        n = snprintf(out, cap, "%s/assay", xdg);
    else if (home && *home)
        n = snprintf(out, cap, "%s/.cache/assay", home);
    else
        n = snprintf(out, cap, "/tmp/assay-cache-%ld", (long)getuid());
    if (n < 0 || (size_t)n >= cap) return fail(e, ST_IO, "the cache directory's path is too long");
    return make_directory(out, e);
}

const char *vectors_dir(const char *option)
{
    const char *env = getenv("ASSAY_VECTORS");
    if (option) return option;
    if (env && *env) return env;
    const char *tree = build_info.vectors_source;
    return access(tree, R_OK) == 0 ? tree : build_info.vectors_installed;
}
