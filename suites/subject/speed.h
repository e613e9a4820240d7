/* Measuring speed: samples, and how fast the memory is. */
#ifndef BENCH_H
#define BENCH_H

#include "engine/backend.h"

enum { BENCH_MAX_SAMPLES = 100 };

struct samples {
    double value[BENCH_MAX_SAMPLES];
    size_t n;
};
/* Median; spread: half the distance between the quartiles. Sorts the samples. */
void bench_summarize(struct samples *s, double *median, double *spread);

/* Bytes per second at which n_threads (0 = one per core) read memory far larger than caches. */
enum status bench_host_read(int n_threads, double *out, struct err *e);
/* Bytes per second, read and written, of a copy on the device (scale by one). */
enum status bench_device_copy(struct backend *b, double *out, struct err *e);

#endif
