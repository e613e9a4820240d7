/* Bytes in front of a page that may not be read; see fence.h. */
#include "harness/fence.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool fence_open(struct test *t, struct fence *f, size_t cap)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (cap + page - 1) / page * page;
    *f = (struct fence){.map_size = room + page};
    f->map = mmap(NULL, f->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!test_check(t, f->map != MAP_FAILED, "mmap: %s", strerror(errno))) return false;
    f->end = f->map + room;
    return test_check(t, mprotect(f->end, page, PROT_NONE) == 0, "mprotect: %s", strerror(errno));
}

struct span fence_put(const struct fence *f, const void *data, size_t n)
{
    struct span s = {f->end - n, n};
    if (n) memcpy(f->end - n, data, n);
    return s;
}

void fence_close(struct fence *f)
{
    munmap(f->map, f->map_size);
}
