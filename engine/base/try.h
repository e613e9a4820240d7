/* TRY, for functions that stop at the first failure and have nothing to release. Apart from base.h,
 * which is installed: the name is short. */
#ifndef TRY_H
#define TRY_H

/* Leaves the calling function on failure. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_st = (call);                                                               \
        if (try_st != ST_OK) return try_st;                                                        \
    } while (0)

#endif
