/* The terminal: progress, Ctrl-C, colours; see terminal.h. */
#include "base/terminal.h"
#include "base/text.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

bool interrupt_caught(void)
{
    return interrupt_seen != 0;
}

/* ---- colours ----------------------------------------------------------------------------- */

const char *terminal_color(const char *name)
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
