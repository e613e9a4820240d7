/* The parts of the suite cudasim. */
#ifndef CUDASIM_H
#define CUDASIM_H

#include "harness/harness.h"

/* The CUDA backend's host code over a stand-in for the driver (cudasim_driver.c). */
void cudasim_driver_cases(struct case_list *l);
/* General kernels beside the faster ones (cudasim_paths.c). */
void cudasim_paths_cases(struct case_list *l);

#endif
