/* The suite of operations: every row of cases.def, on every subject, for every type it has. */
#include "ops.h"

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
     .heads = h,                                                                                   \
     .kv_heads = kv,                                                                               \
     .head_dim = d,                                                                                \
     .past = p,                                                                                    \
     .rows = tok,                                                                                  \
     .cells = CELLS_##cell,                                                                        \
     .scores = SCORES_##score,                                                                     \
     .quick = q,                                                                                   \
     .shape = "h" #h "-" #kv "x" #d "-past" #p "-" #tok "-" #cell "-" #score},
#define MIXED(h, kv, d, p, tok, q)                                                                 \
    {.op = OP_attention,                                                                           \
     .heads = h,                                                                                   \
     .kv_heads = kv,                                                                               \
     .head_dim = d,                                                                                \
     .past = p,                                                                                    \
     .rows = tok,                                                                                  \
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
     .scale = sc##f,                                                                               \
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
#include "cases.def"
};

double *widen(struct test *t, const float *x, size_t n)
{
    double *y = test_alloc(t, n + 1, sizeof *y);
    for (size_t i = 0; y && i < n; i++) y[i] = (double)x[i];
    return y;
}

static void (*runner(enum op op))(struct test *, const struct test_case *)
{
    switch (op) {
    case OP_get_rows:
        return run_lookup;
    case OP_matvec:
    case OP_matmul:
        return run_matmul;
    case OP_rms_norm:
    case OP_layer_norm:
    case OP_softmax:
    case OP_argmax:
        return run_rows;
    case OP_rope:
        return run_rope;
    case OP_route:
        return run_route;
    case OP_matmul_id:
        return run_matmul_id;
    case OP_moe_sum:
        return run_moe_sum;
    case OP_scale_rows:
        return run_scale_rows;
    case OP_copy:
        return run_copy;
    case OP_kv_write:
        return run_kv_write;
    case OP_attention:
    case OP_attn_scores:
    case OP_attn_mix:
        return run_attention;
    default:
        return run_flat;
    }
}

/* One type of each family of layouts: plain ones, blocks of 32 of even and of odd size, K
 * super-blocks with and without mins, lookup grids. */
static const enum tensor_type family[] = {TYPE_F32,   TYPE_F16,  TYPE_BF16, TYPE_Q4_0,   TYPE_Q8_0,
                                          TYPE_MXFP4, TYPE_Q4_K, TYPE_Q6_K, TYPE_IQ2_XXS};
enum { N_FAMILY = sizeof family / sizeof *family };

static bool has_type(const struct op_row *row, const struct type_spec *t)
{
    if (t->use != USE_W) return false;
    if (row->types == TYPES_PLAIN) return t->block_elems == 1;
    bool in = row->types == TYPES_ALL;
    for (size_t i = 0; i < N_FAMILY; i++) in |= family[i] == t->id;
    return in;
}

static void add(struct case_list *l, const struct op_row *row, enum op op, const char *type,
                const char *subject)
{
    struct test_case c = {.suite = "ops",
                          .op = op_table[op].name,
                          .type = type,
                          .shape = row->shape,
                          .subject = subject,
                          .quick = row->quick,
                          .run = runner(op),
                          .arg = row,
                          .index = op};
    case_add(l, &c);
}

static void add_row(struct case_list *l, const struct op_row *row, const char *subject)
{
    static const enum op attention[] = {OP_attention, OP_attn_scores, OP_attn_mix};
    static const char *const kv[] = {"f32", "f16"};
    if (op_table[row->op].types == OP_PER_TYPE) {
        for (const struct type_spec *t = type_next(NULL); t; t = type_next(t))
            if (has_type(row, t)) add(l, row, row->op, t->name, subject);
    } else if (row->op == OP_attention) {
        for (size_t i = 0; i < 3; i++)
            for (size_t k = 0; k < 2; k++) add(l, row, attention[i], kv[k], subject);
    } else if (row->op == OP_kv_write) {
        for (size_t k = 0; k < 2; k++) add(l, row, row->op, kv[k], subject);
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
