/* Tensors of a model by name, every shape checked; see model_load.h. */
#include "reference/model_load.h"

#include <stdio.h>
#include <string.h>

static void tensor_name(int layer, const char *name, const char *suffix, char *out)
{
    if (layer == REF_OF_MODEL)
        snprintf(out, REF_NAME_CAP, "%s.%s", name, suffix);
    else
        snprintf(out, REF_NAME_CAP, "blk.%d.%s.%s", layer, name, suffix);
}

static bool find(struct ref_loader *l, int layer, const char *name, const char *suffix,
                 struct ref_tensor *out)
{
    char full[REF_NAME_CAP];
    tensor_name(layer, name, suffix, full);
    return !l->failed && l->src->tensor(l->src->ctx, full, out);
}

bool ref_load_there(struct ref_loader *l, int layer, const char *name, struct ref_tensor *out)
{
    return find(l, layer, name, "weight", out);
}

/* Finds NAME.SUFFIX of n matrices n_in x n_out and of a type that decodes. */
static bool tensor_find(struct ref_loader *l, int layer, const char *name, const char *suffix,
                        size_t n_in, size_t n_out, size_t n, struct ref_tensor *out)
{
    char full[REF_NAME_CAP];
    if (!find(l, layer, name, suffix, out)) return false;
    tensor_name(layer, name, suffix, full);
    const struct type_spec *type = type_by_id(out->type);
    const uint64_t *d = out->dims;
    if (d[0] != n_in || d[1] != n_out || d[2] != n || d[3] != 1)
        ref_load_fail(l, "tensor %s is %llu x %llu x %llu x %llu, expected %zu x %zu x %zu", full,
                      (unsigned long long)d[0], (unsigned long long)d[1], (unsigned long long)d[2],
                      (unsigned long long)d[3], n_in, n_out, n);
    else if (!type || !type_decodes(type))
        ref_load_refuse(l, "tensor %s has type %d, which has no decoder", full, (int)out->type);
    else if (n_in % type->block_elems != 0)
        ref_load_fail(l, "tensor %s: rows of %zu are no multiple of the %u of a %s block", full,
                      n_in, type->block_elems, type->name);
    return !l->failed;
}

/* n_rows rows of n values, decoded. */
static const float *values_find(struct ref_loader *l, int layer, const char *name,
                                const char *suffix, size_t n, size_t n_rows)
{
    struct ref_tensor t;
    if (!tensor_find(l, layer, name, suffix, n, n_rows, 1, &t)) return NULL;
    float *values = ref_load_alloc(l, n * n_rows, sizeof *values);
    if (values) ref_decode(t.type, t.data, n * n_rows, values);
    return values;
}

void ref_load_missing(struct ref_loader *l, int layer, const char *name, const char *suffix)
{
    char full[REF_NAME_CAP];
    tensor_name(layer, name, suffix, full);
    ref_load_fail(l, "tensor %s is missing", full);
}

const float *ref_load_vector_maybe(struct ref_loader *l, int layer, const char *name,
                                   const char *suffix, size_t n)
{
    return values_find(l, layer, name, suffix, n, 1);
}

const float *ref_load_vector(struct ref_loader *l, int layer, const char *name, size_t n)
{
    const float *v = values_find(l, layer, name, "weight", n, 1);
    if (!v) ref_load_missing(l, layer, name, "weight");
    return v;
}

/* ---- norms ----------------------------------------------------------------------------------- */

struct ref_norm ref_load_norm_maybe(struct ref_loader *l, int layer, const char *name, size_t n,
                                    size_t n_rows)
{
    struct ref_tensor t;
    const struct ref_norm norm = {.w = values_find(l, layer, name, "weight", n, n_rows),
                                  .b = values_find(l, layer, name, "bias", n, n_rows),
                                  .n = n,
                                  .n_rows = n_rows,
                                  .role = name};
    if (find(l, layer, name, "bias", &t)) {
        if (!norm.w) ref_load_missing(l, layer, name, "weight");
        if (l->m->arch->norm == REF_NORM_RMS)
            ref_load_refuse(l, "tensor %s.bias of layer %d: RMSNorm takes none", name, layer);
    }
    return norm;
}

struct ref_norm ref_load_norm(struct ref_loader *l, int layer, const char *name, size_t n,
                              size_t n_rows)
{
    const struct ref_norm norm = ref_load_norm_maybe(l, layer, name, n, n_rows);
    if (!norm.w) ref_load_missing(l, layer, name, "weight");
    return norm;
}

void ref_load_norm_biased(struct ref_loader *l, int layer, const char *name,
                          const struct ref_norm *norm)
{
    if (norm->w && !norm->b) ref_load_missing(l, layer, name, "bias");
}

/* ---- matrices -------------------------------------------------------------------------------- */

/* The tensor's whole name, as long as the model lives. */
static const char *name_kept(struct ref_loader *l, int layer, const char *name)
{
    char full[REF_NAME_CAP];
    tensor_name(layer, name, "weight", full);
    char *kept = ref_load_alloc(l, strlen(full) + 1, 1);
    if (kept) memcpy(kept, full, strlen(full) + 1);
    return kept;
}

struct ref_weight ref_load_matrix_maybe(struct ref_loader *l, int layer, const char *name,
                                        size_t n_in, size_t n_out)
{
    struct ref_tensor t;
    if (!tensor_find(l, layer, name, "weight", n_in, n_out, 1, &t)) return (struct ref_weight){0};
    const float *scale = ref_load_vector_maybe(l, layer, name, "scale", 1);
    return (struct ref_weight){
        .type = t.type,
        .data = t.data,
        .n_in = n_in,
        .n_out = n_out,
        .bias = ref_load_vector_maybe(l, layer, name, "bias", n_out),
        .scale = scale ? (double)*scale : 1,
        .name = name_kept(l, layer, name),
    };
}

struct ref_weight ref_load_matrix(struct ref_loader *l, int layer, const char *name, size_t n_in,
                                  size_t n_out)
{
    const struct ref_weight w = ref_load_matrix_maybe(l, layer, name, n_in, n_out);
    if (!w.data) ref_load_missing(l, layer, name, "weight");
    return w;
}

void ref_load_biased(struct ref_loader *l, int layer, const char *name, const struct ref_weight *w)
{
    if (w->data && !w->bias) ref_load_missing(l, layer, name, "bias");
}

struct ref_weight ref_rows_of(const struct ref_weight *w, size_t row, size_t n_rows)
{
    struct ref_weight part = *w;
    part.data += row * type_bytes(type_by_id(w->type), w->n_in);
    part.n_out = n_rows;
    if (w->bias) part.bias += row;
    return part;
}

/* One tensor per matrix, as old files have them: ffn_up_exps is ffn_up.0, ffn_up.1, ... */
static void apart(struct ref_loader *l, int layer, const char *name, size_t n_in, size_t n_out,
                  size_t n, struct ref_weight *out)
{
    const size_t stem = strlen(name) - strlen("_exps");
    for (size_t i = 0; !l->failed && i < n; i++) {
        char one[REF_PART_CAP];
        snprintf(one, sizeof one, "%.*s.%zu", (int)stem, name, i);
        out[i] = ref_load_matrix(l, layer, one, n_in, n_out);
    }
}

/* The scale is one for all, or one each. */
static const float *scales_find(struct ref_loader *l, int layer, const char *name, size_t n,
                                size_t *step)
{
    struct ref_tensor t;
    *step = find(l, layer, name, "scale", &t) && t.dims[0] == n ? 1 : 0;
    return values_find(l, layer, name, "scale", *step ? n : 1, 1);
}

struct ref_weight *ref_load_slices(struct ref_loader *l, int layer, const char *name, size_t n_in,
                                   size_t n_out, size_t n)
{
    struct ref_tensor t;
    struct ref_weight *out = ref_load_alloc(l, n, sizeof *out);
    const size_t end = strlen(name) - strlen("_exps");
    if (!out) return NULL;
    if (!tensor_find(l, layer, name, "weight", n_in, n_out, n, &t)) {
        char first[REF_PART_CAP];
        struct ref_tensor found;
        snprintf(first, sizeof first, "%.*s.0", (int)end, name);
        if (strcmp(name + end, "_exps") == 0 && ref_load_there(l, layer, first, &found))
            apart(l, layer, name, n_in, n_out, n, out);
        else
            ref_load_missing(l, layer, name, "weight");
        return out;
    }
    size_t step;
    const float *bias = values_find(l, layer, name, "bias", n_out, n);
    const float *scale = scales_find(l, layer, name, n, &step);
    const char *kept = name_kept(l, layer, name);
    const size_t bytes = n_out * type_bytes(type_by_id(t.type), n_in);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct ref_weight){.type = t.type,
                                     .data = t.data + i * bytes,
                                     .n_in = n_in,
                                     .n_out = n_out,
                                     .bias = bias ? bias + i * n_out : NULL,
                                     .scale = scale ? (double)scale[i * step] : 1,
                                     .name = kept};
    return out;
}
