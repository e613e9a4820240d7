/* The compiled kernels, embedded at build time: one fatbin per file of kernels/. */
#ifndef CUDA_FATBIN_H
#define CUDA_FATBIN_H

struct fatbin {
    const char *file; /* as in kernels.def; NULL past the last */
    const void *image;
};
extern const struct fatbin cuda_fatbins[];
extern const char cuda_archs[]; /* "sm_75 sm_80 ... and PTX": what they were built for */

#endif
