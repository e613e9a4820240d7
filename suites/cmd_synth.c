/* assay synth: makes a model of a known shape with random weights, to measure speed with, or to
 * have something to load where nothing can be fetched. Weights are streamed to the file.
 *
 * A matrix is made of units of 256 elements: gaussian values of variance 1 / n_in, encoded. So every
 * block is one that the encoder writes, with sane scales, whatever the type is, and activations keep
 * their size through the layers. Encoders are slow: units of a large matrix are drawn at random
 * from a pool. */
#include "cmd.h"
#include "ref.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNIT = 256,
    POOL = 512,
    LARGE = 1 << 22,
    ALIGNMENT = 32,
    GGUF_KIND_U32 = 4,
    GGUF_KIND_F32 = 6,
    GGUF_KIND_TEXT = 8
};

static const struct shape {
    const char *name;
    uint32_t layers, embd, heads, kv_heads, ff, vocab, context;
    float rope_base;
} shapes[] = {
    {"llama-tiny", 2, 256, 4, 2, 768, 512, 512, 10000.0f},
    {"llama-1b", 22, 2048, 32, 4, 5632, 32000, 2048, 10000.0f},    /* TinyLlama 1.1B */
    {"llama-8b", 32, 4096, 32, 8, 14336, 128256, 8192, 500000.0f}, /* Llama 3 8B */
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const char help[] =
    "usage: assay synth --shape SHAPE --type TYPE --out FILE [options]\n\n"
    "Writes a LLaMA model with random weights. It has no tokenizer: it is for measuring speed\n"
    "and for loading, not for text. The same options and seed give the same file.\n\n"
    "  --shape SHAPE  llama-tiny, llama-1b (like TinyLlama 1.1B), llama-8b (like Llama 3 8B)\n"
    "  --type TYPE    tensor type of every matrix (q4_K, f16, ...); norms are f32\n"
    "  --out FILE     appears only when it is complete\n"
    "  --layers N     another number of layers\n"
    "  --seed N       default 1\n"
    "  -q, --quiet    no table at the end\n\n"
    "example:\n"
    "  assay synth --shape llama-8b --type Q4_K --out llama-8b-q4_K.gguf\n\n"
    "Exit status: 0 written, 1 failed, 2 usage.\n";

struct synth {
    struct shape shape;
    const struct type_spec *type;
    const char *out;
    uint64_t seed;
    bool quiet;
    struct file_writer *file;
    uint8_t *head; /* the header being made */
    size_t head_bytes, head_cap;
    uint64_t data_bytes; /* of the tensors so far, padding included */
    uint32_t n_tensors;
    uint8_t *pool; /* POOL units of the type, for rows of pool_n_in */
    uint32_t pool_n_in;
    size_t done, total; /* elements */
    struct err e;
};

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Sum of twelve uniform values: near enough to a gaussian, and the same on every machine. */
static float gauss(uint64_t *state)
{
    double s = -6.0;
    for (int i = 0; i < 12; i++) s += (double)(next(state) >> 11) * 0x1p-53;
    return (float)s;
}

/* ---- header ----------------------------------------------------------------------------- */

static enum status put(struct synth *s, const void *data, size_t n)
{
    if (s->head_bytes + n > s->head_cap) {
        size_t cap = s->head_cap * 2 + n;
        uint8_t *more = realloc(s->head, cap);
        if (!more) return fail(&s->e, ST_NOMEM, "no memory for a header of %zu bytes", cap);
        s->head = more;
        s->head_cap = cap;
    }
    memcpy(s->head + s->head_bytes, data, n);
    s->head_bytes += n;
    return ST_OK;
}

/* Little-endian, whatever this machine is. */
static void put_number(struct synth *s, uint64_t v, size_t bytes)
{
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++) b[i] = (uint8_t)(v >> 8 * i);
    put(s, b, bytes);
}

static void put_text(struct synth *s, const char *text)
{
    put_number(s, strlen(text), 8);
    put(s, text, strlen(text));
}

static void put_key(struct synth *s, const char *key, uint32_t kind)
{
    put_text(s, key);
    put_number(s, kind, 4);
}

static void put_u32(struct synth *s, const char *key, uint32_t v)
{
    put_key(s, key, GGUF_KIND_U32);
    put_number(s, v, 4);
}

static void put_f32(struct synth *s, const char *key, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_key(s, key, GGUF_KIND_F32);
    put_number(s, bits, 4);
}

enum { N_KEYS = 12 };

static void put_metadata(struct synth *s)
{
    const struct shape *p = &s->shape;
    put_key(s, "general.architecture", GGUF_KIND_TEXT);
    put_text(s, "llama");
    put_key(s, "general.name", GGUF_KIND_TEXT);
    put_text(s, p->name);
    put_u32(s, "llama.context_length", p->context);
    put_u32(s, "llama.embedding_length", p->embd);
    put_u32(s, "llama.block_count", p->layers);
    put_u32(s, "llama.feed_forward_length", p->ff);
    put_u32(s, "llama.attention.head_count", p->heads);
    put_u32(s, "llama.attention.head_count_kv", p->kv_heads);
    put_f32(s, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    put_u32(s, "llama.rope.dimension_count", p->embd / p->heads);
    put_f32(s, "llama.rope.freq_base", p->rope_base);
    put_u32(s, "llama.vocab_size", p->vocab);
}

/* ---- tensors ---------------------------------------------------------------------------- */

/* A tensor: a matrix of n_out rows, or a norm of n_in values (n_out 0). What is done with it
 * depends on the pass: announced in the header, then written. */
typedef enum status tensor_pass(struct synth *s, const char *name, uint32_t n_in, uint32_t n_out);

static size_t tensor_bytes(const struct synth *s, uint32_t n_in, uint32_t n_out)
{
    return n_out ? type_bytes(s->type, n_in) * n_out : n_in * sizeof(float);
}

static enum status announce(struct synth *s, const char *name, uint32_t n_in, uint32_t n_out)
{
    size_t bytes = tensor_bytes(s, n_in, n_out);
    put_text(s, name);
    put_number(s, n_out ? 2 : 1, 4);
    put_number(s, n_in, 8);
    if (n_out) put_number(s, n_out, 8);
    put_number(s, n_out ? (uint64_t)s->type->id : TYPE_F32, 4);
    put_number(s, s->data_bytes, 8);
    s->data_bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    s->n_tensors++;
    s->total += (size_t)n_in * (n_out ? n_out : 1);
    return s->e.st;
}

static enum status encode_unit(struct synth *s, uint32_t n_in, uint64_t *state, uint8_t *out)
{
    float x[UNIT];
    for (size_t i = 0; i < UNIT; i++) x[i] = gauss(state) / sqrtf((float)n_in);
    if (ref_encode(s->type->id, x, UNIT, NULL, out)) return ST_OK;
    return fail(&s->e, ST_UNSUPPORTED, "%s has no encoder", s->type->name);
}

static enum status fill_pool(struct synth *s, uint32_t n_in)
{
    size_t bytes = type_bytes(s->type, UNIT);
    uint64_t state = s->seed ^ n_in;
    if (s->pool_n_in == n_in) return ST_OK;
    if (!s->pool) s->pool = alloc_array(POOL, bytes);
    if (!s->pool) return fail(&s->e, ST_NOMEM, "no memory for %d units", POOL);
    for (size_t u = 0; u < POOL; u++)
        if (encode_unit(s, n_in, &state, s->pool + u * bytes) != ST_OK) return s->e.st;
    s->pool_n_in = n_in;
    return ST_OK;
}

static enum status pad(struct synth *s, size_t written)
{
    static const uint8_t zeros[ALIGNMENT];
    size_t over = written % ALIGNMENT;
    return over ? file_write(s->file, zeros, ALIGNMENT - over, &s->e) : ST_OK;
}

static enum status write_norm(struct synth *s, uint32_t n)
{
    uint64_t state = s->seed ^ s->done;
    for (uint32_t i = 0; i < n; i++) {
        float v = 1.0f + 0.1f * gauss(&state);
        uint8_t b[4];
        uint32_t bits;
        memcpy(&bits, &v, sizeof bits);
        for (size_t k = 0; k < 4; k++) b[k] = (uint8_t)(bits >> 8 * k);
        if (file_write(s->file, b, sizeof b, &s->e) != ST_OK) return s->e.st;
    }
    s->done += n;
    return ST_OK;
}

static enum status write_tensor(struct synth *s, const char *name, uint32_t n_in, uint32_t n_out)
{
    size_t unit = type_bytes(s->type, UNIT), row = type_bytes(s->type, n_in);
    uint64_t state = s->seed ^ s->done << 8;
    (void)name;
    if (!n_out) {
        enum status st = write_norm(s, n_in);
        return st == ST_OK ? pad(s, n_in * sizeof(float)) : st;
    }
    uint8_t *buffer = alloc_array(row, 1);
    if (!buffer) return fail(&s->e, ST_NOMEM, "no memory for a row of %zu bytes", row);
    bool large = (size_t)n_in * n_out > LARGE;
    enum status st = large ? fill_pool(s, n_in) : ST_OK;
    for (uint32_t r = 0; st == ST_OK && r < n_out; r++) {
        for (size_t i = 0; st == ST_OK && i < row; i += unit)
            if (large)
                memcpy(buffer + i, s->pool + next(&state) % POOL * unit, unit);
            else
                st = encode_unit(s, n_in, &state, buffer + i);
        if (st != ST_OK) break;
        st = file_write(s->file, buffer, row, &s->e);
        s->done += n_in;
        if (r % 256 == 0) progress_show("weights", s->done, s->total);
        if (r % 256 == 0 && interrupted()) st = fail(&s->e, ST_CANCELLED, "interrupted");
    }
    free(buffer);
    return st == ST_OK ? pad(s, row * n_out) : st;
}

static enum status each_tensor(struct synth *s, tensor_pass *pass)
{
    const struct shape *p = &s->shape;
    const uint32_t kv = p->embd / p->heads * p->kv_heads;
    const struct {
        const char *name;
        uint32_t n_in, n_out;
    } of_layer[] = {{"attn_norm", p->embd, 0},         {"attn_q", p->embd, p->embd},
                    {"attn_k", p->embd, kv},           {"attn_v", p->embd, kv},
                    {"attn_output", p->embd, p->embd}, {"ffn_norm", p->embd, 0},
                    {"ffn_gate", p->embd, p->ff},      {"ffn_up", p->embd, p->ff},
                    {"ffn_down", p->ff, p->embd}};
    enum status st = pass(s, "token_embd.weight", p->embd, p->vocab);
    for (uint32_t l = 0; l < p->layers; l++)
        for (size_t i = 0; st == ST_OK && i < sizeof of_layer / sizeof *of_layer; i++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%u.%s.weight", l, of_layer[i].name);
            st = pass(s, name, of_layer[i].n_in, of_layer[i].n_out);
        }
    if (st == ST_OK) st = pass(s, "output_norm.weight", p->embd, 0);
    return st == ST_OK ? pass(s, "output.weight", p->embd, p->vocab) : st;
}

/* ---- the command ------------------------------------------------------------------------ */

static enum status write_model(struct synth *s)
{
    enum { COUNT_AT = 8 }; /* of n_tensors in the header, known only after the pass */
    put(s, "GGUF", 4);
    put_number(s, 3, 4);
    put_number(s, 0, 8);
    put_number(s, N_KEYS, 8);
    put_metadata(s);
    enum status st = each_tensor(s, announce);
    while (s->e.st == ST_OK && s->head_bytes % ALIGNMENT != 0) put_number(s, 0, 1);
    if (st != ST_OK || s->e.st != ST_OK) return s->e.st;
    for (size_t i = 0; i < 8; i++)
        s->head[COUNT_AT + i] = (uint8_t)((uint64_t)s->n_tensors >> 8 * i);
    st = file_create(&s->file, s->out, &s->e);
    if (st != ST_OK) return st;
    st = file_write(s->file, s->head, s->head_bytes, &s->e);
    if (st == ST_OK) st = each_tensor(s, write_tensor);
    progress_end();
    if (st != ST_OK) {
        file_abort(s->file);
        return st;
    }
    return file_commit(s->file, &s->e);
}

static int choose_shape(struct synth *s, const char *name)
{
    for (size_t i = 0; i < N_SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0) {
            s->shape = shapes[i];
            return -1;
        }
    return cmd_usage("synth", "no shape '%s': llama-tiny, llama-1b and llama-8b are known", name);
}

static int choose_type(struct synth *s, const char *name)
{
    s->type = type_by_name(name);
    if (s->type && s->type->use == USE_W) return -1;
    return cmd_usage("synth", "'%s' is no type for matrices", name);
}

static int parse(int argc, char **argv, struct synth *s)
{
    enum { SHAPE = 256, TYPE, OUT, LAYERS, SEED };
    static const struct option options[] = {
        {"shape", required_argument, NULL, SHAPE}, {"type", required_argument, NULL, TYPE},
        {"out", required_argument, NULL, OUT},     {"layers", required_argument, NULL, LAYERS},
        {"seed", required_argument, NULL, SEED},   {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    const char *shape = NULL, *type = NULL;
    uint64_t layers = 0;
    int c;
    while ((c = getopt_long(argc, argv, "qh", options, NULL)) != -1) {
        switch (c) {
        case SHAPE:
            shape = optarg;
            break;
        case TYPE:
            type = optarg;
            break;
        case OUT:
            s->out = optarg;
            break;
        case LAYERS:
            if (!parse_u64(optarg, 1, 1000, &layers))
                return cmd_usage("synth", "--layers '%s' is not 1 to 1000", optarg);
            break;
        case SEED:
            if (!parse_u64(optarg, 0, UINT64_MAX, &s->seed))
                return cmd_usage("synth", "--seed '%s' is no number", optarg);
            break;
        case 'q':
            s->quiet = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_PASS;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind != argc) return cmd_usage("synth", "what is '%s'?", argv[optind]);
    if (!shape || !type || !s->out)
        return cmd_usage("synth", "--shape, --type and --out are wanted");
    int rc = choose_shape(s, shape);
    if (rc < 0 && layers) s->shape.layers = (uint32_t)layers;
    return rc < 0 ? choose_type(s, type) : rc;
}

int cmd_synth(int argc, char **argv)
{
    struct synth s = {.seed = 1};
    int rc = parse(argc, argv, &s);
    if (rc >= 0) return rc;
    interrupt_catch();
    enum status st = write_model(&s);
    if (st == ST_OK && !s.quiet)
        printf("%s: %s, %u layers, %s, %zu weights, %.3f GiB\n", s.out, s.shape.name,
               s.shape.layers, s.type->name, s.total,
               (double)(s.head_bytes + s.data_bytes) / 0x1p30);
    free(s.head);
    free(s.pool);
    return st == ST_OK ? EXIT_PASS : cmd_error("synth", &s.e);
}
