/* The harness: collects cases, filters, runs each one guarded against crashes and hangs. */
#include "harness/run.h"
#include "harness/random.h"
#include "base/terminal.h"
#include "reports/report.h"
#include "subject/subject.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- cases ------------------------------------------------------------------------------- */

/* A pattern matches a whole name, as by the shell, or as a prefix that ends before a dot. */
static bool matches(const char *name, const char *pattern)
{
    size_t n = strlen(pattern);
    if (strncmp(name, pattern, n) == 0 && (name[n] == 0 || name[n] == '.')) return true;
    return fnmatch(pattern, name, 0) == 0;
}

static bool wanted(const struct test_case *c, const struct run_options *o)
{
    char name[CASE_NAME];
    const struct case_id id = case_id_of(c);
    case_name(&id, name, sizeof name);
    if ((o->test.quick_only && !c->quick) || (o->rest_only && c->quick)) return false;
    if (o->test.subjects && !c->subject) return false;
    if (o->n_filters == 0) return true;
    for (size_t i = 0; i < o->n_filters; i++)
        if (matches(name, o->filters[i])) return true;
    return false;
}

/* Whether a filter can match a name that begins with this suite: collecting the others would open
 * every golden file for nothing. */
static bool may_match(const char *suite, const struct run_options *o)
{
    if (o->n_filters == 0) return true;
    for (size_t i = 0; i < o->n_filters; i++) {
        const char *f = o->filters[i];
        size_t n = strcspn(f, ".*?[\\");
        if ((f[n] && f[n] != '.') || (strlen(suite) == n && strncmp(suite, f, n) == 0)) return true;
    }
    return false;
}

bool cases_collect(struct case_list *out, const struct suite *suites, size_t n,
                   const struct run_options *o)
{
    *out = (struct case_list){.options = &o->test};
    const bool foreign = subjects_foreign(o->test.subjects);
    for (size_t i = 0; i < n; i++)
        if (may_match(suites[i].name, o) && !(foreign && suites[i].self)) suites[i].collect(out);
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++)
        if (wanted(&out->cases[i], o)) out->cases[kept++] = out->cases[i];
    out->n = kept;
    return kept > 0;
}

void cases_free(struct case_list *l)
{
    free(l->cases);
    arena_free(&l->arena);
    *l = (struct case_list){0};
}

/* ---- running ----------------------------------------------------------------------------- */

static uint64_t case_seed(const char *name, uint64_t seed)
{
    uint64_t h = seed ^ 0xcbf29ce484222325u;
    for (const char *p = name; *p; p++) h = rng_mix(h ^ (uint64_t)(unsigned char)*p);
    return h;
}

static bool is_bad(enum case_status s)
{
    return s == CASE_FAIL || s == CASE_CRASH || s == CASE_TIMEOUT;
}

static const char *status_color(enum case_status s)
{
    return is_bad(s) ? "red" : s == CASE_PASS ? "green" : "yellow";
}

static void print_result(const char *name, const struct case_result *r, const char *rerun)
{
    printf("%s%-8s%s %s", terminal_color(status_color(r->status)), case_status_name(r->status),
           terminal_color("reset"), name);
    if (!is_bad(r->status)) {
        if (r->status == CASE_SKIP)
            printf("  (%s)", r->message);
        else if (r->used > 0)
            printf("  %.3g %% of the bound", 100 * r->used);
        if (r->status != CASE_SKIP && *r->message) printf("  (%s)", r->message);
        printf("\n");
        return;
    }
    printf("\n");
    if (*r->message) printf("  why      %s\n", r->message);
    if (r->bad) {
        if (r->bound > 0)
            printf("  worst    error %.4g is %.3g x bound %.4g\n", r->error, r->used, r->bound);
        else
            printf("  worst    error %.4g where equality is due\n", r->error);
        printf("  bad      %zu of %zu elements, the first at index %zu\n", r->bad, r->total,
               r->first_bad);
        printf("  where    %s\n", r->pattern);
    }
    if (!isnan(r->nmse_worst_row)) printf("  nmse     %.3g (worst row)\n", r->nmse_worst_row);
    printf("  rerun    %s\n", rerun);
}

static struct case_result run_case(const struct test_case *c, const struct run_options *o)
{
    char name[CASE_NAME];
    const struct case_id id = case_id_of(c);
    struct test t = {.options = &o->test,
                     .seed = case_seed(case_name(&id, name, sizeof name), o->test.seed)};
    t.result.nmse_worst_row = NAN;
    double start = now_seconds();
    c->run(&t, c);
    t.result.seconds = now_seconds() - start;
    arena_free(&t.arena);
    return t.result;
}

/* ---- the child that runs them ------------------------------------------------------------ */

/* Cases run in a child process, so that one that crashes or hangs costs only itself: the parent
 * notes it and starts another child with the next case. What the child says about a case: */
struct note {
    size_t index;
    bool done;                 /* false: it begins */
    struct case_result result; /* of a case that is done */
};

struct child {
    pid_t pid;
    int from; /* read end */
    int out;  /* its write end, in the child */
};

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

static void child_main(const struct case_list *l, const struct run_options *o, size_t first,
                       int out)
{
    for (size_t i = first; i < l->n && !interrupt_caught(); i++) {
        struct note note = {.index = i};
        if (!write_all(out, &note, sizeof note)) break;
        note.result = run_case(&l->cases[i], o);
        note.done = true;
        if (!write_all(out, &note, sizeof note)) break;
        if (o->stop && is_bad(note.result.status)) break;
    }
    subjects_close();
    exit(0);
}

static bool child_start(struct child *ch, const struct case_list *l, const struct run_options *o,
                        size_t first)
{
    int fds[2];
    fflush(stdout);
    fflush(stderr);
    if (pipe(fds) != 0) return false;
    ch->pid = fork();
    if (ch->pid == 0) {
        close(fds[0]);
        child_main(l, o, first, fds[1]);
    }
    close(fds[1]);
    ch->from = fds[0];
    return ch->pid > 0;
}

/* One note, or why there is none. */
enum heard { HEARD_NOTE, HEARD_END, HEARD_TIMEOUT };

static enum heard child_listen(const struct child *ch, struct note *note, unsigned timeout,
                               struct report *report)
{
    size_t have = 0;
    double until = now_seconds() + timeout;
    while (have < sizeof *note) {
        double left = until - now_seconds();
        struct pollfd p = {.fd = ch->from, .events = POLLIN};
        if (left <= 0) return HEARD_TIMEOUT;
        int ready = poll(&p, 1, left < 0.25 ? (int)(left * 1000) + 1 : 250);
        if (ready <= 0) {
            if (report) report_tick(report); /* what is done is on disk while a case takes long */
            continue;
        }
        ssize_t k = read(ch->from, (char *)note + have, sizeof *note - have);
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return HEARD_END;
        have += (size_t)k;
    }
    return HEARD_NOTE;
}

struct run_state {
    const struct case_list *l;
    const struct run_options *o;
    struct report *report;
    struct run_totals *totals;
    bool failed; /* a case */
};

static void take_result(struct run_state *s, size_t i, const struct case_result *r)
{
    const struct test_case *c = &s->l->cases[i];
    char name[CASE_NAME], rerun[2 * CASE_NAME + 64];
    const struct case_id id = case_id_of(c);
    case_name(&id, name, sizeof name);
    const bool named = c->subject && strpbrk(c->subject, ":+"); /* not among those by default */
    snprintf(rerun, sizeof rerun, "assay test '%s' --seed %llu%s%s%s", name,
             (unsigned long long)s->o->test.seed, named ? " --subject '" : "",
             named ? c->subject : "", named ? "'" : "");
    s->totals->by_status[r->status]++;
    s->failed = s->failed || is_bad(r->status);
    if (s->o->verbose || is_bad(r->status)) {
        progress_end();
        print_result(name, r, rerun);
        fflush(stdout);
    }
    if (s->report) report_case(s->report, &id, r, case_seed(name, s->o->test.seed), rerun);
}

/* A case that ended with its process. */
static struct case_result lost_case(enum heard heard, int status, unsigned timeout)
{
    struct case_result r = {.status = CASE_CRASH, .nmse_worst_row = NAN};
    if (heard == HEARD_TIMEOUT) {
        r.status = CASE_TIMEOUT;
        r.seconds = timeout;
        snprintf(r.message, sizeof r.message, "did not end within %u s", timeout);
    } else if (WIFSIGNALED(status)) {
        snprintf(r.message, sizeof r.message, "crashed: signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else {
        snprintf(r.message, sizeof r.message, "ended its process with status %d",
                 WEXITSTATUS(status));
    }
    return r;
}

/* Runs cases from `first` on in one child; returns the first case that is left. */
static size_t run_child(struct run_state *s, size_t first)
{
    struct child ch = {0};
    if (!child_start(&ch, s->l, s->o, first)) {
        struct case_result r = {.status = CASE_CRASH, .nmse_worst_row = NAN};
        snprintf(r.message, sizeof r.message, "no process to run in: %s", strerror(errno));
        take_result(s, first, &r);
        return first + 1;
    }
    struct note note;
    size_t next = first;
    bool open = false;
    enum heard heard;
    while ((heard = child_listen(&ch, &note, s->o->timeout, s->report)) == HEARD_NOTE) {
        open = !note.done;
        if (open) {
            progress_show("testing", note.index, s->l->n);
            continue;
        }
        take_result(s, note.index, &note.result);
        next = note.index + 1;
    }
    int status = 0;
    if (heard == HEARD_TIMEOUT) kill(ch.pid, SIGKILL);
    while (waitpid(ch.pid, &status, 0) < 0 && errno == EINTR) {}
    close(ch.from);
    if (interrupt_caught()) return s->l->n;
    if (open) {
        struct case_result r = lost_case(heard, status, s->o->timeout);
        take_result(s, next++, &r);
    } else if (status != 0 && next > first) { /* after its last case: a leak, an exit handler */
        struct case_result r = lost_case(heard, status, s->o->timeout);
        take_result(s, next - 1, &r);
    }
    return next;
}

void cases_run(const struct case_list *l, const struct run_options *o, struct report *report,
               struct run_totals *totals)
{
    *totals = (struct run_totals){0};
    struct run_state s = {.l = l, .o = o, .report = report, .totals = totals};
    for (size_t i = 0; i < l->n && !interrupt_caught() && !(o->stop && s.failed);)
        i = run_child(&s, i);
    progress_end();
}
