/* The operations that the suite of cuda-sim tries, each with sizes that leave tails. */
#include "selftest/cudasim_trial.h"
#include "harness/random.h"

enum { N = 300, HEADS = 4, KV_HEADS = 2, DIM = 24, TOKENS = 3 };

/* Rows of weights of their own for every second row, and a bias where there is one. */
static enum status
do_norm(struct cudasim_trial *s,
        enum status (*norm)(struct backend *, const struct op_norm *, struct err *), bool bias)
{
    struct op_norm a = {.rows = 5, .n = N, .w_rows = 2, .eps = 1e-5f};
    a.x = cudasim_values(s, 5 * N);
    a.w = cudasim_values(s, 2 * N);
    if (bias) a.b = cudasim_values(s, 2 * N);
    a.out = cudasim_output(s, 5 * N);
    return s->ok ? norm(s->b, &a, &s->e) : ST_OK;
}

static enum status do_rms_norm(struct cudasim_trial *s)
{
    return do_norm(s, s->ops->rms_norm, false);
}

static enum status do_layer_norm(struct cudasim_trial *s)
{
    enum status st = do_norm(s, s->ops->layer_norm, false);
    return st == ST_OK ? do_norm(s, s->ops->layer_norm, true) : st;
}

static enum status do_scale(struct cudasim_trial *s)
{
    struct op_scale a = {.n = N, .factor = 0.5f};
    a.x = cudasim_values(s, N);
    a.out = cudasim_output(s, N);
    return s->ok ? s->ops->scale(s->b, &a, &s->e) : ST_OK;
}

static enum status do_softcap(struct cudasim_trial *s)
{
    struct op_scale a = {.n = N, .factor = 2.0f};
    a.x = a.out = cudasim_values(s, N);
    return s->ok ? s->ops->softcap(s->b, &a, &s->e) : ST_OK;
}

static enum status do_scale_rows(struct cudasim_trial *s)
{
    struct op_scale_rows a = {.rows = 3, .n = N};
    a.x = cudasim_values(s, 3 * N);
    a.factors = cudasim_values(s, 3);
    a.out = cudasim_output(s, 3 * N);
    return s->ok ? s->ops->scale_rows(s->b, &a, &s->e) : ST_OK;
}

/* A slice of every head, from rows that are longer. */
static enum status do_copy(struct cudasim_trial *s)
{
    struct op_copy a = {.rows = TOKENS,
                        .groups = HEADS,
                        .n = 7,
                        .x_row = HEADS * DIM,
                        .x_group = DIM,
                        .out_row = HEADS * 7,
                        .out_group = 7};
    a.x = cudasim_values(s, (size_t)TOKENS * HEADS * DIM);
    a.out = cudasim_output(s, (size_t)TOKENS * HEADS * 7);
    return s->ok ? s->ops->copy(s->b, &a, &s->e) : ST_OK;
}

static enum status do_rope(struct cudasim_trial *s)
{
    struct op_rope a = {
        .n_tokens = TOKENS, .n_heads = HEADS, .head_dim = DIM, .first = 4, .n_dims = DIM - 4};
    a.x = cudasim_values(s, (size_t)TOKENS * HEADS * DIM);
    a.table = cudasim_values(s, (size_t)TOKENS * (DIM - 4));
    return s->ok ? s->ops->rope(s->b, &a, &s->e) : ST_OK;
}

/* Also judged: the probe is to be seen through. */
static enum status do_add(struct cudasim_trial *s)
{
    struct op_binary a = {.n = N};
    float *x = cudasim_random(s, N), *y = cudasim_random(s, N), sum[N];
    a.a = cudasim_buffer(s, x, N * sizeof *x);
    a.b = cudasim_buffer(s, y, N * sizeof *y);
    a.out = cudasim_output(s, N);
    if (!s->ok) return ST_OK;
    enum status st = s->ops->add(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->download(s->b, sum, a.out, sizeof sum, &s->e);
    for (size_t i = 0; st == ST_OK && i < N; i++)
        if (!(sum[i] == x[i] + y[i])) {
            test_fail(s->t, "element %zu of the sum is %g", i, (double)sum[i]);
            break;
        }
    return st;
}

static enum status do_unary(struct cudasim_trial *s)
{
    struct op_unary a = {.n = N};
    a.x = cudasim_values(s, N);
    a.out = cudasim_output(s, N);
    if (!s->ok) return ST_OK;
    enum status st = s->ops->silu(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->gelu(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->gelu_erf(s->b, &a, &s->e);
    return st == ST_OK ? s->ops->sigmoid(s->b, &a, &s->e) : st;
}

static enum status do_binary(struct cudasim_trial *s)
{
    struct op_binary a = {.n = N};
    a.a = cudasim_values(s, N);
    a.b = cudasim_values(s, N);
    a.out = a.a; /* allowed: every thread reads its own element first */
    if (!s->ok) return ST_OK;
    enum status st = s->ops->silu_mul(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->gelu_mul(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->gelu_erf_mul(s->b, &a, &s->e);
    return st == ST_OK ? s->ops->swiglu_oai(s->b, &a, &s->e) : st;
}

static enum status do_rows(struct cudasim_trial *s)
{
    struct op_softmax soft = {.rows = 2, .n = N, .n_sinks = 1};
    soft.x = soft.out = cudasim_values(s, 2 * N);
    soft.sinks = cudasim_values(s, 1);
    if (!s->ok) return ST_OK;
    enum status st = s->ops->softmax(s->b, &soft, &s->e);
    struct op_rows a = {.x = soft.x, .out = cudasim_output(s, 2), .rows = 2, .n = N};
    return st == ST_OK && s->ok ? s->ops->argmax(s->b, &a, &s->e) : st;
}

/* ---- attention
 * -------------------------------------------------------------------------------- */

/* A cache of a type, its rows written by kv_write. */
static struct view write_cache(struct cudasim_trial *s, const struct cudasim_cells *c,
                               enum tensor_type type, uint32_t row, enum status *st)
{
    int32_t cells[CUDASIM_CELLS];
    for (int32_t i = 0; i < CUDASIM_CELLS; i++) cells[i] = c->one_cell ? 0 : i;
    struct op_kv_write w = {.n_tokens = c->written, .row = row, .type = type};
    w.src = cudasim_values(s, (size_t)CUDASIM_CELLS * row);
    w.cells = cudasim_buffer(s, cells, sizeof cells);
    w.cache = cudasim_buffer(s, NULL, type_bytes(type_by_id((int64_t)type), row) * CUDASIM_CELLS);
    if (s->ok && *st == ST_OK) *st = s->ops->kv_write(s->b, &w, &s->e);
    return w.cache;
}

/* All three forms: with sinks, a cap and a window that hides the first cells. */
enum status cudasim_attention(struct cudasim_trial *s, const struct cudasim_cells *c)
{
    int32_t pos[TOKENS], first[TOKENS], cell_pos[CUDASIM_CELLS];
    uint32_t head_dim = c->head_dim ? c->head_dim : 32,
             value_dim = c->value_dim ? c->value_dim : 32;
    for (int32_t i = 0; i < TOKENS; i++) pos[i] = CUDASIM_CELLS + i, first[i] = i;
    for (int32_t i = 0; i < CUDASIM_CELLS; i++) cell_pos[i] = (uint32_t)i < c->visible ? i : -1;
    enum status st = ST_OK;
    struct op_attention a = {.n_tokens = TOKENS,
                             .n_heads = HEADS,
                             .n_kv_heads = KV_HEADS,
                             .head_dim = head_dim,
                             .value_dim = value_dim,
                             .n_cells = CUDASIM_CELLS,
                             .k_type = c->k_type,
                             .v_type = c->v_type,
                             .scale = 0.2f,
                             .softcap = 5.0f};
    a.k = write_cache(s, c, c->k_type, KV_HEADS * head_dim, &st);
    a.v = write_cache(s, c, c->v_type, KV_HEADS * value_dim, &st);
    a.q = cudasim_values(s, (size_t)TOKENS * HEADS * head_dim);
    a.pos = cudasim_buffer(s, pos, sizeof pos);
    a.first = cudasim_buffer(s, first, sizeof first);
    a.cell_pos = cudasim_buffer(s, cell_pos, sizeof cell_pos);
    a.sinks = cudasim_values(s, HEADS);
    a.probs = cudasim_output(s, (size_t)TOKENS * HEADS * CUDASIM_CELLS);
    a.out = cudasim_output(s, (size_t)TOKENS * HEADS * value_dim);
    if (!s->ok || st != ST_OK) return st;
    st = s->ops->attention(s->b, &a, &s->e);
    if (st == ST_OK) st = s->ops->attn_scores(s->b, &a, &s->e);
    return st == ST_OK ? s->ops->attn_mix(s->b, &a, &s->e) : st;
}

/* The last cells are neither written nor seen: reading them would be reported. */
enum { WRITTEN = CUDASIM_CELLS - 6 };

static enum status do_attention(struct cudasim_trial *s)
{
    const struct cudasim_cells c = {WRITTEN, WRITTEN, false, TYPE_F16, TYPE_F32, 20, 24};
    return cudasim_attention(s, &c);
}

/* Every cell written: one further on lies past the end. */
static enum status do_full_cache(struct cudasim_trial *s)
{
    const struct cudasim_cells c = {.written = CUDASIM_CELLS,
                                    .visible = CUDASIM_CELLS,
                                    .k_type = TYPE_Q8_0,
                                    .v_type = TYPE_Q8_0};
    return cudasim_attention(s, &c);
}

/* Values of more than one slice, the last one not whole. */
static enum status do_attention_wide(struct cudasim_trial *s)
{
    const struct cudasim_cells c = {5, 5, false, TYPE_F32, TYPE_BF16, 576, 530};
    return cudasim_attention(s, &c);
}

/* ---- experts
 * ---------------------------------------------------------------------------------- */

/* More experts than threads in a block, all gatings, with groups and without. */
static enum status do_route(struct cudasim_trial *s)
{
    static const enum route_gating gatings[] = {ROUTE_SOFTMAX, ROUTE_SIGMOID, ROUTE_SOFTMAX_CHOSEN};
    struct op_route a = {.n_tokens = TOKENS, .n_experts = N, .n_used = 5, .scale = 2.5f};
    a.logits = cudasim_values(s, TOKENS * N);
    a.bias = cudasim_values(s, N);
    a.ids = cudasim_output(s, TOKENS * 5);
    a.weights = cudasim_output(s, TOKENS * 5);
    enum status st = ST_OK;
    for (size_t i = 0; s->ok && st == ST_OK && i < 6; i++) {
        a.gating = gatings[i / 2];
        a.normalise = i % 2 == 0;
        a.n_groups = i % 2 ? 10 : 1;
        a.n_groups_used = i % 2 ? 3 : 1;
        st = s->ops->route(s->b, &a, &s->e);
    }
    return st;
}

static enum status do_moe_sum(struct cudasim_trial *s)
{
    struct op_moe_sum a = {.n_tokens = TOKENS, .n_used = 2, .n = 77};
    a.x = cudasim_values(s, TOKENS * 2 * 77);
    a.weights = cudasim_values(s, TOKENS * 2);
    a.out = cudasim_output(s, TOKENS * 77);
    return s->ok ? s->ops->moe_sum(s->b, &a, &s->e) : ST_OK;
}

enum { EXPERTS = 4, USED = 3 };

/* Every expert but one chosen, most of them often; the last one by the last pair. */
static struct view expert_ids(struct cudasim_trial *s, uint32_t n_tokens)
{
    int32_t *ids = test_alloc(s->t, (size_t)n_tokens * USED, sizeof *ids);
    for (uint32_t i = 0; ids && i < n_tokens * USED; i++) ids[i] = i % 5 == 0 ? 0 : 2;
    if (!ids) s->ok = false;
    if (ids) ids[n_tokens * USED - 1] = EXPERTS - 1;
    return cudasim_buffer(s, ids, (size_t)n_tokens * USED * sizeof *ids);
}

/* Weights as given, read as experts of n_out rows. */
static enum status do_matmul_id(struct cudasim_trial *s, const struct weight *w, uint32_t n_tokens,
                                bool x_per_slot)
{
    struct op_matmul_id a = {.w = *w,
                             .n_tokens = n_tokens,
                             .n_used = USED,
                             .n_experts = EXPERTS,
                             .x_per_slot = x_per_slot};
    size_t pairs = (size_t)n_tokens * USED;
    a.x = cudasim_values(s, (x_per_slot ? pairs : n_tokens) * w->n_in);
    a.ids = expert_ids(s, n_tokens);
    a.bias = cudasim_values(s, (size_t)EXPERTS * w->n_out);
    a.out = cudasim_output(s, pairs * w->n_out);
    return s->ok ? s->ops->matmul_id(s->b, &a, &s->e) : ST_OK;
}

static enum status do_experts(struct cudasim_trial *s, uint32_t n_tokens)
{
    const struct weight w = {.type = TYPE_F16, .n_in = 45, .n_out = 6};
    size_t n = (size_t)EXPERTS * w.n_out * w.n_in;
    uint16_t *values = test_alloc(s->t, n, sizeof *values);
    struct weight at = w;
    at.at = cudasim_weights(s, values, n * sizeof *values);
    return s->ok ? do_matmul_id(s, &at, n_tokens, true) : ST_OK;
}

/* Pairs past what a block looks through at once, and past what a tile holds. */
static enum status do_many_pairs(struct cudasim_trial *s)
{
    return do_experts(s, 100);
}

static enum status do_few_pairs(struct cudasim_trial *s)
{
    return do_experts(s, 2);
}

/* ---- weights of a type
 * ------------------------------------------------------------------------ */

/* Random bytes as weights: any are decoded, and only accesses are judged here. */
enum status cudasim_type(struct cudasim_trial *s, const struct type_spec *type, int32_t id)
{
    const uint32_t n_out = 67, n_cols = 5;
    uint32_t n_in = type->block_elems == 1 ? 77 : type->block_elems < 256 ? 192 : 256;
    if (n_in % type->block_elems != 0) n_in = type->block_elems * 2;
    size_t bytes = type_bytes(type, n_in) * n_out;
    uint8_t *w = test_alloc(s->t, bytes, 1);
    if (!w) return ST_OK;
    for (size_t i = 0; i < bytes; i++) w[i] = (uint8_t)rng_u64(&s->rng);
    struct weight weight = {.type = type->id, .n_in = n_in, .n_out = n_out};
    weight.at = cudasim_weights(s, w, bytes);
    if (!s->ok) return ST_OK;
    int32_t ids[3] = {2, 0, id};
    struct op_get_rows g = {.w = weight, .n = 3};
    g.ids = cudasim_buffer(s, ids, sizeof ids);
    g.out = cudasim_output(s, (size_t)3 * n_in);
    enum status st = s->ok ? s->ops->get_rows(s->b, &g, &s->e) : ST_OK;
    if (st != ST_OK || type->use != USE_W) return st;
    struct op_matmul m = {.w = weight, .n_cols = 1};
    m.x = cudasim_values(s, (size_t)n_cols * n_in);
    m.bias = cudasim_values(s, n_out);
    m.out = cudasim_output(s, (size_t)n_cols * n_out);
    if (s->ok) st = s->ops->matvec(s->b, &m, &s->e);
    m.n_cols = n_cols;
    if (s->ok && st == ST_OK) st = s->ops->matvec(s->b, &m, &s->e);
    if (s->ok && st == ST_OK) st = s->ops->matmul(s->b, &m, &s->e);
    /* The same rows as experts: a pair at a time, and gathered. */
    weight.n_out = n_out / EXPERTS;
    if (s->ok && st == ST_OK) st = do_matmul_id(s, &weight, 2, false);
    return s->ok && st == ST_OK ? do_matmul_id(s, &weight, 24, false) : st;
}

/* Blocks of 34 bytes: every second one begins at a multiple of 2 only. */
static enum status do_odd_blocks(struct cudasim_trial *s)
{
    return cudasim_type(s, type_by_id(TYPE_Q8_0), 66);
}

const struct cudasim_operation cudasim_operations[] = {
    {"rms_norm", do_rms_norm},
    {"layer_norm", do_layer_norm},
    {"scale", do_scale},
    {"softcap", do_softcap},
    {"scale_rows", do_scale_rows},
    {"copy", do_copy},
    {"rope", do_rope},
    {"add", do_add},
    {"unary", do_unary},
    {"binary", do_binary},
    {"rows", do_rows},
    {"attention", do_attention},
    {"attention_wide", do_attention_wide},
    {"kv_write_q8_0", do_full_cache},
    {"route", do_route},
    {"moe_sum", do_moe_sum},
    {"matmul_id_f16", do_many_pairs},
    {"matvec_id_f16", do_few_pairs},
    {"matvec_fast_q8_0", do_odd_blocks},
    {NULL, NULL},
};
