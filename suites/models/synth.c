/* Random models: what synth.def says of an architecture, as a GGUF file. Weights are streamed.
 *
 * A matrix is made of units of 256 elements, or of a block where rows are shorter: gaussian values,
 * encoded. So every block is one that the encoder writes, with sane scales, whatever the type is.
 * Encoders are slow: units of a large matrix are drawn at random from a pool. */
#include "models/synth.h"
#include "base/terminal.h"
#include "models/mix.h"
#include "reference/ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT = 256, POOL = 512, LARGE = 1 << 22, ALIGNMENT = 32 };

/* ---- the tables --------------------------------------------------------------------------- */

enum dim {
    DIM_ONE,
    DIM_TWO,
    DIM_E,
    DIM_V,
    DIM_C,
    DIM_L,
    DIM_F,
    DIM_FF,
    DIM_D,
    DIM_T,
    DIM_T2,
    DIM_H,
    DIM_G,
    DIM_Q,
    DIM_K,
    DIM_QKV,
    DIM_X,
    DIM_N,
    DIM_FX,
    DIM_GROUPS,
    DIM_GROUPS_USED,
    DIM_LEAD,
    DIM_W,
    DIM_P,
    DIM_O,
    DIM_R,
    DIM_RT,
    DIM_S,
    DIM_ST,
    DIM_SV,
    DIM_HS,
    DIM_HV,
    DIM_PLUS,
    N_DIMS
};
enum where { MODEL, LAYER, DENSE, SPARSE };
enum values { MATRIX, ROUTER, NORM, BIAS, SINK, FACTOR };
enum arch_flag { MHA = 1, PLAIN = 2, MLA = 4 };
enum { ALL = 1 << 20 };

#define SHAPE(...)
#define ARCH(...)
#define VARIANT(...)
#define COUNT(...)
#define BASE(...)
#define REAL(...)
#define FLAG(...)
#define TEXT(...)
#define TENSOR(...)

enum arch_id {
#undef ARCH
#undef VARIANT
#define ARCH(id, ...)    SYNTH_##id,
#define VARIANT(id, ...) SYNTH_##id,
#include "models/synth.def"
#undef ARCH
#undef VARIANT
#define VARIANT(...)
    N_ARCHS
};

/* Every architecture has its row. */
enum has_row {
#define ARCH(id, ...) synth_def_has_##id,
#include "models/synth.def"
#undef ARCH
};
#define ARCH(id, ...) _Static_assert(synth_def_has_##id >= 0, "");
#include "spec/archs.def"
#undef ARCH
#undef VARIANT

static const struct arch {
    const char *name; /* of a variant; NULL: that of the architecture */
    enum architecture architecture;
    uint32_t head_dim, rotated, dense, experts, used;
    int flags;
} archs[] = {
#define ARCH(id, ...)                {NULL, ARCHITECTURE_##id, __VA_ARGS__},
#define VARIANT(id, name, arch, ...) {name, ARCHITECTURE_##arch, __VA_ARGS__},
#include "models/synth.def"
#undef ARCH
#undef VARIANT
#define ARCH(...)
#define VARIANT(...)
};

static const struct shape {
    const char *name;
    uint32_t layers, embd, heads, kv_heads, ff, vocab, context;
    float rope_base;
    uint32_t experts, window, original, lora, nope;
} shapes[] = {
#undef SHAPE
#define SHAPE(id, ...) {__VA_ARGS__},
#include "models/synth.def"
#undef SHAPE
#define SHAPE(...)
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static const struct key {
    const char *name;
    enum key_kind { KEY_COUNT, KEY_BASE, KEY_REAL, KEY_FLAG, KEY_TEXT } kind;
    enum dim dim;
    float real;
    const char *text;
} keys[] = {
#undef COUNT
#undef BASE
#undef REAL
#undef FLAG
#undef TEXT
#define COUNT(archs, key, dim)  {key, KEY_COUNT, DIM_##dim, 0, NULL},
#define BASE(archs, key)        {key, KEY_BASE, DIM_ONE, 0, NULL},
#define REAL(archs, key, value) {key, KEY_REAL, DIM_ONE, (float)(value), NULL},
#define FLAG(archs, key, value) {key, KEY_FLAG, DIM_ONE, (value) ? 1 : 0, NULL},
#define TEXT(archs, key, value) {key, KEY_TEXT, DIM_ONE, 0, value},
#include "models/synth.def"
#undef COUNT
#undef BASE
#undef REAL
#undef FLAG
#undef TEXT
#define COUNT(...)
#define BASE(...)
#define REAL(...)
#define FLAG(...)
#define TEXT(...)
};
enum { N_KEYS = sizeof keys / sizeof *keys };

static const struct tensor_row {
    enum where where;
    const char *name;
    enum values values;
    enum dim in, out, n;
} rows[] = {
#undef TENSOR
#define TENSOR(archs, where, name, values, in, out, n)                                             \
    {where, name, values, DIM_##in, DIM_##out, DIM_##n},
#include "models/synth.def"
#undef TENSOR
#define TENSOR(...)
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* Which rows are of an architecture. A set of architectures is an expression of A() and EVERY that
 * is evaluated for one of them: all ones if it is a member, else 0. So there may be any number. */
struct members {
    int keys[N_KEYS], rows[N_ROWS];
};
#define A(id) (-(int)(arch == SYNTH_##id))
#define EVERY (-1)

static struct members members_of(enum arch_id arch)
{
    return (struct members){.keys =
                                {
#undef COUNT
#undef BASE
#undef REAL
#undef FLAG
#undef TEXT
#define COUNT(archs, ...) archs,
#define BASE(archs, ...)  archs,
#define REAL(archs, ...)  archs,
#define FLAG(archs, ...)  archs,
#define TEXT(archs, ...)  archs,
#include "models/synth.def"
#undef COUNT
#undef BASE
#undef REAL
#undef FLAG
#undef TEXT
#define COUNT(...)
#define BASE(...)
#define REAL(...)
#define FLAG(...)
#define TEXT(...)
                                },
                            .rows = {
#undef TENSOR
#define TENSOR(archs, ...) archs,
#include "models/synth.def"
#undef TENSOR
                            }};
}

const char *synth_arch(size_t i)
{
    if (i >= N_ARCHS) return NULL;
    return archs[i].name ? archs[i].name : architecture_names[archs[i].architecture];
}

const char *synth_shape(size_t i)
{
    return i < N_SHAPES ? shapes[i].name : NULL;
}

bool synth_makes(const char *architecture)
{
    for (size_t i = 0; i < N_ARCHS; i++)
        if (strcmp(architecture_names[archs[i].architecture], architecture) == 0) return true;
    return false;
}

/* ---- dimensions --------------------------------------------------------------------------- */

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t round_up(uint32_t n, uint32_t to)
{
    return (n + to - 1) / to * to;
}

static void head_dims(uint32_t *d, const struct arch *a, const struct shape *s)
{
    d[DIM_H] = s->heads;
    d[DIM_G] = a->flags & MHA ? s->heads : s->kv_heads;
    d[DIM_D] = a->head_dim ? a->head_dim : s->embd / s->heads;
    d[DIM_T] = d[DIM_D] * a->rotated / 4;
    d[DIM_Q] = d[DIM_H] * d[DIM_D];
    d[DIM_K] = d[DIM_G] * d[DIM_D];
    if (a->flags & MLA) {
        d[DIM_G] = 1;
        d[DIM_T] = 64;
    }
    d[DIM_T2] = d[DIM_T] / 2;
    d[DIM_QKV] = d[DIM_Q] + 2 * d[DIM_K];
    d[DIM_R] = s->lora;
    d[DIM_RT] = d[DIM_R] + d[DIM_T];
    d[DIM_S] = d[DIM_SV] = s->nope;
    d[DIM_ST] = d[DIM_S] + d[DIM_T];
    d[DIM_HS] = d[DIM_H] * d[DIM_ST];
    d[DIM_HV] = d[DIM_H] * d[DIM_SV];
    d[DIM_PLUS] = d[DIM_L] == 64 ? d[DIM_D] : 0;
}

static void expert_dims(uint32_t *d, const struct arch *a, const struct shape *s)
{
    d[DIM_LEAD] = min_u32(a->dense, d[DIM_L]);
    d[DIM_X] = min_u32(a->experts, s->experts);
    if (d[DIM_X] == 0) return;
    d[DIM_N] = min_u32(a->used, d[DIM_X] / 2);
    d[DIM_FX] = round_up(d[DIM_F] / d[DIM_X], UNIT); /* all experts: about the dense model's */
    d[DIM_GROUPS] = d[DIM_X] / 2 < 8 ? 2 : 8;
    d[DIM_GROUPS_USED] = d[DIM_GROUPS] / 2;
}

static void find_dims(uint32_t *d, const struct arch *a, const struct shape *s, uint32_t layers)
{
    memset(d, 0, N_DIMS * sizeof *d);
    d[DIM_ONE] = 1;
    d[DIM_TWO] = 2;
    d[DIM_E] = s->embd;
    d[DIM_V] = s->vocab;
    d[DIM_C] = s->context;
    d[DIM_L] = layers ? layers : s->layers;
    d[DIM_F] = a->flags & PLAIN ? round_up(s->ff * 3 / 2, UNIT) : s->ff;
    d[DIM_FF] = 2 * d[DIM_F];
    d[DIM_W] = s->window;
    d[DIM_P] = s->layers < 6 ? 2 : 0;
    d[DIM_O] = s->original;
    head_dims(d, a, s);
    expert_dims(d, a, s);
}

/* ---- header ------------------------------------------------------------------------------- */

struct synth {
    const struct synth_options *o;
    const struct arch *arch;
    const char *architecture;
    struct members members;
    const struct shape *shape;
    uint32_t dims[N_DIMS];
    struct mix mix;
    struct file_writer *file;
    uint8_t *head; /* the header being made */
    size_t head_bytes, head_cap;
    uint64_t data_bytes; /* of the tensors so far, padding included */
    uint32_t n_tensors, n_keys;
    uint8_t *pool; /* POOL units, of a type and for rows of pool_n_in */
    uint32_t pool_n_in;
    enum tensor_type pool_type;
    size_t made, total; /* elements */
    struct synth_done *done;
    struct err *e;
};

static void put(struct synth *s, const void *data, size_t n)
{
    if (s->e->st != ST_OK) return;
    if (s->head_bytes + n > s->head_cap) {
        size_t cap = s->head_cap * 2 + n;
        uint8_t *more = realloc(s->head, cap);
        if (!more) {
            fail(s->e, ST_NOMEM, "no memory for a header of %zu bytes", cap);
            return;
        }
        s->head = more;
        s->head_cap = cap;
    }
    memcpy(s->head + s->head_bytes, data, n);
    s->head_bytes += n;
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

static void put_key(struct synth *s, const char *name, enum gguf_type type)
{
    put_text(s, name);
    put_number(s, type, 4);
    s->n_keys++;
}

static void put_f32(struct synth *s, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_number(s, bits, 4);
}

static void put_row(struct synth *s, const struct key *k)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", s->architecture, k->name);
    switch (k->kind) {
    case KEY_COUNT:
        if (s->dims[k->dim] == 0) break;
        put_key(s, name, GGUF_U32);
        put_number(s, s->dims[k->dim], 4);
        break;
    case KEY_BASE:
    case KEY_REAL:
        put_key(s, name, GGUF_F32);
        put_f32(s, k->kind == KEY_BASE ? s->shape->rope_base : k->real);
        break;
    case KEY_FLAG:
        put_key(s, name, GGUF_BOOL);
        put_number(s, k->real != 0, 1);
        break;
    case KEY_TEXT:
        put_key(s, name, GGUF_STRING);
        put_text(s, k->text);
        break;
    }
}

static void put_metadata(struct synth *s)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%s", s->o->arch, s->shape->name);
    put_key(s, "general.architecture", GGUF_STRING);
    put_text(s, s->architecture);
    put_key(s, "general.name", GGUF_STRING);
    put_text(s, name);
    put_key(s, "tokenizer.ggml.model", GGUF_STRING);
    put_text(s, "no_vocab");
    for (size_t i = 0; i < N_KEYS; i++)
        if (s->members.keys[i]) put_row(s, &keys[i]);
}

/* ---- tensors ------------------------------------------------------------------------------ */

/* One tensor of the file. */
struct tensor {
    char name[64];
    const struct tensor_row *row;
    uint32_t dims[3], n_dims;
    const struct type_spec *type;
    size_t n_rows, bytes;
};

/* What is done with a tensor depends on the pass: announced in the header, then written. */
typedef enum status tensor_pass(struct synth *s, const struct tensor *t);

static enum status announce(struct synth *s, const struct tensor *t)
{
    put_text(s, t->name);
    put_number(s, t->n_dims, 4);
    for (uint32_t i = 0; i < t->n_dims; i++) put_number(s, t->dims[i], 8);
    put_number(s, (uint64_t)t->type->id, 4);
    put_number(s, s->data_bytes, 8);
    s->data_bytes += (t->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    s->n_tensors++;
    s->total += t->n_rows * t->dims[0];
    if (t->row->values == MATRIX && t->type->id != s->mix.base && t->type->id != TYPE_F32) {
        s->done->n_other++;
        s->done->other = t->type->id;
    }
    return s->e->st;
}

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

/* Values of a tensor come from its name: adding one to the table does not change the others. */
static uint64_t seed_of(const struct synth *s, const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 0x100000001b3u;
    return h ^ s->o->seed * 0x9e3779b97f4a7c15u;
}

static float value(const struct tensor *t, uint64_t *state)
{
    const float g = gauss(state), width = 1.0f / sqrtf((float)t->dims[0]);
    switch (t->row->values) {
    case MATRIX:
        return g * width;
    case ROUTER:
        return 2.0f * g * width;
    case NORM:
        return 1.0f + 0.1f * g;
    case BIAS:
        return 0.1f * g;
    case SINK:
        return g;
    case FACTOR:
        return 1.5f + 0.1f * g;
    }
    return 0;
}

static enum status encode_unit(struct synth *s, const struct tensor *t, size_t n, uint64_t *state,
                               uint8_t *out)
{
    float x[UNIT];
    for (size_t i = 0; i < n; i++) x[i] = value(t, state);
    if (ref_encode(t->type->id, x, n, NULL, out)) return ST_OK;
    return fail(s->e, ST_UNSUPPORTED, "%s has no encoder", t->type->name);
}

static enum status fill_pool(struct synth *s, const struct tensor *t, size_t n)
{
    const size_t bytes = type_bytes(t->type, n);
    uint64_t state = s->o->seed ^ t->dims[0];
    if (s->pool && s->pool_n_in == t->dims[0] && s->pool_type == t->type->id) return ST_OK;
    free(s->pool);
    s->pool = alloc_array(POOL, bytes);
    if (!s->pool) return fail(s->e, ST_NOMEM, "no memory for %d units", POOL);
    for (size_t u = 0; u < POOL; u++)
        if (encode_unit(s, t, n, &state, s->pool + u * bytes) != ST_OK) return s->e->st;
    s->pool_n_in = t->dims[0];
    s->pool_type = t->type->id;
    return ST_OK;
}

static enum status pad(struct synth *s, size_t written)
{
    static const uint8_t zeros[ALIGNMENT];
    size_t over = written % ALIGNMENT;
    return over ? file_write(s->file, zeros, ALIGNMENT - over, s->e) : ST_OK;
}

static enum status write_tensor(struct synth *s, const struct tensor *t)
{
    const size_t n_in = t->dims[0], n = n_in % UNIT == 0 ? UNIT : t->type->block_elems;
    const size_t unit = type_bytes(t->type, n), row = type_bytes(t->type, n_in);
    const bool large = t->row->values == MATRIX && n_in * t->n_rows > LARGE;
    uint64_t state = seed_of(s, t->name);
    uint8_t *buffer = alloc_array(row, 1);
    if (!buffer) return fail(s->e, ST_NOMEM, "no memory for a row of %zu bytes", row);
    enum status st = large ? fill_pool(s, t, n) : ST_OK;
    for (size_t r = 0; st == ST_OK && r < t->n_rows; r++) {
        for (size_t i = 0; st == ST_OK && i < row; i += unit)
            if (large)
                memcpy(buffer + i, s->pool + next(&state) % POOL * unit, unit);
            else
                st = encode_unit(s, t, n, &state, buffer + i);
        if (st != ST_OK) break;
        st = file_write(s->file, buffer, row, s->e);
        s->made += n_in;
        if (r % 256 != 0) continue;
        if (s->o->progress) progress_show("weights", s->made, s->total);
        if (interrupt_caught()) st = fail(s->e, ST_CANCELLED, "interrupted");
    }
    free(buffer);
    return st == ST_OK ? pad(s, t->bytes) : st;
}

/* ---- the model ---------------------------------------------------------------------------- */

static enum status pass_row(struct synth *s, const struct tensor_row *row, uint32_t layer,
                            tensor_pass *pass)
{
    struct tensor t = {.row = row, .n_dims = 1};
    const enum dim dims[] = {row->in, row->out, row->n};
    for (uint32_t i = 0; i < 3; i++) {
        t.dims[i] = s->dims[dims[i]];
        if (dims[i] != DIM_ONE) t.n_dims = i + 1;
    }
    if (t.dims[0] == 0) return ST_OK;
    if (row->where == MODEL)
        snprintf(t.name, sizeof t.name, "%s", row->name);
    else
        snprintf(t.name, sizeof t.name, "blk.%u.%s", layer, row->name);
    t.type = type_by_id(mix_type(&s->mix, t.name, t.n_dims, t.dims[0], TYPE_F32));
    t.n_rows = (size_t)t.dims[1] * t.dims[2];
    t.bytes = type_bytes(t.type, t.dims[0]) * t.n_rows;
    return pass(s, &t);
}

static bool in_layer(const struct synth *s, enum where where, uint32_t layer)
{
    const bool dense = layer < s->dims[DIM_LEAD];
    return where == LAYER || where == (dense ? DENSE : SPARSE);
}

static enum status each_tensor(struct synth *s, tensor_pass *pass)
{
    enum status st = ST_OK;
    for (size_t i = 0; st == ST_OK && i < N_ROWS; i++)
        if (rows[i].where == MODEL && s->members.rows[i]) st = pass_row(s, &rows[i], 0, pass);
    for (uint32_t l = 0; st == ST_OK && l < s->dims[DIM_L]; l++)
        for (size_t i = 0; st == ST_OK && i < N_ROWS; i++)
            if (in_layer(s, rows[i].where, l) && s->members.rows[i])
                st = pass_row(s, &rows[i], l, pass);
    return st;
}

static void patch(struct synth *s, size_t at, uint64_t v)
{
    for (size_t i = 0; i < 8; i++) s->head[at + i] = (uint8_t)(v >> 8 * i);
}

static enum status write_model(struct synth *s)
{
    enum { TENSORS_AT = 8, KEYS_AT = 16 }; /* counts in the header, known after the pass */
    put(s, "GGUF", 4);
    put_number(s, 3, 4);
    put_number(s, 0, 8);
    put_number(s, 0, 8);
    put_metadata(s);
    enum status st = each_tensor(s, announce);
    while (s->e->st == ST_OK && s->head_bytes % ALIGNMENT != 0) put_number(s, 0, 1);
    if (st != ST_OK || s->e->st != ST_OK) return s->e->st;
    patch(s, TENSORS_AT, s->n_tensors);
    patch(s, KEYS_AT, s->n_keys);
    st = file_create(&s->file, s->o->out, s->e);
    if (st != ST_OK) return st;
    st = file_write(s->file, s->head, s->head_bytes, s->e);
    if (st == ST_OK) st = each_tensor(s, write_tensor);
    if (s->o->progress) progress_end();
    if (st != ST_OK) {
        file_abort(s->file);
        return st;
    }
    return file_commit(s->file, s->e);
}

/* A name among `names`; the error lists them. */
static enum status choose(const char *what, const char *name, const char *(*names)(size_t),
                          size_t *out, struct err *e)
{
    char list[sizeof e->text] = "";
    for (size_t i = 0; names(i); i++) {
        *out = i;
        if (strcmp(names(i), name) == 0) return ST_OK;
        const size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, " %s", names(i));
    }
    return fail(e, ST_USAGE, "no %s '%s'; known:%s", what, name, list);
}

enum status synth_find_arch(const char *name, size_t *out, struct err *e)
{
    return choose("architecture", name, synth_arch, out, e);
}

enum status synth_write(const struct synth_options *o, struct synth_done *done, struct err *e)
{
    struct synth s = {.o = o, .done = done, .e = e};
    size_t arch = 0, shape = 0;
    *done = (struct synth_done){.n_other = 0};
    if (synth_find_arch(o->arch, &arch, e) != ST_OK) return e->st;
    if (choose("shape", o->shape, synth_shape, &shape, e) != ST_OK) return e->st;
    if (mix_find(&s.mix, o->type->name, e) != ST_OK) return e->st;
    s.arch = &archs[arch];
    s.architecture = architecture_names[s.arch->architecture];
    s.members = members_of((enum arch_id)arch);
    s.shape = &shapes[shape];
    find_dims(s.dims, s.arch, s.shape, o->layers);
    enum status st = write_model(&s);
    done->layers = s.dims[DIM_L];
    done->weights = s.total;
    done->bytes = s.head_bytes + s.data_bytes;
    free(s.head);
    free(s.pool);
    return st;
}
