/* See workers.h. */
#include "harness/workers.h"
#include "base/terminal.h"
#include "subject/subject.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a child writes into its pipe. Shorter than PIPE_BUF, so it arrives in one piece. */
struct note {
    size_t index;
    bool done;                 /* false: the case begins */
    struct case_result result; /* of a case that is done */
};

struct worker {
    pid_t pid;
    int from;     /* read end of the child's pipe; -1: there is no child */
    size_t next;  /* the case that runs, or that is to run next */
    bool running; /* the case `next` has begun */
    bool began;   /* this child has begun a case at all */
    bool failed;  /* with options.stop: the child has ended after a failure */
    double until; /* when the case `next` takes too long */
};

struct workers {
    const struct workers_options *o;
    const struct workers_calls *calls;
    struct worker *all;          /* (n_workers) */
    struct case_result *results; /* (n_cases) */
    bool *have;                  /* (n_cases) */
    size_t n_told, n_done;
    bool stopped;            /* take has returned false */
    struct case_result exit; /* of a child that failed after its last case; CASE_PASS: none has */
};

/* ---- the child ------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

static void child_main(const struct workers *w, size_t first, int out)
{
    for (size_t i = first; i < w->o->n_cases && !interrupt_caught(); i += w->o->n_workers) {
        struct note note = {.index = i};
        if (!write_all(out, &note, sizeof note)) break;
        note.result = w->calls->run(w->calls->ctx, i);
        note.done = true;
        if (!write_all(out, &note, sizeof note)) break;
        if (w->o->stop && case_is_bad(note.result.status)) break;
    }
    subjects_close();
    exit(0);
}

static bool child_start(const struct workers *w, struct worker *k)
{
    int fds[2];
    fflush(stdout);
    fflush(stderr);
    if (pipe(fds) != 0) return false;
    k->pid = fork();
    if (k->pid == 0) {
        close(fds[0]);
        child_main(w, k->next, fds[1]);
    }
    close(fds[1]);
    k->from = k->pid > 0 ? fds[0] : (close(fds[0]), -1);
    k->running = k->began = k->failed = false;
    k->until = now_seconds() + w->o->timeout;
    return k->pid > 0;
}

/* ---- results --------------------------------------------------------------------------------- */

/* Tells what has come, in order. The last case waits for the ends of all children. */
static void tell(struct workers *w, bool ended)
{
    while (w->n_told < w->o->n_cases && w->have[w->n_told] && !w->stopped) {
        const size_t i = w->n_told;
        if (i + 1 == w->o->n_cases) {
            if (!ended) return;
            if (w->exit.status != CASE_PASS && !case_is_bad(w->results[i].status))
                w->results[i] = w->exit;
        }
        w->n_told++;
        w->stopped = !w->calls->take(w->calls->ctx, i, &w->results[i]);
    }
}

static void put_result(struct workers *w, struct worker *k, const struct case_result *r)
{
    w->results[k->next] = *r;
    w->have[k->next] = true;
    w->n_done++;
    k->next += w->o->n_workers;
    k->running = false;
    k->until = now_seconds() + w->o->timeout;
    if (w->o->stop && case_is_bad(r->status)) k->failed = true;
    tell(w, false);
}

/* The result of a case that ended with its process. */
static struct case_result lost_case(bool timeout, int status, unsigned seconds)
{
    struct case_result r = {.status = CASE_CRASH, .nmse_worst_row = NAN};
    if (timeout) {
        r.status = CASE_TIMEOUT;
        r.seconds = seconds;
        snprintf(r.message, sizeof r.message, "did not end within %u s", seconds);
    } else if (WIFSIGNALED(status)) {
        snprintf(r.message, sizeof r.message, "crashed: signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(r.message, sizeof r.message, "ended its process with status %d",
                 WEXITSTATUS(status));
    }
    return r;
}

static void no_process(struct workers *w, struct worker *k)
{
    struct case_result r = {.status = CASE_CRASH, .nmse_worst_row = NAN};
    snprintf(r.message, sizeof r.message, "no process to run in: %s", strerror(errno));
    put_result(w, k, &r);
}

/* ---- the parent ------------------------------------------------------------------------------ */

static void start(struct workers *w, struct worker *k)
{
    while (k->next < w->o->n_cases && !w->stopped && !k->failed && !interrupt_caught())
        if (child_start(w, k))
            return;
        else
            no_process(w, k);
}

/* The child has ended, or has to: what its case leaves behind, and the next child. */
static void finish(struct workers *w, struct worker *k, bool timeout)
{
    int status = 0;
    if (timeout || w->stopped) kill(k->pid, SIGKILL);
    while (waitpid(k->pid, &status, 0) < 0 && errno == EINTR) {}
    close(k->from);
    k->from = -1;
    if (w->stopped || (interrupt_caught() && !k->running)) return;
    if (interrupt_caught() && !timeout && WIFEXITED(status)) return;
    const struct case_result lost = lost_case(timeout, status, w->o->timeout);
    if (k->running || (k->next < w->o->n_cases && !k->failed && !k->began))
        put_result(w, k, &lost); /* also of a child that ended before it could begin */
    else if (status != 0 && w->exit.status == CASE_PASS)
        w->exit = lost;
    start(w, k);
}

static void read_note(struct workers *w, struct worker *k)
{
    struct note note;
    const ssize_t n = read(k->from, &note, sizeof note);
    if (n < 0 && errno == EINTR) return;
    if (n != (ssize_t)sizeof note) {
        finish(w, k, false);
        return;
    }
    k->began = true;
    if (note.done) {
        put_result(w, k, &note.result);
    } else {
        k->running = true;
        k->until = now_seconds() + w->o->timeout;
    }
}

/* Waits for notes, for a quarter of a second at most. False: there are no children. */
static bool listen_all(struct workers *w, struct pollfd *fds)
{
    double until = now_seconds() + 0.25;
    size_t n = 0;
    for (size_t i = 0; i < w->o->n_workers; i++) {
        fds[i] = (struct pollfd){.fd = w->all[i].from, .events = POLLIN};
        if (fds[i].fd < 0) continue;
        n++;
        if (w->all[i].until < until) until = w->all[i].until;
    }
    if (n == 0) return false;
    const double left = until - now_seconds();
    const int ready = poll(fds, (nfds_t)w->o->n_workers, left > 0 ? (int)(left * 1000) + 1 : 0);
    for (size_t i = 0; i < w->o->n_workers; i++) {
        struct worker *k = &w->all[i];
        if (fds[i].fd < 0) continue;
        if (w->stopped || now_seconds() > k->until)
            finish(w, k, !w->stopped);
        else if (ready > 0 && fds[i].revents)
            read_note(w, k);
    }
    return true;
}

enum status workers_run(const struct workers_options *o, const struct workers_calls *calls,
                        struct err *e)
{
    struct workers w = {.o = o, .calls = calls};
    struct pollfd *fds = alloc_array(o->n_workers, sizeof *fds);
    w.all = alloc_array(o->n_workers, sizeof *w.all);
    w.results = alloc_array(o->n_cases, sizeof *w.results);
    w.have = alloc_array(o->n_cases, sizeof *w.have);
    enum status st = ST_OK;
    if (!fds || !w.all || !w.results || !w.have)
        st = fail(e, ST_NOMEM, "no memory for the results of %zu cases", o->n_cases);
    for (size_t i = 0; i < o->n_workers && st == ST_OK; i++)
        w.all[i] = (struct worker){.from = -1, .next = i};
    for (size_t i = 0; i < o->n_cases && st == ST_OK; i++) w.have[i] = false;
    for (size_t i = 0; i < o->n_workers && st == ST_OK; i++) start(&w, &w.all[i]);
    while (st == ST_OK && listen_all(&w, fds)) calls->tick(calls->ctx, w.n_done);
    if (st == ST_OK) tell(&w, true);
    free(fds);
    free(w.all);
    free(w.results);
    free(w.have);
    return st;
}
