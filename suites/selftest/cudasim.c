/* The suite of cuda-sim itself: does it see what hardware would not tell?
 *
 *   mutant  a kernel with a deliberate fault is reported by the fault's name, the kernel's, a
 *           block's and a thread's; the same operation with the right kernel is not
 *   input   faults that inputs make: two tokens into one cell, an id past the end, a cell never
 *           written (and none where the cell is hidden)
 *   cache   every type of the KV cache: nothing is reported
 *   clean   every operation and every type, with sizes that leave tails: nothing is reported
 */
#include "selftest/selftest.h"
#include "selftest/cudasim.h"
#include "selftest/cudasim_trial.h"

#include <stdio.h>
#include <string.h>

static const struct mutant {
    const char *name, *kernel, *fault;
} mutants[] = {
#define MUTANT(name, file, kernel, fault) {#name, #kernel, fault},
#include "engine/cuda/test/mutants.def"
#undef MUTANT
};
enum { N_MUTANTS = sizeof mutants / sizeof *mutants };

/* Reported: by the fault's name, the kernel, a block, a thread. */
static void expect_fault(struct cudasim_trial *s, enum status st, const char *fault,
                         const char *kernel)
{
    char start[120];
    if (!s->ok) return;
    snprintf(start, sizeof start, "cuda-sim: %s in kernel %s, block (", fault, kernel);
    if (!test_check(s->t, st == ST_DEVICE, "not reported: status %d, %s", (int)st, s->e.text))
        return;
    test_check(s->t, strncmp(s->e.text, start, strlen(start)) == 0 && strstr(s->e.text, "thread ("),
               "reported as \"%s\", not as %s in %s", s->e.text, fault, kernel);
}

static void run_mutant(struct test *t, const struct test_case *c)
{
    const struct mutant *m = c->arg;
    const struct cudasim_operation *op = cudasim_operations;
    char variant[40];
    struct cudasim_trial s;
    while (op->kernel && strcmp(op->kernel, m->kernel) != 0) op++;
    if (!test_check(t, op->kernel, "mutants.def: nothing here runs %s", m->kernel)) return;
    snprintf(variant, sizeof variant, "mutant-%s", m->name);
    if (cudasim_open(&s, t, variant)) {
        enum status st = op->run(&s);
        if (m->fault[0])
            expect_fault(&s, st, m->fault, m->kernel);
        else
            test_ok(t, st, &s.e);
    }
    cudasim_close(&s);
    if (cudasim_open(&s, t, "check")) test_ok(t, op->run(&s), &s.e);
    cudasim_close(&s);
}

static void run_clean(struct test *t, const struct test_case *c)
{
    const struct cudasim_operation *op = c->arg;
    struct cudasim_trial s;
    if (cudasim_open(&s, t, "check")) test_ok(t, op->run(&s), &s.e);
    cudasim_close(&s);
}

static void run_type(struct test *t, const struct test_case *c)
{
    struct cudasim_trial s;
    if (cudasim_open(&s, t, "check")) test_ok(t, cudasim_type(&s, c->arg, 66), &s.e);
    cudasim_close(&s);
}

/* A cache of one type for keys, of another for values. */
static void run_cache(struct test *t, const struct test_case *c)
{
    const enum tensor_type *types = c->arg;
    const struct cudasim_cells a = {
        .written = 40, .visible = 40, .k_type = types[0], .v_type = types[1]};
    struct cudasim_trial s;
    if (cudasim_open(&s, t, "check")) test_ok(t, cudasim_attention(&s, &a), &s.e);
    cudasim_close(&s);
}

static void run_one_cell(struct test *t, const struct test_case *c)
{
    const struct cudasim_cells a = {
        .written = 2, .visible = 1, .one_cell = true, TYPE_F16, TYPE_F16};
    struct cudasim_trial s;
    (void)c;
    if (cudasim_open(&s, t, "check"))
        expect_fault(&s, cudasim_attention(&s, &a), "race", "kv_write_f16");
    cudasim_close(&s);
}

static void run_unwritten_cell(struct test *t, const struct test_case *c)
{
    const struct cudasim_cells a = {.written = 9, .visible = 10};
    struct cudasim_trial s;
    (void)c;
    if (cudasim_open(&s, t, "check"))
        expect_fault(&s, cudasim_attention(&s, &a), "uninitialised read", "attention");
    cudasim_close(&s);
}

static void run_id_past_end(struct test *t, const struct test_case *c)
{
    struct cudasim_trial s;
    (void)c;
    if (cudasim_open(&s, t, "check"))
        expect_fault(&s, cudasim_type(&s, type_by_name("q4_K"), 67), "out of bounds",
                     "get_rows_q4_k");
    cudasim_close(&s);
}

/* Weights are somebody's file: nothing may be written there. */
static void run_read_only(struct test *t, const struct test_case *c)
{
    static const float zeros[4];
    struct cudasim_trial s;
    struct op_scale a = {.n = 4, .factor = 1.0f};
    (void)c;
    if (cudasim_open(&s, t, NULL) &&
        test_ok(t, s.ops->import(s.b, zeros, sizeof zeros, &a.x.buf, &s.e), &s.e)) {
        s.buffers[s.n++] = a.x.buf;
        a.out = a.x;
        test_check(t, s.ops->scale(s.b, &a, &s.e) == ST_USAGE, "weights were written");
    }
    cudasim_close(&s);
}

/* Each type for keys, and the next one for values. */
static void add_caches(struct case_list *l)
{
    static const enum tensor_type types[] = {
#define CACHE(e, c, unit) TYPE_##e,
#include "engine/cuda/kernels/cache.def"
#undef CACHE
        TYPE_F32};
    struct test_case c = {.suite = "cudasim", .op = "cache", .subject = "cuda-sim", .quick = true};
    for (size_t i = 0; i + 1 < sizeof types / sizeof *types; i++) {
        c.type = type_by_id((int64_t)types[i])->name;
        c.arg = &types[i], c.run = run_cache;
        case_add(l, &c);
    }
}

/* What kernels could not do is refused before a launch, with a reason. */
static void run_refused(struct test *t, const struct test_case *c)
{
    struct cudasim_trial s;
    (void)c;
    if (cudasim_open(&s, t, NULL)) {
        const struct view v = cudasim_values(&s, 2048), ids = cudasim_output(&s, 64);
        const struct op_kv_write part = {v, ids, ids, 1, 40, TYPE_Q8_0};
        const struct op_kv_write no_cache = {v, ids, ids, 1, 256, TYPE_Q4_K};
        const struct op_route many = {
            .logits = v, .ids = ids, .weights = v, .n_tokens = 1, .n_experts = 1025, .n_used = 2};
        const struct op_route few = {.logits = v,
                                     .ids = ids,
                                     .weights = v,
                                     .n_tokens = 1,
                                     .n_experts = 16,
                                     .n_used = 5,
                                     .n_groups = 8,
                                     .n_groups_used = 2};
        struct err e[4] = {{0}};
        test_check(t, s.ops->kv_write(s.b, &part, &e[0]) == ST_USAGE, "half a block was written");
        test_check(t, s.ops->kv_write(s.b, &no_cache, &e[1]) == ST_UNSUPPORTED, "a cache of q4_K");
        test_check(t, s.ops->route(s.b, &many, &e[2]) == ST_RANGE, "1025 experts");
        test_check(t, s.ops->route(s.b, &few, &e[3]) == ST_RANGE, "5 experts of groups with 4");
        for (size_t i = 0; i < 4; i++)
            test_check(t, e[i].text[0] && !strchr(e[i].text, '\n'), "no reason, or lines of them");
    }
    cudasim_close(&s);
}

void suite_cudasim(struct case_list *l)
{
    static const struct {
        const char *name;
        void (*run)(struct test *t, const struct test_case *c);
    } inputs[] = {{"one_cell", run_one_cell},
                  {"unwritten_cell", run_unwritten_cell},
                  {"id_past_end", run_id_past_end},
                  {"read_only", run_read_only},
                  {"refused", run_refused}};
    struct test_case c = {.suite = "cudasim", .subject = "cuda-sim", .quick = true};
    for (size_t i = 0; i < N_MUTANTS; i++) {
        c.op = "mutant", c.shape = mutants[i].name, c.arg = &mutants[i], c.run = run_mutant;
        case_add(l, &c);
    }
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        c.op = "input", c.shape = inputs[i].name, c.arg = NULL, c.run = inputs[i].run;
        case_add(l, &c);
    }
    for (const struct cudasim_operation *op = cudasim_operations; op->kernel; op++) {
        c.op = "clean", c.shape = op->kernel, c.arg = op, c.run = run_clean;
        case_add(l, &c);
    }
    add_caches(l);
    c.quick = false;
    for (const struct type_spec *t = type_next(NULL); t; t = type_next(t)) {
        if (!type_decodes(t)) continue;
        c.op = "clean", c.type = t->name, c.shape = NULL, c.arg = t, c.run = run_type;
        case_add(l, &c);
    }
    cudasim_paths_cases(l);
    cudasim_driver_cases(l);
}
