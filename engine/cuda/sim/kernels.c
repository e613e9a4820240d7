/* The kernels as compiled for the processor: one table per build. A mutant's table is that of the
 * checks with one kernel exchanged. */
#include "engine/cuda/sim/sim.h"

#include <string.h>

#define KERNEL(name, file, args, barriers) sim_kernel fast_##name;
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL

static const struct sim_build fast = {
    .name = "fast",
    .kernels =
        {
#define KERNEL(name, file, args, barriers) fast_##name,
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL
        },
};

#ifdef ASSAY_CUDA_SIM_CHECKS

#define KERNEL(name, file, args, barriers) sim_kernel check_##name;
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL
#define MUTANT(name, file, kernel, fault) sim_kernel mutant_##name##_##kernel;
#include "engine/cuda/test/mutants.def"
#undef MUTANT

static const struct sim_build check = {
    .name = "check",
    .checks = true,
    .kernels =
        {
#define KERNEL(name, file, args, barriers) check_##name,
#include "engine/cuda/kernels/kernels.def"
#undef KERNEL
        },
};

#define MUTANT(nm, file, kernel, fault)                                                            \
    static const struct sim_build mutant_##nm = {                                                  \
        .name = "mutant-" #nm,                                                                     \
        .checks = true,                                                                            \
        .kernels = {[KERNEL_##kernel] = mutant_##nm##_##kernel},                                   \
    };
#include "engine/cuda/test/mutants.def"
#undef MUTANT

#endif

static const struct sim_build *const builds[] = {
    &fast,
#ifdef ASSAY_CUDA_SIM_CHECKS
    &check,
#define MUTANT(nm, file, kernel, fault) &mutant_##nm,
#include "engine/cuda/test/mutants.def"
#undef MUTANT
#endif
    NULL,
};

const struct sim_build *sim_build_by_name(const char *name)
{
    for (size_t i = 0; builds[i]; i++)
        if (strcmp(builds[i]->name, name) == 0) return builds[i];
    return NULL;
}

sim_kernel *sim_kernel_of(const struct sim_build *b, enum kernel_id k)
{
#ifdef ASSAY_CUDA_SIM_CHECKS
    if (!b->kernels[k]) return check.kernels[k];
#endif
    return b->kernels[k];
}
