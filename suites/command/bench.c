/* assay bench: how fast a model runs on a subject, and what share of the memory's speed that is. */
#include "subject/speed.h"
#include "command/commands.h"
#include "engine/engine.h"
#include "engine/gguf/gguf.h"
#include "base/options.h"
#include "base/text.h"
#include "reports/report.h"
#include "subject/subject.h"
#include "base/terminal.h"
#include "base/paths.h"
#include "subject/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay bench MODEL [options]\n\n"
    "Measures decode and prefill speed in tokens per second: median and spread (half the distance\n"
    "between the quartiles) over repetitions, after one that is not counted. For decoding also "
    "the\n"
    "bytes of weights per token, the bandwidth that this makes, and its share of the measured\n"
    "memory bandwidth: of reading on the host, or of a copy on a device of its own.\n\n",
    "examples:\n"
    "  assay bench model.gguf --subject cpu,vulkan\n"
    "  assay bench model.gguf --prefill 512 --decode 1 --repeat 3\n\n"
    "Exit status: 0 measured, 1 failed or interrupted, 2 usage, 77 no such device here.\n",
};

struct args {
    const char *model, *subjects, *json;
    uint64_t prompt, gen, repeat, threads;
    enum tensor_type kv[2]; /* of K and V */
};

/* Figures of one subject. */
struct figures {
    struct samples prefill, decode; /* tokens per second */
    double memory;                  /* bytes per second */
    const char *memory_what;
};

static int parse(int argc, char **argv, struct args *a)
{
    const struct option_row rows[] = {
        {"subject", OPTION_TEXT, &a->subjects, .argument = "LIST",
         .help = "backends, comma-separated: cpu, vulkan:1, cuda+general ... (default cpu)"},
        {"prefill", OPTION_COUNT, &a->prompt, .argument = "N", .alias = "prompt", .min = 1,
         .max = 1 << 20, .help = "tokens of prefill (default 64)"},
        {"decode", OPTION_COUNT, &a->gen, .argument = "N", .alias = "gen", .min = 1, .max = 1 << 20,
         .help = "tokens to decode after it (default 16)"},
        {"repeat", OPTION_COUNT, &a->repeat, .argument = "R", .min = 1, .max = BENCH_MAX_SAMPLES,
         .help = "repetitions, up to 100 (default 5)"},
        {"kv", OPTION_CACHES, a->kv, .argument = "TYPE[,TYPE]",
         .help = "types of the KV cache, of K and of V (default f32)"},
        {"threads", OPTION_COUNT, &a->threads, .argument = "N", .min = 1, .max = 1024,
         .help = "of the CPU (default: one per core)"},
        {"report", OPTION_TEXT, &a->json, .argument = "FILE", .alias = "json",
         .help = "write a report"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    return code >= 0 ? code : options_one(argc, argv, "model", &a->model);
}

static bool name_has(const struct gguf_tensor *t, const char *text)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i + n <= t->name.len; i++)
        if (memcmp(t->name.data + i, text, n) == 0) return true;
    return false;
}

/* The share of a layer's experts that a token uses; 1 where there are none. */
static double used_experts(const struct gguf *g, const char *arch)
{
    char count_key[96], used_key[96];
    uint32_t count = 0, used = 0;
    snprintf(count_key, sizeof count_key, "%.60s.expert_count", arch);
    snprintf(used_key, sizeof used_key, "%.60s.expert_used_count", arch);
    if (!gguf_find(g, count_key) || !gguf_find(g, used_key)) return 1;
    if (gguf_get_u32(g, count_key, &count, NULL) || gguf_get_u32(g, used_key, &used, NULL))
        return 1;
    return count ? (double)used / count : 1;
}

/* Bytes of weights that one token reads: all matrices, but of an embedding that is not the output
 * matrix too, one row, and of experts those that it uses. */
static uint64_t bytes_per_token(const struct gguf *g, const char *arch)
{
    const bool tied = gguf_find_tensor(g, "output.weight") == NULL;
    const double used = used_experts(g, arch);
    double sum = 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        const bool row =
            (name_has(t, "token_embd.weight") && !tied) || name_has(t, "position_embd.weight");
        const double share = row && t->dims[1]       ? 1 / (double)t->dims[1]
                             : name_has(t, "_exps.") ? used
                                                     : 1;
        sum += (double)t->bytes * share;
    }
    return (uint64_t)(sum + 0.5);
}

/* Ids that are spread over the vocabulary; which ones does not matter to speed. */
static void make_tokens(int32_t *ids, size_t n, uint32_t n_vocab)
{
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)((i * 7919 + 1) % n_vocab);
}

/* One repetition: the prompt at once, then one token at a time. */
static enum status repeat(const struct args *a, struct engine_session *s, const int32_t *ids,
                          struct figures *f, struct err *e)
{
    enum status st = engine_rewind(s, 0, e);
    const double start = now_seconds();
    if (st == ST_OK) st = engine_eval(s, ids, a->prompt, false, e);
    const double middle = now_seconds();
    for (uint64_t i = 0; i < a->gen && st == ST_OK; i++) {
        st = engine_eval(s, ids + a->prompt + i, 1, false, e);
        if (st == ST_OK && interrupt_caught()) st = fail(e, ST_CANCELLED, "interrupted");
    }
    if (st == ST_OK && f) {
        f->prefill.value[f->prefill.n++] = (double)a->prompt / (middle - start);
        f->decode.value[f->decode.n++] = (double)a->gen / (now_seconds() - middle);
    }
    return st;
}

/* True if the backend computes on the processor, so that its memory is the host's. */
static bool on_host(const struct backend_ops *ops, const char *subject)
{
    const char *colon = strchr(subject, ':');
    struct device_info d = {0};
    struct err e = {0};
    if (ops->on_host) return true;
    if (ops->describe((uint32_t)(colon ? strtoul(colon + 1, NULL, 10) : 0), &d, &e)) return false;
    return strstr(d.features, "runs on the processor") != NULL;
}

static enum status measure_memory(const struct args *a, struct backend *b, const char *subject,
                                  struct figures *f, struct err *e)
{
    const bool host = on_host(backend_ops_of(b), subject);
    f->memory_what = host ? "host memory, read" : "device memory, copied";
    return host ? bench_host_read((int)a->threads, &f->memory, e)
                : bench_device_copy(b, &f->memory, e);
}

static void show_upload(void *ctx, size_t done, size_t total)
{
    progress_show(ctx, done, total);
}

static enum status measure(const struct args *a, struct engine_model *m, char *subject,
                           struct figures *f, struct err *e)
{
    const struct engine_shape shape = engine_model_shape(m);
    const size_t n = a->prompt + a->gen;
    const struct backend_options options = {.n_threads = (int)a->threads};
    const struct engine_session_options so = {.n_ctx = n,
                                              .n_batch = a->prompt < 512 ? a->prompt : 512,
                                              .k_type = a->kv[0],
                                              .v_type = a->kv[1],
                                              .progress = show_upload,
                                              .progress_ctx = subject};
    struct backend *b = NULL;
    struct engine_session *s = NULL;
    int32_t *ids = alloc_array(n, sizeof *ids);
    enum status st = ids ? ST_OK : fail(e, ST_NOMEM, "out of memory for %zu tokens", n);
    if (st == ST_OK) st = backend_open(&b, subject, &options, e);
    if (st == ST_OK) st = engine_session_open(&s, m, b, &so, e);
    if (st == ST_OK) {
        make_tokens(ids, n, shape.n_vocab);
        st = repeat(a, s, ids, NULL, e);
    }
    for (uint64_t r = 0; r < a->repeat && st == ST_OK; r++) {
        progress_show(subject, r, a->repeat);
        st = repeat(a, s, ids, f, e);
    }
    progress_end();
    engine_session_close(s);
    if (st == ST_OK) st = measure_memory(a, b, subject, f, e);
    backend_close(b);
    free(ids);
    return st;
}

static void record(struct report *r, const char *model, const char *subject, const char *what,
                   const char *unit, double median, double spread, size_t samples)
{
    char name[320];
    snprintf(name, sizeof name, "%.200s.%s", file_base(model), what);
    const struct report_bench b = {.name = name,
                                   .subject = subject,
                                   .unit = unit,
                                   .median = median,
                                   .spread = spread,
                                   .samples = samples,
                                   .more_is_better = strcmp(unit, "bytes") != 0};
    report_bench(r, &b);
}

static void show(const struct args *a, const char *subject, struct figures *f, uint64_t bytes,
                 struct report *r)
{
    double prefill, prefill_spread, decode, decode_spread;
    bench_summarize(&f->prefill, &prefill, &prefill_spread);
    bench_summarize(&f->decode, &decode, &decode_spread);
    const double rate = decode * (double)bytes, share = rate / f->memory;
    printf("%s%s%s\n", terminal_color("bold"), subject, terminal_color("reset"));
    printf("  prefill    %10.2f tokens/s  +- %.2f  (%llu tokens)\n", prefill, prefill_spread,
           (unsigned long long)a->prompt);
    printf("  decode     %10.2f tokens/s  +- %.2f  (%llu tokens)\n", decode, decode_spread,
           (unsigned long long)a->gen);
    printf("  weights    %10.1f MB/token\n", (double)bytes / 1e6);
    printf("  bandwidth  %10.2f GB/s, %.0f%% of %.2f GB/s (%s)\n", rate / 1e9, 100 * share,
           f->memory / 1e9, f->memory_what);
    if (!r) return;
    char what[64];
    snprintf(what, sizeof what, "prefill-%llu", (unsigned long long)a->prompt);
    record(r, a->model, subject, what, "tokens/s", prefill, prefill_spread, f->prefill.n);
    record(r, a->model, subject, "decode", "tokens/s", decode, decode_spread, f->decode.n);
    record(r, a->model, subject, "weights-per-token", "bytes", (double)bytes, 0, 1);
    record(r, a->model, subject, "decode-bandwidth", "GB/s", rate / 1e9,
           decode_spread * (double)bytes / 1e9, f->decode.n);
    record(r, a->model, subject, "memory-bandwidth", "GB/s", f->memory / 1e9, 0, 1);
    record(r, a->model, subject, "decode-bandwidth-share", "of 1", share, 0, 1);
}

/* All subjects of the list; the worst exit code counts, absence only if nothing ran. */
static int run_subjects(const struct args *a, struct engine_model *m, struct report *r)
{
    const uint64_t bytes = bytes_per_token(engine_model_gguf(m), engine_model_shape(m).arch);
    int code = EXIT_NOTHING;
    char subject[SUBJECT_NAME];
    for (const char *s = a->subjects; list_next(&s, subject, sizeof subject);) {
        struct err e = {0};
        struct figures f = {0};
        if (measure(a, m, subject, &f, &e) == ST_OK) {
            show(a, subject, &f, bytes, r);
            if (code == EXIT_NOTHING) code = EXIT_PASS;
            continue;
        }
        const int bad = cmd_error("bench", &e);
        if (bad != EXIT_NOTHING) code = bad;
        if (r && e.st == ST_CANCELLED) report_stopped(r, e.text);
        if (e.st == ST_CANCELLED) break;
    }
    return code;
}

int cmd_bench(int argc, char **argv)
{
    struct args a = {.subjects = "cpu", .prompt = 64, .gen = 16, .repeat = 5};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    code = EXIT_FAIL;
    struct err e = {0};
    struct engine_model *m = NULL;
    struct report *r = NULL;
    enum status st = subjects_check(a.subjects, &e);
    if (st == ST_OK) st = engine_model_open(&m, a.model, &e);
    if (st == ST_OK && a.json) st = report_open(&r, 0, &e);
    if (st == ST_OK) {
        interrupt_catch();
        code = run_subjects(&a, m, r);
    }
    if (st == ST_OK && r) {
        environment_report(r, path_vectors(NULL));
        st = report_save(r, a.json, &e);
    }
    if (st != ST_OK) code = cmd_error("bench", &e);
    if (r) report_close(r);
    engine_model_close(m);
    return code;
}
