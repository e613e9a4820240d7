/* Judges every access of a kernel compiled for the checks (hooks.c calls sim_check_access).
 *
 *   Bounds: an access lies within one argument of the launch (struct extent), in shared memory
 *     of the block, on the fiber's own stack, or (reads) in constant data of the program.
 *   Alignment: of what one instruction loads or stores. A GPU stops there, a processor does not.
 *   Order: each byte keeps who wrote it last and the last two different threads that read it. A
 *     thread is known by its segment: the stretch of one warp between two __syncwarp or
 *     __syncthreads. Accesses of two threads are in order if they belong to different launches, or
 *     to one warp and different segments, or to one block and different barrier intervals.
 *   Content: a byte read must have been written, by a kernel or by the host; shared memory by this
 *     block.
 *
 * One system thread at a time: launches with checks are not split. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "engine/cuda/sim/sim.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A thread at a time: segment << 8 | lane << 1 | atomic; 0 = nobody, 1 = the host. */
typedef uint64_t stamp;
enum { HOST = 1 };
static const uint64_t first_segment = 1;

struct cell {
    stamp writer, reader, reader_2;
};

struct segment {
    uint64_t block;
    uint32_t warp, interval; /* barriers of the block so far */
};

struct shared_array {
    const char *name;
    uintptr_t at;
    size_t bytes, cap;
    struct cell *cells; /* cap of them; outlive the launch, older stamps say nothing */
};

struct range {
    uintptr_t begin, end;
};

enum { MAX_RANGES = 64 };

struct sim_checker {
    struct sim_worker *w;
    bool on;
    uint64_t base;            /* first segment of this launch */
    uint64_t block_base;      /* first segment of this block */
    struct segment *segments; /* of this launch, by number - base */
    size_t n_segments, cap_segments;
    uint64_t warp_segment[SIM_MAX_THREADS / WARP];
    uint32_t interval;
    struct shared_array shared[SIM_ARRAYS];
    uint32_t n_shared;
    struct range constants[MAX_RANGES];
    size_t n_constants;
};

/* Constant data: what is mapped read-only from the program and its libraries. */
static int add_constants(struct dl_phdr_info *info, size_t size, void *data)
{
    struct sim_checker *c = data;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum && c->n_constants < MAX_RANGES; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD && h->p_type != PT_GNU_RELRO) continue;
        if (h->p_type == PT_LOAD && (h->p_flags & PF_W)) continue;
        uintptr_t at = (uintptr_t)(info->dlpi_addr + h->p_vaddr);
        c->constants[c->n_constants++] = (struct range){at, at + h->p_memsz};
    }
    return 0;
}

enum status sim_checker_open(struct sim_checker **out, struct err *e)
{
    struct sim_checker *c = alloc_array(1, sizeof *c);
    if (!c) return fail(e, ST_NOMEM, "cuda-sim: no memory for the checks");
    c->base = first_segment;
    dl_iterate_phdr(add_constants, c);
    *out = c;
    return ST_OK;
}

void sim_checker_close(struct sim_checker *c)
{
    if (!c) return;
    for (uint32_t i = 0; i < SIM_ARRAYS; i++) free(c->shared[i].cells);
    free(c->segments);
    free(c);
}

void *sim_shadow_open(size_t bytes)
{
    return alloc_array(bytes ? bytes : 1, sizeof(struct cell));
}

void sim_shadow_close(void *shadow)
{
    free(shadow);
}

void sim_shadow_written(void *shadow, size_t off, size_t bytes)
{
    struct cell *cells = shadow;
    for (size_t i = off; i < off + bytes; i++) cells[i] = (struct cell){.writer = HOST};
}

/* ---- segments --------------------------------------------------------------------------- */

static void new_segment(struct sim_checker *c, uint32_t warp)
{
    if (c->n_segments == c->cap_segments) {
        size_t cap = c->cap_segments ? c->cap_segments * 2 : 1024;
        struct segment *more = realloc(c->segments, cap * sizeof *more);
        if (!more) {
            sim_report(c->w, SIM_BOUNDS, "no memory for the checks of this launch");
            c->w->stop = true;
            return;
        }
        c->segments = more;
        c->cap_segments = cap;
    }
    c->segments[c->n_segments] = (struct segment){c->w->block, warp, c->interval};
    c->warp_segment[warp] = c->base + c->n_segments++;
}

void sim_check_launch(struct sim_checker *c, struct sim_worker *w)
{
    c->w = w;
    c->base += c->n_segments;
    c->n_segments = 0;
    c->n_shared = 0;
}

void sim_check_block(struct sim_checker *c)
{
    c->interval = 0;
    c->block_base = c->base + c->n_segments;
    for (uint32_t i = 0; i < c->w->launch->block / WARP; i++) new_segment(c, i);
}

void sim_check_warp_met(struct sim_checker *c, uint32_t warp)
{
    new_segment(c, warp);
}

void sim_check_block_met(struct sim_checker *c)
{
    c->interval++;
    for (uint32_t i = 0; i < c->w->launch->block / WARP; i++) new_segment(c, i);
}

static stamp stamp_now(const struct sim_checker *c, bool atomic)
{
    uint32_t t = sim_place.thread.x;
    return c->warp_segment[t / WARP] << 8 | (uint64_t)(t % WARP) << 1 | atomic;
}

static const struct segment *segment_of(const struct sim_checker *c, stamp s)
{
    return s >> 8 < c->base ? NULL : &c->segments[(s >> 8) - c->base];
}

/* True if nothing orders `then`, if it belongs to segment `since` or later, before `now`. */
static bool unordered(const struct sim_checker *c, stamp then, stamp now, uint64_t since)
{
    if ((then | 1) == (now | 1) || then >> 8 < since) return false;
    const struct segment *a = segment_of(c, then), *b = segment_of(c, now);
    if (!a) return false; /* an earlier launch */
    if (a->block != b->block) return true;
    if (a->warp == b->warp) return then >> 8 == now >> 8;
    return a->interval == b->interval;
}

/* ---- one access --------------------------------------------------------------------------- */

static void report_race(struct sim_checker *c, stamp then, const char *did, const char *does,
                        const char *where, size_t off)
{
    const struct segment *s = segment_of(c, then);
    uint32_t width = sim_place.blocks.x;
    sim_report(c->w, SIM_RACE,
               "%s byte %zu of %s, which thread (%u,0,0) of block (%u,%u,0) %s, with no barrier "
               "between them",
               does, off, where, s->warp * WARP + (uint32_t)(then >> 1 & 31u),
               (uint32_t)(s->block % width), (uint32_t)(s->block / width), did);
}

/* since: what happened before that segment happened to other memory (shared, of another block). */
static void check_cell(struct sim_checker *c, struct cell *cell, const char *where, size_t off,
                       bool write, stamp now, uint64_t since)
{
    bool both_atomic = (cell->writer & 1) && (now & 1) && cell->writer != HOST;
    bool written = cell->writer == HOST ? since == 0 : cell->writer >> 8 >= since && cell->writer;
    if (cell->writer > HOST && !both_atomic && unordered(c, cell->writer, now, since))
        report_race(c, cell->writer, "wrote", write ? "writes" : "reads", where, off);
    if (!write) {
        if (!written)
            sim_report(c->w, SIM_UNWRITTEN, "reads byte %zu of %s, which nobody has written", off,
                       where);
        if (cell->reader != now) cell->reader_2 = cell->reader;
        cell->reader = now;
        return;
    }
    if (cell->reader && unordered(c, cell->reader, now, since))
        report_race(c, cell->reader, "read", "writes", where, off);
    else if (cell->reader_2 && unordered(c, cell->reader_2, now, since))
        report_race(c, cell->reader_2, "read", "writes", where, off);
    cell->writer = now;
}

/* Finds the shared array of an address; its fences count as its own. */
static struct shared_array *find_shared(struct sim_checker *c, uintptr_t p)
{
    for (uint32_t i = 0; i < c->n_shared; i++) {
        struct shared_array *s = &c->shared[i];
        if (p >= s->at - SIM_FENCE && p < s->at + s->bytes + SIM_FENCE) return s;
    }
    return NULL;
}

static const struct extent *find_extent(const struct launch *l, uintptr_t p, size_t n, bool write)
{
    for (uint32_t i = 0; i < l->n_extents; i++) {
        const struct extent *x = &l->extents[i];
        if (p >= x->addr && n <= x->bytes && p - x->addr <= x->bytes - n && (x->write || !write))
            return x;
    }
    return NULL;
}

/* The argument whose end or beginning is nearest. */
static void report_bounds(struct sim_checker *c, uintptr_t p, size_t n, bool write)
{
    const struct launch *l = c->w->launch;
    const struct extent *best = NULL;
    uint64_t best_far = UINT64_MAX;
    const char *does = write ? "writes" : "reads";
    for (uint32_t i = 0; i < l->n_extents; i++) {
        const struct extent *x = &l->extents[i];
        uint64_t end = x->addr + x->bytes;
        uint64_t far = p < x->addr ? x->addr - p : p + n > end ? p + n - end : 0;
        if (far < best_far) {
            best_far = far;
            best = x;
        }
    }
    if (best)
        sim_report(c->w, SIM_BOUNDS, "%s %zu bytes at offset %lld of %s, which has %zu bytes%s",
                   does, n, (long long)(p - best->addr), best->name, best->bytes,
                   best->write ? "" : " to read");
    else
        sim_report(c->w, SIM_BOUNDS, "%s %zu bytes at %p", does, n, (void *)p);
    sim_abandon(c->w);
}

static bool is_own(const struct sim_checker *c, uintptr_t p, bool write)
{
    uintptr_t stacks = (uintptr_t)c->w->stacks;
    uintptr_t args = (uintptr_t)c->w->launch->args, place = (uintptr_t)&sim_place;
    if (p >= stacks && p < stacks + (size_t)SIM_MAX_THREADS * SIM_STACK) return true;
    if (write) return false;
    if (p >= args && p < args + sizeof c->w->launch->args) return true;
    if (p >= place && p < place + sizeof sim_place) return true;
    for (size_t i = 0; i < c->n_constants; i++)
        if (p >= c->constants[i].begin && p < c->constants[i].end) return true;
    return false;
}

static void check_access(const void *at, size_t n, bool write, bool atomic)
{
    struct sim_checker *c = sim_worker ? sim_worker->checker : NULL;
    uintptr_t p = (uintptr_t)at;
    if (!c) return;
    stamp now = stamp_now(c, atomic);
    const struct extent *x = find_extent(c->w->launch, p, n, write);
    if (x) {
        struct cell *cells = x->buf->shadow;
        size_t in_buf = (size_t)(p - x->buf->base);
        for (size_t i = 0; cells && i < n; i++)
            check_cell(c, &cells[in_buf + i], x->name, (size_t)(p - x->addr) + i, write, now, 0);
        return;
    }
    struct shared_array *s = find_shared(c, p);
    if (!s) {
        if (!is_own(c, p, write)) report_bounds(c, p, n, write);
        return;
    }
    if (p < s->at || p + n > s->at + s->bytes) {
        sim_report(c->w, SIM_BOUNDS,
                   "%s %zu bytes at offset %lld of shared %s, which has %zu bytes",
                   write ? "writes" : "reads", n, (long long)(p - s->at), s->name, s->bytes);
        sim_abandon(c->w);
        return;
    }
    for (size_t i = 0; i < n; i++)
        check_cell(c, &s->cells[p - s->at + i], s->name, (size_t)(p - s->at) + i, write, now,
                   c->block_base);
}

void sim_check_access(const void *at, size_t n, bool write)
{
    check_access(at, n, write, false);
}

void sim_check_aligned(const void *at, size_t n)
{
    struct sim_checker *c = sim_worker ? sim_worker->checker : NULL;
    size_t past = (uintptr_t)at % n;
    if (c && past != 0)
        sim_report(c->w, SIM_ALIGNMENT,
                   "%zu bytes at once, at an address %zu past a multiple of %zu", n, past, n);
}

void sim_check_atomic(struct sim_checker *c, const void *at)
{
    (void)c;
    sim_check_aligned(at, sizeof(uint32_t));
    check_access(at, sizeof(uint32_t), true, true);
}

bool sim_check_shared(struct sim_checker *c, const char *name, const void *at, size_t bytes)
{
    struct shared_array *s = &c->shared[c->n_shared];
    if (s->cap < bytes) {
        free(s->cells);
        s->cells = alloc_array(bytes, sizeof *s->cells);
        s->cap = s->cells ? bytes : 0;
    }
    if (!s->cells) return false;
    c->n_shared++;
    s->name = name;
    s->at = (uintptr_t)at;
    s->bytes = bytes;
    return true;
}
