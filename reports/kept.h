/* One page about many reports: charts of used bounds, passed cases and speed over versions. */
#ifndef KEPT_H
#define KEPT_H

#include "reports/buffer.h"

/* Appends the page over the n reports of these paths, in the order of their versions and times. */
enum status kept_page(struct buffer *out, const char *const *paths, size_t n, struct err *e);

#endif
