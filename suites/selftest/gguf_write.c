/* Suite gguf, what is written: files read and written again, random containers, what the writer
 * refuses, and the files underneath. */
#include "harness/files.h"
#include "selftest/gguf_shared.h"
#include "harness/random.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

static bool same_file(struct test *t, const char *a, const char *b)
{
    struct err e = {0};
    struct file x = {0}, y = {0};
    bool same = false;
    if (test_ok(t, file_open(&x, a, &e), &e) && test_ok(t, file_open(&y, b, &e), &e))
        same =
            x.bytes.size == y.bytes.size && memcmp(x.bytes.data, y.bytes.data, x.bytes.size) == 0;
    file_close(&x);
    file_close(&y);
    return same;
}

/* The bytes as they lie on the disk, not inflated. */
static bool same_raw_file(const char *a, const char *b)
{
    FILE *x = fopen(a, "rb"), *y = fopen(b, "rb");
    bool same = x && y;
    for (int c = 0; same && c != EOF;) same = (c = getc(x)) == getc(y);
    if (x) fclose(x);
    if (y) fclose(y);
    return same;
}

/* ---- round trips ------------------------------------------------------------------------- */

/* Writes g plain and twice compressed; what is read back is g. */
static void round_trip(struct test *t, const struct gguf *g, const char *dir)
{
    const char *plain = dir_path(t, dir, "plain.gguf");
    const char *packed[] = {dir_path(t, dir, "a.gguf.gz"), dir_path(t, dir, "b.gguf.gz")};
    struct gguf_writer *w = plain && packed[0] && packed[1] ? container_rewrite(t, g) : NULL;
    if (!w) return;
    struct err e = {0};
    enum status st = gguf_writer_save(w, plain, false, &e);
    for (int i = 0; i < 2 && !st; i++) st = gguf_writer_save(w, packed[i], true, &e);
    gguf_writer_close(w);
    if (!test_ok(t, st, &e)) return;
    test_check(t, same_file(t, plain, packed[0]), "the compressed file holds something else");
    test_check(t, same_raw_file(packed[0], packed[1]), "compressing twice gives different bytes");
    test_check(t, temp_count(t, dir) == 3, "%zu files are left behind", temp_count(t, dir) - 3);

    struct gguf back;
    if (!test_ok(t, gguf_open(&back, packed[0], &e), &e)) return;
    test_check(t, back.version == 3, "version %u is written, want 3", back.version);
    size_t size = back.files[0].bytes.size; /* ggml wants the last tensor padded too */
    test_check(t, back.n_tensors == 0 || size % back.alignment == 0,
               "%zu bytes are not padded to %llu", size, (unsigned long long)back.alignment);
    container_check_same(t, g, &back);
    gguf_close(&back);
}

static void run_roundtrip(struct test *t, const struct test_case *c)
{
    const char *path = container_vector_path(t, "valid", c->arg, "gguf");
    struct err e = {0};
    struct file f;
    struct gguf g;
    if (!path || !test_ok(t, file_open(&f, path, &e), &e)) return;
    if (gguf_parse(&g, f.bytes, false, &e)) {
        /* A header without data: its expected text says so, and there is nothing to write. */
        test_check(t, gguf_parse(&g, f.bytes, true, NULL) == ST_OK, "%s", e.text);
        struct gguf_writer *w;
        e = (struct err){0};
        if (test_ok(t, gguf_writer_open(&w, &e), &e)) {
            for (size_t i = 0; i < g.n_kv; i++) test_ok(t, gguf_put_kv(w, &g.kv[i], &e), &e);
            gguf_writer_close(w);
        }
        gguf_close(&g);
    } else {
        const char *dir = temp_dir(t);
        if (dir) {
            round_trip(t, &g, dir);
            temp_remove(dir);
        }
        gguf_close(&g);
    }
    file_close(&f);
}

static uint8_t *random_bytes(struct test *t, struct rng *r, size_t n)
{
    uint8_t *p = test_alloc(t, n, 1);
    for (size_t i = 0; p && i < n; i++) p[i] = (uint8_t)rng_u64(r);
    return p;
}

/* count values of kv->elem, any bytes; strings get their lengths. */
static bool random_values(struct test *t, struct rng *r, struct gguf_kv *kv)
{
    size_t each = gguf_type_size(kv->elem);
    if (kv->elem != GGUF_STRING) {
        kv->bytes = (size_t)kv->count * each;
        kv->data = random_bytes(t, r, kv->bytes);
        return kv->data != NULL;
    }
    enum { LONGEST = 40 };
    uint8_t *p = random_bytes(t, r, (size_t)kv->count * (8 + LONGEST));
    if (!p) return false;
    kv->data = p;
    for (uint64_t i = 0; i < kv->count; i++) {
        uint64_t len = rng_below(r, LONGEST + 1);
        memset(p, 0, 8);
        p[0] = (uint8_t)len;
        p += 8 + len;
    }
    kv->bytes = (size_t)(p - kv->data);
    return true;
}

static struct gguf_str numbered(struct test *t, const char *what, size_t i)
{
    char *s = test_alloc(t, 32, 1);
    if (s) snprintf(s, 32, "%s_%zu", what, i);
    return (struct gguf_str){s, s ? strlen(s) : 0};
}

static bool random_kv(struct test *t, struct rng *r, size_t i, struct gguf_kv *kv)
{
    *kv = (struct gguf_kv){.key = numbered(t, "my_key", i), .count = 1};
    kv->type = (enum gguf_type)rng_below(r, GGUF_TYPE_COUNT);
    kv->elem = kv->type;
    if (kv->type == GGUF_ARRAY) {
        kv->elem = (enum gguf_type)rng_below(r, GGUF_ARRAY);
        if (rng_below(r, 4) == 0) kv->elem = GGUF_F64;
        kv->count = rng_below(r, 20);
    }
    return kv->key.data && random_values(t, r, kv);
}

/* A tensor of up to four dimensions; one in eight has none of its own, or nothing in it. */
static bool random_tensor(struct test *t, struct rng *r, size_t i, const struct type_spec *type,
                          struct gguf_tensor *x)
{
    *x = (struct gguf_tensor){
        .name = numbered(t, "my_tensor", i), .type = type, .dims = {1, 1, 1, 1}};
    x->n_dims = 1 + (uint32_t)rng_below(r, GGUF_MAX_DIMS);
    if (type->block_elems == 1 && rng_below(r, 8) == 0) x->n_dims = 0;
    for (uint32_t d = 0; d < x->n_dims; d++) x->dims[d] = 1 + rng_below(r, 3);
    if (x->n_dims > 0) x->dims[0] *= type->block_elems;
    if (x->n_dims > 1 && rng_below(r, 8) == 0) x->dims[1] = 0;
    x->n_elems = x->dims[0] * x->dims[1] * x->dims[2] * x->dims[3];
    x->bytes = type_bytes(type, (size_t)x->n_elems);
    x->data = random_bytes(t, r, x->bytes);
    return x->name.data && x->data;
}

/* 256 random keys and two tensors of every type. */
static void run_random(struct test *t, const struct test_case *c)
{
    enum { N_KV = 256, PER_TYPE = 2 };
    static const uint32_t alignments[] = {32, 1, 8, 64, 4096};
    struct rng r = rng_of(t);
    struct gguf g = {.alignment = alignments[c->index % 5], .n_kv = N_KV + 1};
    for (const struct type_spec *s = type_next(NULL); s; s = type_next(s)) g.n_tensors += PER_TYPE;
    g.kv = test_alloc(t, g.n_kv, sizeof *g.kv);
    g.tensors = test_alloc(t, g.n_tensors, sizeof *g.tensors);
    uint8_t *alignment = test_alloc(t, 4, 1);
    if (!g.kv || !g.tensors || !alignment) return;
    for (size_t i = 0; i < N_KV; i++)
        if (!random_kv(t, &r, i, &g.kv[i])) return;
    for (int b = 0; b < 4; b++) alignment[b] = (uint8_t)(g.alignment >> (8 * b));
    g.kv[N_KV] = (struct gguf_kv){.key = {"general.alignment", 17},
                                  .type = GGUF_U32,
                                  .elem = GGUF_U32,
                                  .count = 1,
                                  .data = alignment,
                                  .bytes = 4};
    size_t i = 0;
    for (const struct type_spec *s = type_next(NULL); s; s = type_next(s))
        for (int k = 0; k < PER_TYPE; k++, i++)
            if (!random_tensor(t, &r, i, s, &g.tensors[i])) return;
    const char *dir = temp_dir(t);
    if (!dir) return;
    round_trip(t, &g, dir);
    temp_remove(dir);
}

/* ---- what the writer refuses ------------------------------------------------------------- */

static void check_refused(struct test *t, enum status st, struct err *e, const char *what)
{
    test_check(t, st != ST_OK, "%s is taken", what);
    container_check_message(t, e);
    t->result.total++;
    *e = (struct err){0};
}

static void run_refusals(struct test *t, const struct test_case *c)
{
    (void)c;
    struct err e = {0};
    struct gguf_writer *w;
    if (!test_ok(t, gguf_writer_open(&w, &e), &e)) return;
    const uint64_t dims[5] = {32, 2, 1, 1, 1}, odd[1] = {33},
                   huge[2] = {(uint64_t)1 << 40, (uint64_t)1 << 40};
    static const uint8_t data[64 * 4];
    char name[GGUF_MAX_NAME + 2];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    test_ok(t, gguf_put_u32(w, "a", 1, &e), &e);
    test_ok(t, gguf_put_tensor(w, "t", TYPE_F32, 2, dims, data, &e), &e);
    check_refused(t, gguf_put_bool(w, "a", true, &e), &e, "the same key twice");
    check_refused(t, gguf_put_u32(w, "", 1, &e), &e, "an empty key");
    check_refused(t, gguf_put_u32(w, "general.alignment", 24, &e), &e, "an alignment of 24");
    check_refused(t, gguf_put_f32(w, "general.alignment", 32, &e), &e,
                  "an alignment that is a float");
    check_refused(t, gguf_put_u32(w, "general.architecture", 1, &e), &e,
                  "an architecture that is a number");
    check_refused(t, gguf_put_tensor(w, "t", TYPE_F32, 1, dims, data, &e), &e,
                  "the same tensor twice");
    check_refused(t, gguf_put_tensor(w, "", TYPE_F32, 1, dims, data, &e), &e, "an empty name");
    check_refused(t, gguf_put_tensor(w, name, TYPE_F32, 1, dims, data, &e), &e,
                  "a name of 64 bytes");
    check_refused(t, gguf_put_tensor(w, "u", TYPE_Q4_0, 1, odd, data, &e), &e,
                  "33 elements of q4_0");
    check_refused(t, gguf_put_tensor(w, "u", TYPE_F32, 5, dims, data, &e), &e, "five dimensions");
    check_refused(t, gguf_put_tensor(w, "u", TYPE_F32, 2, huge, data, &e), &e, "2^80 elements");
    check_refused(t, gguf_put_tensor(w, "u", (enum tensor_type)4, 1, dims, data, &e), &e,
                  "a removed type");

    const char *dir = temp_dir(t);
    if (dir) {
        const char *nowhere = dir_path(t, dir, "no/such/file.gguf");
        if (nowhere)
            check_refused(t, gguf_writer_save(w, nowhere, false, &e), &e, "a missing directory");
        check_refused(t, gguf_writer_save(w, dir, true, &e), &e, "a directory");
        test_check(t, temp_count(t, dir) == 0, "a file is left behind");
        temp_remove(dir);
    }
    gguf_writer_close(w);
}

/* A disk that takes no more: the limit on file sizes stands in for it. */
static void run_disk_full(struct test *t, const struct test_case *c)
{
    (void)c;
    /* So little that only closing the file finds out, and enough for writing to get going. */
    static const rlim_t limits[] = {8, 64 * 1024};
    enum { SIZE = 1024 * 1024 };
    const char *dir = temp_dir(t);
    const char *path = dir ? dir_path(t, dir, "big.gguf") : NULL;
    struct rng r = rng_of(t);
    uint8_t *data = random_bytes(t, &r, SIZE);
    struct err e = {0};
    struct gguf_writer *w;
    if (!path || !data || !test_ok(t, gguf_writer_open(&w, &e), &e)) return;
    struct rlimit before, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    for (int i = 0; i < 4; i++) {
        if (i == 2)
            test_ok(t, gguf_put_tensor(w, "t", TYPE_I8, 1, (const uint64_t[]){SIZE}, data, &e), &e);
        small = before;
        small.rlim_cur = limits[i / 2];
        if (!test_check(t, setrlimit(RLIMIT_FSIZE, &small) == 0, "setrlimit: %s", strerror(errno)))
            break;
        check_refused(t, gguf_writer_save(w, path, i % 2, &e), &e, "more than fits");
        setrlimit(RLIMIT_FSIZE, &before);
        test_check(t, temp_count(t, dir) == 0, "a part of a file is left behind");
    }
    signal(SIGXFSZ, handler);
    gguf_writer_close(w);
    temp_remove(dir);
}

/* ---- files ------------------------------------------------------------------------------- */

/* Appends text as one gzip member. */
static size_t gzip_member(uint8_t *out, size_t cap, const char *text)
{
    z_stream z = {0};
    if (deflateInit2(&z, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) != Z_OK) return 0;
    z.next_in = (z_const Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)strlen(text);
    z.next_out = out;
    z.avail_out = (uInt)cap;
    deflate(&z, Z_FINISH);
    size_t n = cap - z.avail_out;
    deflateEnd(&z);
    return n;
}

/* Writes bytes to a file and opens it; want: its content, or NULL if it must be refused with a
 * message that holds says. */
static void check_file(struct test *t, const char *path, struct span bytes, const char *want,
                       const char *says)
{
    struct err e = {0};
    struct file_writer *w;
    if (!test_ok(t, file_create(&w, path, &e), &e)) return;
    enum status st = file_write(w, bytes.data, bytes.size, &e);
    if (!st) st = file_commit(w, &e);
    if (!test_ok(t, st, &e)) return;
    struct file f;
    st = file_open(&f, path, &e);
    t->result.total++;
    if (want) {
        if (!test_ok(t, st, &e)) return;
        test_check(t, f.bytes.size == strlen(want) && memcmp(f.bytes.data, want, f.bytes.size) == 0,
                   "%zu bytes are read, want \"%s\"", f.bytes.size, want);
        file_close(&f);
        return;
    }
    if (!test_check(t, st != ST_OK, "%zu bytes are read, where \"%s\" is expected", f.bytes.size,
                    says)) {
        file_close(&f);
        return;
    }
    container_check_message(t, &e);
    test_check(t, strncmp(e.text, path, strlen(path)) == 0 && strstr(e.text, says),
               "says \"%s\", want \"%s\"", e.text, says);
}

static void run_files(struct test *t, const struct test_case *c)
{
    (void)c;
    const char *dir = temp_dir(t);
    const char *path = dir ? dir_path(t, dir, "file") : NULL;
    if (!path) return;
    uint8_t gz[512];
    size_t one = gzip_member(gz, sizeof gz, "first "),
           two = gzip_member(gz + one, sizeof gz - one, "second");
    check_file(t, path, (struct span){(const uint8_t *)"plain", 5}, "plain", NULL);
    check_file(t, path, (struct span){gz, one}, "first ", NULL);
    check_file(t, path, (struct span){gz, one + two}, "first second", NULL);
    check_file(t, path, (struct span){NULL, 0}, NULL, "empty");
    for (size_t n = 2; n < one; n++)
        check_file(t, path, (struct span){gz, n}, NULL, "gzip data ends early");
    check_file(t, path, (struct span){gz, one + 1}, NULL, "not gzip data");
    size_t none = gzip_member(gz + one + two, sizeof gz - one - two, "");
    check_file(t, path, (struct span){gz + one + two, none}, NULL, "empty");
    gz[one - 8] ^= 1; /* of the CRC */
    check_file(t, path, (struct span){gz, one}, NULL, "damaged");

    struct err e = {0};
    struct file f;
    const char *missing = dir_path(t, dir, "missing");
    if (missing) check_refused(t, file_open(&f, missing, &e), &e, "a missing file");
    check_refused(t, file_open(&f, dir, &e), &e, "a directory");
    struct file_writer *w;
    if (missing && test_ok(t, file_create(&w, missing, &e), &e)) {
        test_ok(t, file_write(w, "x", 1, &e), &e);
        test_check(t, access(missing, F_OK) != 0, "the file is there before it is complete");
        file_abort(w);
    }
    test_check(t, temp_count(t, dir) == 1, "a file is left behind");
    temp_remove(dir);
}

/* ---- collecting -------------------------------------------------------------------------- */

void container_collect_written(struct case_list *l, char *const *valid, size_t n)
{
    struct test_case c = {.suite = "gguf", .op = "roundtrip", .quick = true, .run = run_roundtrip};
    for (size_t i = 0; i < n; i++) {
        c.shape = valid[i];
        c.arg = valid[i];
        case_add(l, &c);
    }
    c.run = run_random;
    for (size_t i = 0; i < 10; i++) {
        c.shape = case_text(l, "random-%zu", i);
        c.index = i;
        case_add(l, &c);
    }
    static const struct {
        const char *name;
        void (*run)(struct test *, const struct test_case *);
    } others[] = {{"refusals", run_refusals}, {"disk_full", run_disk_full}, {"file", run_files}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        c = (struct test_case){
            .suite = "gguf", .op = others[i].name, .quick = true, .run = others[i].run};
        case_add(l, &c);
    }
}
