/* Loading the CUDA driver, and its errors in words. */
#include "engine/cuda/driver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static const char *const symbols[] = {
#define ENTRY(name, symbol, params) #symbol,
    CU_ENTRIES(ENTRY)
#undef ENTRY
};

/* Functions and data pointers differ for ISO C; POSIX gives both one size. */
static bool load_entry(void *library, const char *symbol, void *function, size_t size)
{
    void *p = dlsym(library, symbol);
    memcpy(function, &p, size);
    return p != NULL;
}

enum status driver_open(struct driver *d, struct err *e)
{
    const char *library_name = getenv("ASSAY_CUDA_LIBRARY");
    if (!library_name) library_name = "libcuda.so.1";
    memset(d, 0, sizeof *d);
    d->library = dlopen(library_name, RTLD_NOW | RTLD_LOCAL);
    if (!d->library) return fail(e, ST_NO_DEVICE, "cuda: no driver: %s", dlerror());
    const char *missing = NULL;
#define ENTRY(name, symbol, params)                                                                \
    if (!load_entry(d->library, #symbol, &d->name, sizeof d->name) && !missing) missing = #symbol;
    CU_ENTRIES(ENTRY)
#undef ENTRY
    enum status st = ST_OK;
    if (missing)
        st = fail(e, ST_NO_DEVICE, "cuda: the driver is too old: %s has no %s", library_name,
                  missing);
    if (st == ST_OK) st = CU(d, init, (0));
    if (st == ST_OK) st = CU(d, driver_version, (&d->version));
    if (st != ST_OK) driver_close(d);
    return st;
}

void driver_close(struct driver *d)
{
    if (d->library) dlclose(d->library);
    d->library = NULL;
}

enum status driver_check(const struct driver *d, unsigned error, enum cu_call call,
                         const char *args, const char *where, struct err *e)
{
    if (error == CU_SUCCESS) return ST_OK;
    const char *name = NULL, *text = NULL;
    d->error_name(error, &name);
    d->error_text(error, &text);
    enum status st = ST_DEVICE;
    if (error == CU_OUT_OF_MEMORY) st = ST_NOMEM;
    /* A driver that cannot even start has nothing to run on. */
    if (error == CU_NO_DEVICE || call == CU_CALL_init) st = ST_NO_DEVICE;
    return fail(e, st, "cuda: %s%s%s%s: %s (%u): %s", symbols[call], args, where[0] ? ", " : "",
                where, name ? name : "unknown error", error, text ? text : "no text");
}
