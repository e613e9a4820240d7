/* `assay info` for people: tables that fit 80 columns. */
#include "models/info.h"
#include "base/terminal.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 80, FIRST_ELEMENTS = 6, FIRST_BYTES = 200, NAME_BYTES = 76 };

/* ---- building blocks --------------------------------------------------------------------- */

static void heading(const char *text)
{
    printf("\n%s%s%s\n", terminal_color("bold"), text, terminal_color("reset"));
}

/* Bytes of the character at s, which is valid UTF-8 or plain bytes. */
static size_t char_bytes(const char *s)
{
    size_t n = 1;
    while (((unsigned char)s[n] & 0xc0) == 0x80) n++;
    return n;
}

/* Text in at most width columns, the last one "…" if it is cut. */
static void print_cut(const char *s, size_t width)
{
    size_t len = strlen(s);
    if (text_columns(s, len) <= width) {
        fputs(s, stdout);
        return;
    }
    size_t used = 0, n;
    for (; *s; s += n) {
        n = char_bytes(s);
        size_t columns = text_columns(s, n);
        if (used + columns + 1 > width) break;
        fwrite(s, 1, n, stdout);
        used += columns;
    }
    fputs("…", stdout);
}

/* Left-aligned text; if it is wider than its column, the rest of the row goes to the next line. */
static void print_name(struct gguf_str name, int width)
{
    char *text = info_escape(name, false, NAME_BYTES);
    size_t columns = text ? text_columns(text, strlen(text)) : 0;
    printf("  %s", text ? text : "?");
    if (columns > (size_t)width)
        printf("\n  %*s", width, "");
    else
        printf("%*s", width - (int)columns, "");
    free(text);
}

static int widest(int a, int b)
{
    return a > b ? a : b;
}

/* 7 -> "7", 1234567 -> "1 234 567". */
static const char *grouped(uint64_t v, char out[32])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    char *p = out;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) *p++ = ' ';
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

static const char *human(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u < 4; u++) v /= 1024;
    snprintf(out, 32, u ? "%.2f %s" : "%.0f %s", v, units[u]);
    return out;
}

/* ---- file -------------------------------------------------------------------------------- */

static void print_file(const struct info *i)
{
    const struct gguf *g = i->g;
    uint64_t size = 0;
    bool inflated = false;
    char text[32], total[32];
    for (size_t k = 0; k < g->n_files; k++) {
        size += g->files[k].bytes.size;
        inflated |= g->files[k].heap != NULL;
    }
    printf("%s%s%s\n", terminal_color("bold"), i->path, terminal_color("reset"));
    printf("  GGUF version %u, %s%s", g->version, human(size, text),
           inflated ? " when inflated" : "");
    if (g->n_files > 1) printf(" in %zu files", g->n_files);
    printf("\n  alignment %llu, data from byte %llu\n", (unsigned long long)g->alignment,
           (unsigned long long)g->data_offset);
    if (i->total.tensors)
        printf("  %zu tensors, %s weights in %s, %.2f bits per weight\n", i->total.tensors,
               grouped(i->total.elems, total), human(i->total.bytes, text),
               info_bits_per_weight(i->total.bytes, i->total.elems));
    else
        printf("  no tensors\n");
    const struct engine_shape *s = &i->shape;
    if (i->engine_opens)
        printf("  engine: %s, %u layers, embedding %u, %u heads (%u for K and V) of %u,\n"
               "          feed-forward %u, vocabulary %u, context %u\n",
               s->arch, s->n_layers, s->n_embd, s->n_heads, s->n_kv_heads, s->head_dim, s->n_ff,
               s->n_vocab, s->n_ctx);
    else
        printf("  engine: %scannot run this model%s:\n          %s\n", terminal_color("yellow"),
               terminal_color("reset"), i->engine_reason.text);
}

/* ---- metadata ---------------------------------------------------------------------------- */

static void print_strings(FILE *out, const struct info *i, struct gguf_kv *kv, uint64_t n)
{
    struct gguf_str *s = alloc_array((size_t)kv->count, sizeof *s);
    if (s) gguf_value_strings(kv, s);
    for (uint64_t k = 0; s && k < n; k++) {
        char *text = info_escape(s[k], true, i->all ? 0 : FIRST_BYTES);
        fprintf(out, "%s\"%s\"", k ? ", " : "", text ? text : "?");
        free(text);
    }
    free(s);
}

/* The value as one line; malloc'd. */
static char *value_text(const struct info *i, struct gguf_kv *kv)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    uint64_t n = i->all || kv->count < FIRST_ELEMENTS ? kv->count : FIRST_ELEMENTS;
    if (kv->elem == GGUF_STRING) print_strings(out, i, kv, n);
    for (uint64_t k = 0; kv->elem != GGUF_STRING && k < n; k++) {
        struct number_text number = info_number(kv, k);
        fprintf(out, "%s%s", k ? ", " : "", number.text);
    }
    if (n < kv->count) fputs(", …", out);
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}

/* "u32", or "u32[24]" for an array. */
static int type_text(const struct gguf_kv *kv, char *out, size_t cap)
{
    if (kv->type == GGUF_ARRAY)
        return snprintf(out, cap, "%s[%llu]", gguf_type_name(kv->elem),
                        (unsigned long long)kv->count);
    return snprintf(out, cap, "%s", gguf_type_name(kv->type));
}

static void print_metadata(const struct info *i)
{
    const struct gguf *g = i->g;
    char title[64], type[48];
    int key_width = 0, type_width = 0;
    for (size_t k = 0; k < g->n_kv; k++) {
        if (g->kv[k].key.len <= 40) key_width = widest(key_width, (int)g->kv[k].key.len);
        type_width = widest(type_width, type_text(&g->kv[k], type, sizeof type));
    }
    snprintf(title, sizeof title, "Metadata (%zu)", g->n_kv);
    heading(title);
    for (size_t k = 0; k < g->n_kv; k++) {
        struct gguf_kv *kv = &g->kv[k];
        char *value = value_text(i, kv);
        print_name(kv->key, key_width);
        type_text(kv, type, sizeof type);
        printf("  %s%-*s%s  ", terminal_color("dim"), type_width, type, terminal_color("reset"));
        int left = COLUMNS - 6 - key_width - type_width;
        if (i->all)
            fputs(value ? value : "?", stdout);
        else
            print_cut(value ? value : "?", left > 8 ? (size_t)left : 8);
        putchar('\n');
        free(value);
    }
}

/* ---- tensors ----------------------------------------------------------------------------- */

static int dims_text(const struct gguf_tensor *x, char *out, size_t cap)
{
    int n = snprintf(out, cap, "%s", x->n_dims ? "" : "scalar");
    for (uint32_t d = 0; d < x->n_dims; d++)
        n += snprintf(out + n, cap - (size_t)n, "%s%llu", d ? " x " : "",
                      (unsigned long long)x->dims[d]);
    return n;
}

struct tensor_widths {
    int name, type, dims, offset;
};

static struct tensor_widths tensor_widths(const struct gguf *g)
{
    struct tensor_widths w = {4, 4, 4, 6};
    char text[128];
    for (size_t k = 0; k < g->n_tensors; k++) {
        const struct gguf_tensor *x = &g->tensors[k];
        w.name = widest(w.name, (int)x->name.len);
        w.type = widest(w.type, (int)strlen(x->type->name));
        w.dims = widest(w.dims, dims_text(x, text, sizeof text));
        w.offset =
            widest(w.offset, snprintf(text, sizeof text, "%llu", (unsigned long long)x->offset));
    }
    int room = COLUMNS - 2 - 8 - w.type - w.dims - w.offset - 6 - (g->n_files > 1 ? 6 : 0);
    if (w.name > room) w.name = widest(room, 4);
    return w;
}

static void print_tensors(const struct info *i)
{
    const struct gguf *g = i->g;
    char title[64], dims[128];
    if (g->n_tensors == 0) return;
    snprintf(title, sizeof title, "Tensors (%zu), innermost dimension first", g->n_tensors);
    heading(title);
    struct tensor_widths w = tensor_widths(g);
    printf("  %s%-*s  %-*s  %-*s  %*s  bits/w%s%s\n", terminal_color("dim"), w.name, "name", w.type,
           "type", w.dims, "dims", w.offset, "offset", g->n_files > 1 ? "  file" : "",
           terminal_color("reset"));
    for (size_t k = 0; k < g->n_tensors; k++) {
        const struct gguf_tensor *x = &g->tensors[k];
        print_name(x->name, w.name);
        dims_text(x, dims, sizeof dims);
        printf("  %-*s  %-*s  %*llu  %6.2f", w.type, x->type->name, w.dims, dims, w.offset,
               (unsigned long long)x->offset,
               info_bits_per_weight(x->type->block_bytes, x->type->block_elems));
        if (g->n_files > 1) printf("  %4u", x->part + 1);
        putchar('\n');
    }
}

static void print_total(const char *name, const struct type_total *t)
{
    char elems[32], bytes[32];
    printf("  %-8s %8zu %19s %19s %10.3f\n", name, t->tensors, grouped(t->elems, elems),
           grouped(t->bytes, bytes), info_bits_per_weight(t->bytes, t->elems));
}

static void print_types(const struct info *i)
{
    if (i->total.tensors == 0) return;
    heading("Types");
    printf("  %s%-8s %8s %19s %19s %10s%s\n", terminal_color("dim"), "type", "tensors", "weights",
           "bytes", "bits/w", terminal_color("reset"));
    for (const struct type_spec *t = type_next(NULL); t; t = type_next(t))
        if (i->types[t->id].tensors) print_total(t->name, &i->types[t->id]);
    print_total("all", &i->total);
}

/* ---- tokenizer --------------------------------------------------------------------------- */

static void print_special(const struct special_token *s)
{
    char *role = info_escape(s->role, false, 40), *text = info_escape(s->text, true, 48);
    printf("  %-18s %lld", role ? role : "?", (long long)s->id);
    if (s->in_range)
        printf("  \"%s\"\n", text ? text : "?");
    else
        printf("  %snot in the vocabulary%s\n", terminal_color("yellow"), terminal_color("reset"));
    free(role);
    free(text);
}

/* The length of an array that should have as many elements as there are tokens. */
static void print_count(const char *what, uint64_t n, uint64_t n_tokens)
{
    if (n == 0)
        printf(", no %s", what);
    else
        printf(", %s%llu %s%s", n == n_tokens ? "" : terminal_color("yellow"),
               (unsigned long long)n, what, n == n_tokens ? "" : terminal_color("reset"));
}

static bool is_flag(const struct gguf_kv *kv)
{
    static const char prefix[] = "tokenizer.ggml.";
    return kv->type == GGUF_BOOL && kv->key.len > sizeof prefix - 1 &&
           memcmp(kv->key.data, prefix, sizeof prefix - 1) == 0;
}

static void print_flags(const struct gguf *g)
{
    for (size_t k = 0; k < g->n_kv; k++) {
        struct gguf_kv *kv = &g->kv[k];
        int64_t v;
        if (!is_flag(kv) || !gguf_value_i64(kv, 0, &v)) continue;
        struct gguf_str name = {kv->key.data + 15, kv->key.len - 15};
        char *text = info_escape(name, false, 60);
        printf("  %-18s %s\n", text ? text : "?", v ? "true" : "false");
        free(text);
    }
}

static void print_tokenizer(const struct info *i)
{
    const struct tokenizer_info *t = &i->tokenizer;
    if (!t->present) return;
    heading("Tokenizer");
    char *model = info_escape(t->model, false, 40), *pre = info_escape(t->pre, false, 40);
    printf("  %-18s %s%s%s\n", "model", t->model.len ? model : "not named",
           t->pre.len ? ", pre " : "", t->pre.len ? pre : "");
    free(model);
    free(pre);
    printf("  %-18s %llu", "tokens", (unsigned long long)t->n_tokens);
    print_count("scores", t->n_scores, t->n_tokens);
    print_count("types", t->n_types, t->n_tokens);
    if (t->n_merges) printf(", %llu merges", (unsigned long long)t->n_merges);
    putchar('\n');
    for (size_t k = 0; k < TOKEN_TYPES; k++)
        if (t->by_type[k])
            printf("  %-18s %llu %s\n", "", (unsigned long long)t->by_type[k], info_token_type(k));
    for (size_t k = 0; k < t->n_specials; k++) print_special(&t->specials[k]);
    print_flags(i->g);
    if (t->template_bytes)
        printf("  %-18s %llu bytes\n", "chat template", (unsigned long long)t->template_bytes);
    if (i->engine_opens && *i->tokenizer_why)
        printf("  %-18s %scannot be used%s: %s\n", "engine", terminal_color("yellow"),
               terminal_color("reset"), i->tokenizer_why);
}

/* ---- keys that nothing reads ------------------------------------------------------------- */

static void print_keys(const struct info *i, enum key_use use, const char *title)
{
    size_t column = 0, n = 0;
    for (size_t k = 0; k < i->g->n_kv; k++) {
        if (i->use[k] != use) continue;
        if (n++ == 0) heading(title);
        char *text = info_escape(i->g->kv[k].key, false, i->all ? 0 : NAME_BYTES);
        size_t width = text ? text_columns(text, strlen(text)) : 1;
        if (column && column + width + 2 > COLUMNS) {
            putchar('\n');
            column = 0;
        }
        printf("  %s", text ? text : "?");
        column += width + 2;
        free(text);
    }
    if (n) putchar('\n');
}

void info_print(const struct info *i)
{
    print_file(i);
    print_metadata(i);
    print_tensors(i);
    print_types(i);
    print_tokenizer(i);
    print_keys(i, KEY_INFORMATIONAL, "Keys for information only");
    print_keys(i, KEY_UNUSED, "Keys that the engine does not use");
    size_t unknown = 0;
    for (size_t k = 0; k < i->g->n_kv; k++) unknown += i->use[k] == KEY_UNKNOWN;
    if (unknown)
        printf("\nThe engine refused the model: whether it uses %zu keys is not known.\n", unknown);
}
