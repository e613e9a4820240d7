/* assay run: generates text, or shows the most likely next tokens. */
#include "engine/backend.h"
#include "command/commands.h"
#include "engine/engine.h"
#include "base/options.h"
#include "models/prompt_tokens.h"
#include "base/terminal.h"
#include "base/text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_help help = {
    "usage: assay run MODEL (-p TEXT | --tokens ID,ID,...) [options]\n\n"
    "Evaluates a prompt and generates text, or shows the most likely next tokens. MODEL is a GGUF\n"
    "file, plain, gzip-compressed, or the first part of a split one.\n\n",
    "examples:\n"
    "  assay run model.gguf -p 'The capital of France is' -n 16\n"
    "  assay run model.gguf -p 'The capital of France is' --show-top 5 --subject vulkan\n\n"
    "Exit status: 0 done, 1 failed or interrupted, 2 usage, 77 no such device here.\n",
};

enum { DEFAULT_N = 32, DEFAULT_CTX = 4096 };

struct run_args {
    const char *model, *prompt, *tokens, *subject, *json;
    uint64_t n, top, ctx, threads;
    bool n_given;
    enum tensor_type kv[2]; /* of K and V */
    struct sampler sampler;
};

/* A run in progress. */
struct generation {
    const struct run_args *a;
    struct engine_model *model;
    struct backend *be;
    struct engine_session *session;
    const struct tokenizer *tokenizer;
    int32_t *prompt;
    size_t n_prompt;
    int32_t *out; /* (a->n) generated */
    size_t n_out;
    char pending[8]; /* bytes of a character that is not complete yet */
    size_t n_pending;
    char *text; /* what was printed */
    size_t text_len, text_cap;
    double prompt_seconds, seconds;
    json_t *json_top;
};

/* ---- options -------------------------------------------------------------------------------- */

static int parse(int argc, char **argv, struct run_args *a)
{
    uint64_t top_k = 0;
    const struct option_row rows[] = {
        {"prompt", OPTION_TEXT, &a->prompt, .letter = 'p', .argument = "TEXT",
         .help = "the prompt, as text; BOS is added as the model's file says"},
        {"tokens", OPTION_TEXT, &a->tokens, .argument = "ID,...",
         .help = "the prompt, as token ids; nothing is added"},
        {NULL, OPTION_COUNT, &a->n, .letter = 'n', .argument = "N", .min = 1, .max = INT32_MAX,
         .help = "tokens to generate (default 32)"},
        {"show-top", OPTION_COUNT, &a->top, .argument = "K", .alias = "top", .min = 1, .max = 1000,
         .help = "show the K most likely next tokens instead"},
        {"subject", OPTION_TEXT, &a->subject, .argument = "S",
         .help = "backend: cpu, vulkan, cuda, cuda-sim, with :N for a device (default cpu)"},
        {"temperature", OPTION_SHARE, &a->sampler.temperature, .argument = "T", .max = 100,
         .help = "0 = always the most likely token (default)"},
        {"top-k", OPTION_COUNT, &top_k, .argument = "K", .max = INT32_MAX,
         .help = "sample from the K likeliest (default: from all)"},
        {"top-p", OPTION_SHARE, &a->sampler.top_p, .argument = "P", .max = 1,
         .help = "sample from the likeliest that make up P (default: from all)"},
        {"min-p", OPTION_SHARE, &a->sampler.min_p, .argument = "P", .max = 1,
         .help = "sample from those at least P times as likely as the likeliest (default: from "
                 "all)"},
        {"seed", OPTION_COUNT, &a->sampler.state, .argument = "N", .max = UINT64_MAX,
         .help = "of the sampling (default 1)"},
        {"ctx", OPTION_COUNT, &a->ctx, .argument = "N", .min = 1, .max = INT32_MAX,
         .help = "cells of the KV cache (default: 4096, or the model's context if that is shorter, "
                 "or what the prompt needs if that is longer)"},
        {"kv", OPTION_CACHES, a->kv, .argument = "TYPE[,TYPE]",
         .help = "types of the KV cache, of K and of V (default f32)"},
        {"threads", OPTION_COUNT, &a->threads, .argument = "N", .min = 1, .max = 1024,
         .help = "of the CPU (default: one per core)"},
        {"json", OPTION_TEXT, &a->json, .argument = "FILE",
         .help = "write prompt, tokens, text and likelihoods to FILE"},
    };
    int code = options_parse(argc, argv, &help, rows, sizeof rows / sizeof *rows);
    if (code >= 0 || (code = options_one(argc, argv, "model", &a->model)) >= 0) return code;
    if (!a->prompt == !a->tokens)
        return cmd_usage("run", "give a prompt, either by -p or by --tokens");
    if (a->top && a->n)
        return cmd_usage("run", "--show-top shows the next token only: -n does not go with it");
    a->n_given = a->n > 0;
    if (!a->n) a->n = DEFAULT_N;
    a->sampler.top_k = (uint32_t)top_k;
    return -1;
}

/* ---- text ------------------------------------------------------------------------------------ */

static enum status keep_text(struct generation *g, const char *s, size_t n, struct err *e)
{
    if (g->text_len + n > g->text_cap) {
        size_t cap = 2 * (g->text_len + n) + 64;
        char *grown = realloc(g->text, cap);
        if (!grown) return fail(e, ST_NOMEM, "out of memory for the text");
        g->text = grown;
        g->text_cap = cap;
    }
    memcpy(g->text + g->text_len, s, n);
    g->text_len += n;
    return ST_OK;
}

/* Prints and keeps bytes, as far as they make complete characters; bytes that make none become
 * U+FFFD. flush: nothing more will come. */
static enum status put_text(struct generation *g, const char *s, size_t n, bool flush,
                            struct err *e)
{
    char *all = alloc_array(g->n_pending + n + 1, 1);
    size_t len = g->n_pending + n, from = g->text_len;
    enum status st = ST_OK;
    if (!all) return fail(e, ST_NOMEM, "out of memory for the text");
    memcpy(all, g->pending, g->n_pending);
    memcpy(all + g->n_pending, s, n);
    g->n_pending = 0;
    for (size_t at = 0; st == ST_OK && at < len;) {
        bool cut;
        size_t valid = text_valid(all + at, len - at, &cut);
        st = keep_text(g, all + at, valid, e);
        at += valid;
        if (st != ST_OK || at == len) break;
        if (cut && !flush) {
            g->n_pending = len - at;
            memcpy(g->pending, all + at, g->n_pending);
            break;
        }
        st = keep_text(g, "\xef\xbf\xbd", 3, e);
        at++;
    }
    if (!g->a->top && g->text_len > from) {
        fwrite(g->text + from, 1, g->text_len - from, stdout);
        fflush(stdout);
    }
    free(all);
    return st;
}

/* The text of one more token; ids where there is no tokenizer. */
static enum status put_token(struct generation *g, int32_t id, struct err *e)
{
    char number[16];
    if (!g->tokenizer) {
        int n = snprintf(number, sizeof number, "%s%d", g->n_out ? " " : "", (int)id);
        return put_text(g, number, (size_t)n, false, e);
    }
    char *piece;
    size_t len;
    enum status st = token_piece(g->tokenizer, id, false, &piece, &len, e);
    if (st == ST_OK) st = put_text(g, piece, len, false, e);
    free(piece);
    return st;
}

/* A token's own text, valid UTF-8 and on one line. Freed by the caller; NULL when out of memory. */
static char *shown_token(const struct generation *g, int32_t id)
{
    size_t len = 0, n = 0;
    const char *s = g->tokenizer ? token_text(g->tokenizer, id, &len) : "";
    char *out = alloc_array(4 * len + 1, 1);
    for (size_t at = 0; out && at < len;) {
        unsigned char c = (unsigned char)s[at];
        size_t valid = text_valid(s + at, len - at, NULL);
        if (valid > 0 && c >= 0x20 && c != 0x7f) {
            out[n++] = s[at++];
            while (at < len && ((unsigned char)s[at] & 0xC0) == 0x80) out[n++] = s[at++];
        } else {
            n += (size_t)snprintf(out + n, 5, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\x%02X", c);
            at++;
        }
    }
    return out;
}

/* ---- the likeliest tokens -------------------------------------------------------------------- */

/* The k best of n logits, best first, lowest id first among equals. */
static void find_top(const float *logits, uint32_t n, uint32_t *best, uint32_t k)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = have;
        while (at > 0 && logits[i] > logits[best[at - 1]]) at--;
        if (at == k) continue;
        if (have < k) have++;
        memmove(best + at + 1, best + at, (have - at - 1) * sizeof *best);
        best[at] = i;
    }
}

static enum status check_finite(const float *logits, uint32_t n, struct err *e)
{
    uint32_t bad = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!isfinite(logits[i])) bad++;
    return bad ? fail(e, ST_DEVICE, "%u of %u logits are not finite", bad, n) : ST_OK;
}

static enum status show_top(struct generation *g, struct err *e)
{
    const uint32_t n = engine_model_shape(g->model).n_vocab;
    const uint32_t k = g->a->top < n ? (uint32_t)g->a->top : n, more = k < n ? k + 1 : k;
    const float *logits = engine_logits(g->session, 0);
    enum status st = check_finite(logits, n, e);
    uint32_t *best = alloc_array(more, sizeof *best);
    if (st == ST_OK && !best) st = fail(e, ST_NOMEM, "out of memory for %u tokens", k);
    if (st != ST_OK) goto out;
    find_top(logits, n, best, more);
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)logits[best[0]]);

    printf("%s%5s %8s  %-20s %10s %12s %10s%s\n", terminal_color("bold"), "rank", "id", "text",
           "logit", "probability", "margin", terminal_color("reset"));
    for (uint32_t i = 0; i < k; i++) {
        char *text = shown_token(g, (int32_t)best[i]);
        const double logit = (double)logits[best[i]],
                     p = exp(logit - (double)logits[best[0]]) / sum;
        const double margin = i + 1 < more ? logit - (double)logits[best[i + 1]] : 0.0;
        if (!text) st = fail(e, ST_NOMEM, "out of memory for a token's text");
        if (st != ST_OK) goto out;
        int pad = 20 - (int)text_columns(text, strlen(text));
        printf("%5u %8u  %s%*s %10.4f %12.6f %10.4f\n", i + 1, best[i], text, pad > 0 ? pad : 0, "",
               logit, p, margin);
        json_array_append_new(g->json_top,
                              json_pack("{s:i, s:s, s:f, s:f, s:f}", "id", (int)best[i], "text",
                                        text, "logit", logit, "probability", p, "margin", margin));
        free(text);
    }
out:
    free(best);
    return st;
}

/* ---- generation ------------------------------------------------------------------------------ */

static enum status generate(struct generation *g, struct err *e)
{
    const uint32_t n_vocab = engine_model_shape(g->model).n_vocab;
    struct sampler sampler = g->a->sampler;
    double start = now_seconds();
    enum status st = ST_OK;
    void *scratch = alloc_array(n_vocab, 8);
    g->out = alloc_array(g->a->n, sizeof *g->out);
    if (!scratch || !g->out)
        st = fail(e, ST_NOMEM, "out of memory for %llu tokens", (unsigned long long)g->a->n);
    while (st == ST_OK && g->n_out < g->a->n) {
        st = check_finite(engine_logits(g->session, 0), n_vocab, e);
        if (st != ST_OK) break;
        int32_t id = sample(&sampler, engine_logits(g->session, 0), n_vocab, scratch);
        if (g->tokenizer && token_ends_generation(g->tokenizer, id)) break;
        st = put_token(g, id, e);
        g->out[g->n_out++] = id;
        if (st == ST_OK && interrupt_caught())
            st = fail(e, ST_CANCELLED, "interrupted after %zu tokens", g->n_out);
        if (st == ST_OK && g->n_out < g->a->n) st = engine_eval(g->session, &id, 1, false, e);
    }
    put_text(g, "", 0, true, e);
    putchar('\n');
    fflush(stdout);
    g->seconds = now_seconds() - start;
    free(scratch);
    return st;
}

static json_t *json_ids(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static enum status write_json(const struct generation *g, struct err *e)
{
    struct file_writer *w;
    const struct run_args *a = g->a;
    json_t *j =
        json_pack("{s:s, s:s, s:o, s:f}", "model", a->model, "subject", a->subject, "tokens",
                  json_ids(g->prompt, g->n_prompt), "prompt_seconds", g->prompt_seconds);
    if (a->prompt) json_object_set_new(j, "prompt", json_string(a->prompt));
    if (a->top) {
        json_object_set(j, "top", g->json_top);
    } else {
        json_object_set_new(j, "generated", json_ids(g->out, g->n_out));
        json_object_set_new(j, "text", json_stringn(g->text ? g->text : "", g->text_len));
        json_object_set_new(j, "seconds", json_real(g->seconds));
    }
    char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;
    json_decref(j);
    if (!text) return fail(e, ST_NOMEM, "out of memory for %s", a->json);
    enum status st = file_create(&w, a->json, e);
    if (st == ST_OK) {
        st = file_write(w, text, strlen(text), e);
        if (st == ST_OK) st = file_write(w, "\n", 1, e);
        if (st == ST_OK)
            st = file_commit(w, e);
        else
            file_abort(w);
    }
    free(text);
    return st;
}

/* Cells: what was asked for, or enough for everything up to the model's own context. */
static enum status choose_context(struct generation *g, struct run_args *a, size_t *n_ctx,
                                  struct err *e)
{
    const size_t own = engine_model_shape(g->model).n_ctx;
    const size_t after = a->top ? 0 : (size_t)a->n - 1; /* the last token is not evaluated */
    size_t most = a->ctx ? (size_t)a->ctx : own, room;
    if (g->n_prompt > most)
        return fail(e, ST_RANGE, "the prompt's %zu tokens do not fit into a context of %zu",
                    g->n_prompt, most);
    room = most - g->n_prompt;
    if (after > room && a->n_given)
        return fail(e, ST_RANGE,
                    "%zu tokens of prompt and %llu new ones do not fit into a context of "
                    "%zu: -n %zu is the most",
                    g->n_prompt, (unsigned long long)a->n, most, room + 1);
    if (after > room) a->n = room + 1;
    size_t want = g->n_prompt + after < DEFAULT_CTX ? DEFAULT_CTX : g->n_prompt + after;
    *n_ctx = a->ctx ? (size_t)a->ctx : want < own ? want : own;
    return ST_OK;
}

static void show_upload(void *ctx, size_t done, size_t total)
{
    progress_show(ctx, done, total);
}

static enum status run(struct generation *g, struct run_args *a, struct err *e)
{
    struct backend_options bo = {.n_threads = (int)a->threads};
    struct engine_session_options so = {
        .k_type = a->kv[0], .v_type = a->kv[1], .progress = show_upload, .progress_ctx = "weights"};
    enum status st = engine_model_open(&g->model, a->model, e);
    if (st != ST_OK) return st;
    g->tokenizer = engine_tokenizer(g->model);
    st = prompt_given(g->model, a->prompt, a->tokens, &g->prompt, &g->n_prompt, e);
    if (st == ST_OK) st = choose_context(g, a, &so.n_ctx, e);
    if (st == ST_OK) st = backend_open(&g->be, a->subject, &bo, e);
    if (st == ST_OK) st = engine_session_open(&g->session, g->model, g->be, &so, e);
    progress_end();
    double start = now_seconds();
    if (st == ST_OK) st = engine_eval(g->session, g->prompt, g->n_prompt, false, e);
    g->prompt_seconds = now_seconds() - start;
    if (st != ST_OK) return st;
    interrupt_catch();
    st = a->top ? show_top(g, e) : generate(g, e);
    if (a->json && (st == ST_OK || st == ST_CANCELLED)) {
        struct err why = {0};
        if (write_json(g, &why) != ST_OK && st == ST_OK) return fail(e, why.st, "%s", why.text);
    }
    return st;
}

int cmd_run(int argc, char **argv)
{
    struct run_args a = {.subject = "cpu", .sampler = {.top_p = 1.0f, .state = 1}};
    struct err e = {0};
    int code = parse(argc, argv, &a);
    if (code >= 0) return code;
    struct generation g = {.a = &a, .json_top = json_array()};
    code = run(&g, &a, &e) == ST_OK ? EXIT_PASS : cmd_error("run", &e);
    engine_session_close(g.session);
    backend_close(g.be);
    engine_model_close(g.model);
    json_decref(g.json_top);
    free(g.prompt);
    free(g.out);
    free(g.text);
    return code;
}
