/* The suite of operations: every row of cases.def, on every subject, for every type it has. */
#include "conformance/conformance.h"
#include "conformance/ops.h"

#include <string.h>

static const struct op_row rows[] = {
#define LOOKUP(ty, r, b, ids, w, q)                                                                \
    {.op = OP_get_rows,                                                                            \
     .types = TYPES_##ty,                                                                          \
     .rows = r,                                                                                    \
     .n = b,                                                                                       \
     .cols = ids,                                                                                  \
     .weights = WEIGHTS_##w,                                                                       \
     .quick = q,                                                                                   \
     .shape = #r "x" #b "b-" #ids "-" #w},
#define MATRIX(o, ty, m, k, c, in, w, q, values, unit)                                             \
    {.op = OP_##o,                                                                                 \
     .types = TYPES_##ty,                                                                          \
     .rows = m,                                                                                    \
     .n = k,                                                                                       \
     .cols = c,                                                                                    \
     .input = INPUT_##in,                                                                          \
     .weights = WEIGHTS_##w,                                                                       \
     .quick = q,                                                                                   \
     .in_values = values,                                                                          \
     .shape = #m "x" #k unit "-" #c "-" #in "-" #w},
#define MATMUL(o, ty, m, b, c, in, w, q) MATRIX(o, ty, m, b, c, in, w, q, false, "b")
#define LONG(o, ty, m, k, c, in, w, q)   MATRIX(o, ty, m, k, c, in, w, q, true, "")
#define ROWS(o, r, k, in, q)                                                                       \
    {.op = OP_##o, .rows = r, .n = k, .input = INPUT_##in, .quick = q, .shape = #r "x" #k "-" #in},
#define NORM(r, k, in, e, q)                                                                       \
    {.op = OP_rms_norm,                                                                            \
     .rows = r,                                                                                    \
     .n = k,                                                                                       \
     .w_rows = 1,                                                                                  \
     .input = INPUT_##in,                                                                          \
     .eps = e##f,                                                                                  \
     .quick = q,                                                                                   \
     .shape = #r "x" #k "-" #in "-eps-" #e},
#define NORM_OF(o, r, k, wr, b, in, e, q)                                                          \
    {.op = OP_##o,                                                                                 \
     .rows = r,                                                                                    \
     .n = k,                                                                                       \
     .w_rows = wr,                                                                                 \
     .bias = b,                                                                                    \
     .input = INPUT_##in,                                                                          \
     .eps = e##f,                                                                                  \
     .quick = q,                                                                                   \
     .shape = #r "x" #k "-of-" #wr "-b" #b "-" #in "-eps-" #e},
#define SINKS(r, k, ns, in, q)                                                                     \
    {.op = OP_softmax,                                                                             \
     .rows = r,                                                                                    \
     .n = k,                                                                                       \
     .n_sinks = ns,                                                                                \
     .input = INPUT_##in,                                                                          \
     .quick = q,                                                                                   \
     .shape = #r "x" #k "-sinks-" #ns "-" #in},
#define ROPE(h, d, nd, pair, b, sc, in, q)                                                         \
    {.op = OP_rope,                                                                                \
     .heads = h,                                                                                   \
     .head_dim = d,                                                                                \
     .n_dims = nd,                                                                                 \
     .pairing = ROPE_##pair,                                                                       \
     .base = b,                                                                                    \
     .scaling = SCALING_##sc,                                                                      \
     .input = INPUT_##in,                                                                          \
     .quick = q,                                                                                   \
     .shape = #h "x" #d "-" #nd "-" #pair "-" #b "-" #sc "-" #in},
#define ROPE_FROM(h, d, f, nd, pair, b, sc, in, q)                                                 \
    {.op = OP_rope,                                                                                \
     .heads = h,                                                                                   \
     .head_dim = d,                                                                                \
     .first = f,                                                                                   \
     .n_dims = nd,                                                                                 \
     .pairing = ROPE_##pair,                                                                       \
     .base = b,                                                                                    \
     .scaling = SCALING_##sc,                                                                      \
     .input = INPUT_##in,                                                                          \
     .quick = q,                                                                                   \
     .shape = #h "x" #d "-from-" #f "-" #nd "-" #pair "-" #b "-" #sc "-" #in},
#define ATTENTION(h, kv, d, p, tok, cell, score, q)                                                \
    {.op = OP_attention,                                                                           \
     .types = TYPES_PLAIN,                                                                         \
     .heads = h,                                                                                   \
     .kv_heads = kv,                                                                               \
     .head_dim = d,                                                                                \
     .past = p,                                                                                    \
     .rows = tok,                                                                                  \
     .cells = CELLS_##cell,                                                                        \
     .scores = SCORES_##score,                                                                     \
     .quick = q,                                                                                   \
     .shape = "h" #h "-" #kv "x" #d "-past" #p "-" #tok "-" #cell "-" #score},
#define MASKED(ty, h, kv, d, dv, p, tok, cell, score, win, c, sink, q)                             \
    {.op = OP_attention,                                                                           \
     .types = TYPES_##ty,                                                                          \
     .heads = h,                                                                                   \
     .kv_heads = kv,                                                                               \
     .head_dim = d,                                                                                \
     .value_dim = dv,                                                                              \
     .past = p,                                                                                    \
     .rows = tok,                                                                                  \
     .cells = CELLS_##cell,                                                                        \
     .scores = SCORES_##score,                                                                     \
     .window = win,                                                                                \
     .cap = c,                                                                                     \
     .sinks = sink,                                                                                \
     .quick = q,                                                                                   \
     .shape = "h" #h "-" #kv "x" #d "-v" #dv "-past" #p "-" #tok "-" #cell "-" #score "-w" #win    \
              "-cap" #c "-s" #sink},
#define MIXED(h, kv, d, p, tok, q)                                                                 \
    {.op = OP_attention,                                                                           \
     .heads = h,                                                                                   \
     .kv_heads = kv,                                                                               \
     .head_dim = d,                                                                                \
     .past = p,                                                                                    \
     .rows = tok,                                                                                  \
     .types = TYPES_ALL,                                                                           \
     .mixed = true,                                                                                \
     .quick = q,                                                                                   \
     .shape = "h" #h "-" #kv "x" #d "-past" #p "-" #tok "-mixed"},
#define STORE(kv, d, tok, q)                                                                       \
    {.op = OP_kv_write,                                                                            \
     .kv_heads = kv,                                                                               \
     .head_dim = d,                                                                                \
     .rows = tok,                                                                                  \
     .quick = q,                                                                                   \
     .shape = #kv "x" #d "-" #tok},
#define FLAT(o, k, in, q)                                                                          \
    {.op = OP_##o, .rows = 1, .n = k, .input = INPUT_##in, .quick = q, .shape = #k "-" #in},
#define COPY(r, g, k, xr, xg, outr, outg, q)                                                       \
    {.op = OP_copy,                                                                                \
     .rows = r,                                                                                    \
     .groups = g,                                                                                  \
     .n = k,                                                                                       \
     .x_row = xr,                                                                                  \
     .x_group = xg,                                                                                \
     .out_row = outr,                                                                              \
     .out_group = outg,                                                                            \
     .quick = q,                                                                                   \
     .shape = #r "x" #g "x" #k "-from-" #xr "-" #xg "-to-" #outr "-" #outg},
#define ROUTE(gate, tok, ex, us, gr, gu, b, norm, sc, in, q)                                       \
    {.op = OP_route,                                                                               \
     .gating = ROUTE_##gate,                                                                       \
     .rows = tok,                                                                                  \
     .n_experts = ex,                                                                              \
     .n_used = us,                                                                                 \
     .n_groups = gr,                                                                               \
     .n_groups_used = gu,                                                                          \
     .bias = b,                                                                                    \
     .normalise = norm,                                                                            \
     .scale = sc / 10.0f,                                                                          \
     .input = INPUT_##in,                                                                          \
     .quick = q,                                                                                   \
     .shape = #gate "-" #tok "x" #ex "-" #us "-groups-" #gr "-" #gu "-b" #b "-n" #norm "-" #sc     \
                    "-" #in},
#define EXPERT_MATRIX(ty, m, k, ex, us, tok, ch, slot, b, in, w, q, values, unit)                  \
    {.op = OP_matmul_id,                                                                           \
     .types = TYPES_##ty,                                                                          \
     .rows = m,                                                                                    \
     .n = k,                                                                                       \
     .cols = tok,                                                                                  \
     .n_experts = ex,                                                                              \
     .n_used = us,                                                                                 \
     .choice = CHOICE_##ch,                                                                        \
     .x_per_slot = slot,                                                                           \
     .bias = b,                                                                                    \
     .input = INPUT_##in,                                                                          \
     .weights = WEIGHTS_##w,                                                                       \
     .quick = q,                                                                                   \
     .in_values = values,                                                                          \
     .shape =                                                                                      \
         #ex "x" #m "x" #k unit "-" #tok "x" #us "-" #ch "-slots" #slot "-b" #b "-" #in "-" #w},
#define EXPERTS(ty, m, bl, ex, us, tok, ch, slot, b, in, w, q)                                     \
    EXPERT_MATRIX(ty, m, bl, ex, us, tok, ch, slot, b, in, w, q, false, "b")
#define EXPERTS_LONG(ty, m, k, ex, us, tok, ch, slot, b, in, w, q)                                 \
    EXPERT_MATRIX(ty, m, k, ex, us, tok, ch, slot, b, in, w, q, true, "")
#define MOE_SUM(tok, us, k, in, q)                                                                 \
    {.op = OP_moe_sum,                                                                             \
     .rows = tok,                                                                                  \
     .n_used = us,                                                                                 \
     .n = k,                                                                                       \
     .input = INPUT_##in,                                                                          \
     .quick = q,                                                                                   \
     .shape = #tok "x" #us "x" #k "-" #in},
#include "conformance/cases.def"
};

double *ops_widen(struct test *t, const float *x, size_t n)
{
    double *y = test_alloc(t, n + 1, sizeof *y);
    for (size_t i = 0; y && i < n; i++) y[i] = (double)x[i];
    return y;
}

static void (*runner(enum op op))(struct test *, const struct test_case *)
{
    switch (op) {
    case OP_get_rows:
        return ops_run_lookup;
    case OP_matvec:
    case OP_matmul:
        return ops_run_matmul;
    case OP_rms_norm:
    case OP_layer_norm:
    case OP_softmax:
    case OP_argmax:
        return ops_run_rows;
    case OP_rope:
        return ops_run_rope;
    case OP_route:
        return ops_run_route;
    case OP_matmul_id:
        return ops_run_matmul_id;
    case OP_moe_sum:
        return ops_run_moe_sum;
    case OP_scale_rows:
        return ops_run_scale_rows;
    case OP_copy:
        return ops_run_copy;
    case OP_kv_write:
        return ops_run_kv_write;
    case OP_attention:
    case OP_attn_scores:
    case OP_attn_mix:
        return ops_run_attention;
    default:
        return ops_run_flat;
    }
}

/* One type of each family of layouts: plain ones, blocks of 32 of even and of odd size, K
 * super-blocks with and without mins, lookup grids. */
static const enum tensor_type family[] = {TYPE_F32,   TYPE_F16,  TYPE_BF16, TYPE_Q4_0,   TYPE_Q8_0,
                                          TYPE_MXFP4, TYPE_Q4_K, TYPE_Q6_K, TYPE_IQ2_XXS};
enum { N_FAMILY = sizeof family / sizeof *family };

static bool in_family(const struct type_spec *t)
{
    bool in = false;
    for (size_t i = 0; i < N_FAMILY; i++) in |= family[i] == t->id;
    return in;
}

static bool has_type(const struct op_row *row, const struct type_spec *t)
{
    if (t->use != USE_W) return false;
    if (row->types == TYPES_PLAIN) return t->block_elems == 1;
    return row->types == TYPES_ALL || in_family(t);
}

/* Experts multiply by the kernels of matvec and matmul, which take a second to compile for a
 * type. */
static bool is_quick(const struct op_row *row, enum op op, const char *type)
{
    return row->quick && (op != OP_matmul_id || in_family(type_by_name(type)));
}

static void add(struct case_list *l, const struct op_row *row, enum op op, const char *type,
                const char *subject)
{
    struct test_case c = {.suite = "ops",
                          .op = op_table[op].name,
                          .type = type,
                          .shape = row->shape,
                          .subject = subject,
                          .quick = is_quick(row, op, type),
                          .run = runner(op),
                          .arg = row,
                          .index = op};
    case_add(l, &c);
}

size_t ops_value_dim(const struct op_row *row)
{
    return row->value_dim ? row->value_dim : row->head_dim;
}

enum tensor_type ops_value_type(const struct op_row *row, enum tensor_type keys)
{
    if (!row->mixed) return keys;
    switch (keys) {
    case TYPE_F32:
        return TYPE_F16;
    case TYPE_F16:
        return TYPE_F32;
    case TYPE_BF16:
        return TYPE_Q5_1;
    case TYPE_Q8_0:
        return TYPE_F16;
    case TYPE_Q4_0:
        return TYPE_IQ4_NL;
    case TYPE_Q5_1:
        return TYPE_BF16;
    default:
        return TYPE_Q8_0;
    }
}

/* Types of a cache, and whether blocks divide what a row has: heads, or a token's row. */
static const enum tensor_type kv_types[] = {TYPE_F32,  TYPE_F16,  TYPE_BF16,  TYPE_Q8_0,
                                            TYPE_Q4_0, TYPE_Q5_1, TYPE_IQ4_NL};
enum { N_KV_TYPES = sizeof kv_types / sizeof *kv_types };

static bool fits_cache(const struct op_row *row, const struct type_spec *t)
{
    const bool plain = t->id == TYPE_F32 || t->id == TYPE_F16;
    if (row->types == TYPES_PLAIN && !plain) return false;
    if (row->op == OP_kv_write) return row->kv_heads * row->head_dim % t->block_elems == 0;
    const struct type_spec *values = type_by_id(ops_value_type(row, t->id));
    return row->head_dim % t->block_elems == 0 && ops_value_dim(row) % values->block_elems == 0;
}

static void add_row(struct case_list *l, const struct op_row *row, const char *subject)
{
    static const enum op attention[] = {OP_attention, OP_attn_scores, OP_attn_mix};
    if (op_table[row->op].types == OP_PER_TYPE) {
        for (const struct type_spec *t = type_next(NULL); t; t = type_next(t))
            if (has_type(row, t)) add(l, row, row->op, t->name, subject);
    } else if (op_table[row->op].types == OP_PER_KV) {
        for (size_t k = 0; k < N_KV_TYPES; k++) {
            const struct type_spec *t = type_by_id(kv_types[k]);
            if (!fits_cache(row, t)) continue;
            if (row->op == OP_kv_write) add(l, row, row->op, t->name, subject);
            for (size_t i = 0; row->op == OP_attention && i < 3; i++)
                add(l, row, attention[i], t->name, subject);
        }
    } else {
        add(l, row, row->op, "f32", subject);
    }
}

void suite_ops(struct case_list *l)
{
    char name[SUBJECT_NAME];
    for (size_t s = 0; subject_name_at(l->options->subjects, s, name, sizeof name); s++) {
        const char *subject = case_text(l, "%s", name);
        if (strcmp(subject, "reference") == 0) continue; /* it is the judge here */
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) add_row(l, &rows[i], subject);
    }
}
