/* A session: evaluation in batches, and going back. */
#include "engine/session/session.h"

#include <math.h>
#include <stdlib.h>

/* Whose logits are kept. */
enum keep { KEEP_LAST, KEEP_ALL, KEEP_MARKED };

static enum status check_batch(struct engine_session *s, const struct engine_batch *b,
                               struct err *e)
{
    const uint32_t n_vocab = s->model->h.n_vocab;
    if (b->n == 0) return fail(e, ST_USAGE, "no tokens to evaluate");
    for (uint32_t q = 0; q < s->kv.n_seqs; q++) s->adds[q] = 0;
    for (size_t i = 0; i < b->n; i++) {
        const uint32_t q = b->seqs ? b->seqs[i] : 0;
        if (b->tokens[i] < 0 || (uint32_t)b->tokens[i] >= n_vocab)
            return fail(e, ST_RANGE, "token %d (number %zu) is not in the vocabulary of %u",
                        (int)b->tokens[i], i, n_vocab);
        if (q >= s->kv.n_seqs)
            return fail(e, ST_RANGE, "token number %zu is of sequence %u; there are %u", i, q,
                        s->kv.n_seqs);
        if (s->adds[q]++ >= s->kv.n_ctx - s->kv.seqs[q].used)
            return fail(e, ST_RANGE, "%zu tokens after %u do not fit into a context of %u", b->n,
                        s->kv.seqs[q].used, s->kv.n_ctx);
    }
    return ST_OK;
}

static enum status logits_room(struct engine_session *s, size_t rows, struct err *e)
{
    size_t count;
    if (rows <= s->cap_logits) return ST_OK;
    if (!mul_size(rows, s->model->h.n_vocab, &count))
        return fail(e, ST_RANGE, "logits of %zu tokens do not fit in memory", rows);
    float *grown = alloc_array(count, sizeof *grown);
    if (!grown) return fail(e, ST_NOMEM, "out of memory for the logits of %zu tokens", rows);
    free(s->logits);
    s->logits = grown;
    s->cap_logits = rows;
    return ST_OK;
}

/* n values of 4 bytes, if the pass has a place for them. */
static enum status send(struct engine_session *s, struct view to, const void *from, size_t n,
                        struct err *e)
{
    const struct pass *p = &s->pass;
    return to.buf ? p->ops->upload(p->be, to, from, n * sizeof(float), e) : ST_OK;
}

static enum status send_angles(struct engine_session *s, uint32_t n, struct err *e)
{
    for (int k = 0; k < KV_KINDS; k++) {
        const struct view to = s->pass.at.rope[k];
        if (!to.buf) continue;
        rope_table_fill(&s->rope[k], s->places.seq_pos, n, s->angles);
        TRY(send(s, to, s->angles, (size_t)n * s->rope[k].n_pairs * 2, e));
    }
    return ST_OK;
}

static enum status send_temperature(struct engine_session *s, uint32_t n, struct err *e)
{
    const struct hyper *h = &s->model->h;
    if (h->temperature == 0.0) return ST_OK;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t turns = (uint32_t)s->places.seq_pos[i] / h->rope.n_ctx_orig;
        s->temperature[i] = (float)(log(turns + 1.0) * h->temperature + 1.0);
    }
    return send(s, s->pass.at.temperature, s->temperature, n, e);
}

/* Finds the rows of tokens [from, from + n) to keep; if they are neighbours, no list is needed. */
static enum status choose_rows(struct engine_session *s, const struct engine_batch *b,
                               enum keep keep, size_t from, uint32_t n, struct err *e)
{
    struct pass *p = &s->pass;
    p->n_out = 0;
    for (uint32_t i = 0; i < n; i++)
        if (keep == KEEP_ALL || (keep == KEEP_LAST && from + i + 1 == b->n) ||
            (keep == KEEP_MARKED && b->keep[from + i]))
            s->rows[p->n_out++] = (int32_t)i;
    if (p->n_out == 0) return ST_OK;
    p->out_first = (uint32_t)s->rows[0];
    p->gathered = (uint32_t)s->rows[p->n_out - 1] - p->out_first + 1 != p->n_out;
    return p->gathered ? send(s, p->at.out_rows, s->rows, p->n_out, e) : ST_OK;
}

static enum status eval_part(struct engine_session *s, const struct engine_batch *b, size_t from,
                             uint32_t n, struct err *e)
{
    struct pass *p = &s->pass;
    const struct kv_places *to = &s->places;
    p->n_tokens = n;
    TRY(kv_claim(&s->kv, n, b->seqs ? b->seqs + from : NULL, &s->places, e));
    TRY(send_angles(s, n, e));
    TRY(send_temperature(s, n, e));
    TRY(send(s, p->at.ids, b->tokens + from, n, e));
    TRY(send(s, p->at.pos, to->pos, n, e));
    TRY(send(s, p->at.seq_pos, to->seq_pos, n, e));
    for (int k = 0; k < KV_KINDS; k++) {
        p->cells[k] = to->range[k];
        TRY(send(s, p->at.first[k], to->first[k], n, e));
        TRY(send(s, p->at.cells[k], to->cells[k], n, e));
    }
    TRY(pass_forward(p, e));
    return p->ops->flush(p->be, e);
}

/* Sequences go back to where they were; one whose ring has lost what it saw there is emptied. */
static void undo(struct engine_session *s)
{
    for (uint32_t q = 0; q < s->kv.n_seqs; q++)
        kv_rewind(&s->kv, q, kv_holds(&s->kv, q, s->start[q]) ? s->start[q] : 0);
}

static enum status eval(struct engine_session *s, const struct engine_batch *b, enum keep keep,
                        struct err *e)
{
    struct pass *p = &s->pass;
    size_t rows = keep == KEEP_ALL ? b->n : keep == KEEP_LAST ? 1 : 0, done_rows = 0;
    TRY(check_batch(s, b, e));
    for (size_t i = 0; keep == KEEP_MARKED && i < b->n; i++) rows += b->keep[i];
    TRY(logits_room(s, rows, e));
    for (uint32_t q = 0; q < s->kv.n_seqs; q++) s->start[q] = s->kv.seqs[q].used;
    s->n_logits = 0;
    for (size_t done = 0; done < b->n;) {
        uint32_t n = b->n - done < p->n_batch ? (uint32_t)(b->n - done) : p->n_batch;
        enum status st = choose_rows(s, b, keep, done, n, e);
        p->logits = s->logits + done_rows * s->model->h.n_vocab;
        if (st == ST_OK) st = eval_part(s, b, done, n, e);
        if (st != ST_OK) {
            undo(s);
            return st;
        }
        done += n;
        done_rows += p->n_out;
    }
    s->n_logits = rows;
    return ST_OK;
}

enum status engine_eval_batch(struct engine_session *s, const struct engine_batch *b, struct err *e)
{
    return eval(s, b, b->keep ? KEEP_MARKED : KEEP_LAST, e);
}

enum status engine_eval(struct engine_session *s, const int32_t *tokens, size_t n, bool all_logits,
                        struct err *e)
{
    struct engine_batch b = {.tokens = tokens, .n = n};
    return eval(s, &b, all_logits ? KEEP_ALL : KEEP_LAST, e);
}

const float *engine_logits(const struct engine_session *s, size_t i)
{
    return i < s->n_logits ? s->logits + i * s->model->h.n_vocab : NULL;
}

size_t engine_seq_position(const struct engine_session *s, uint32_t seq)
{
    return seq < s->kv.n_seqs ? s->kv.seqs[seq].used : 0;
}

size_t engine_position(const struct engine_session *s)
{
    return engine_seq_position(s, 0);
}

enum status engine_seq_rewind(struct engine_session *s, uint32_t seq, size_t pos, struct err *e)
{
    if (seq >= s->kv.n_seqs)
        return fail(e, ST_RANGE, "sequence %u; there are %u", seq, s->kv.n_seqs);
    const struct kv_seq *q = &s->kv.seqs[seq];
    if (pos > q->used)
        return fail(e, ST_RANGE, "position %zu is beyond the %u of the sequence", pos, q->used);
    if (pos < q->used && !kv_holds(&s->kv, seq, (uint32_t)pos))
        return fail(e, ST_RANGE,
                    "position %zu of %u: a layer with a window of %u holds nothing before %u", pos,
                    q->used, s->model->h.window, q->kept);
    kv_rewind(&s->kv, seq, (uint32_t)pos);
    return ST_OK;
}

enum status engine_rewind(struct engine_session *s, size_t pos, struct err *e)
{
    return engine_seq_rewind(s, 0, pos, e);
}
