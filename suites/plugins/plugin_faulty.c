/* For tests of Assay alone: the engine of plain.c, which misbehaves as the environment variable
 * PLAIN_FAULT says. "crash": rms_norm aborts; "hang": rms_norm does not return; "refuse": rms_norm
 * fails, with a reason; "residual": add forgets its second operand. */
#include "assay_subject.h"

#define assay_subject(abi) plain_subject(abi)
#include "plain.c"
#undef assay_subject

static int has_fault(const char *name)
{
    const char *fault = getenv("PLAIN_FAULT");
    return fault && strcmp(fault, name) == 0;
}

static int faulty_rms_norm(void *ctx, const struct assay_norm *a)
{
    if (has_fault("crash")) abort();
    if (has_fault("refuse")) return ASSAY_FAILED;
    while (has_fault("hang")) {}
    return plain_rms_norm(ctx, a);
}

static int faulty_add(void *ctx, const struct assay_elements *a)
{
    if (!has_fault("residual")) return plain_add(ctx, a);
    memmove(a->out, a->a, a->n * sizeof *a->out);
    return ASSAY_OK;
}

static const char *faulty_error(void *ctx)
{
    (void)ctx;
    return has_fault("refuse") ? "it was told to fail" : NULL;
}

__attribute__((visibility("default"))) const struct assay_subject *assay_subject(uint32_t abi)
{
    static struct assay_subject faulty;
    static struct assay_ops faulty_ops;
    if (abi != ASSAY_SUBJECT_ABI) return NULL;
    faulty = *plain_subject(abi);
    faulty_ops = *faulty.ops;
    faulty_ops.rms_norm = faulty_rms_norm;
    faulty_ops.add = faulty_add;
    faulty.ops = &faulty_ops;
    faulty.error = faulty_error;
    return &faulty;
}
