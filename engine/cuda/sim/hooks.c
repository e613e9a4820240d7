/* What kernels compiled with -fsanitize=thread call before each load and store. The compiler's own
 * library for these calls is not linked: a build that links it leaves this file out. */
#include "engine/cuda/sim/sim.h"

#define ACCESS(n)                                                                                  \
    void __tsan_read##n(void *p);                                                                  \
    void __tsan_read##n(void *p)                                                                   \
    {                                                                                              \
        sim_check_aligned(p, n);                                                                   \
        sim_check_access(p, n, false);                                                             \
    }                                                                                              \
    void __tsan_write##n(void *p);                                                                 \
    void __tsan_write##n(void *p)                                                                  \
    {                                                                                              \
        sim_check_aligned(p, n);                                                                   \
        sim_check_access(p, n, true);                                                              \
    }
#define UNALIGNED(n)                                                                               \
    void __tsan_unaligned_read##n(void *p);                                                        \
    void __tsan_unaligned_read##n(void *p)                                                         \
    {                                                                                              \
        sim_check_access(p, n, false);                                                             \
    }                                                                                              \
    void __tsan_unaligned_write##n(void *p);                                                       \
    void __tsan_unaligned_write##n(void *p)                                                        \
    {                                                                                              \
        sim_check_access(p, n, true);                                                              \
    }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)
UNALIGNED(2)
UNALIGNED(4)
UNALIGNED(8)
UNALIGNED(16)

void __tsan_read_range(void *p, size_t n);
void __tsan_read_range(void *p, size_t n)
{
    sim_check_access(p, n, false);
}
void __tsan_write_range(void *p, size_t n);
void __tsan_write_range(void *p, size_t n)
{
    sim_check_access(p, n, true);
}
void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller)
{
    (void)caller;
}
void __tsan_func_exit(void *unused);
void __tsan_func_exit(void *unused)
{
    (void)unused;
}
void __tsan_init(void);
void __tsan_init(void) {}
