/* Pages: a template with the style, the scripts and the data put in. */
#ifndef PAGE_H
#define PAGE_H

#include "reports/buffer.h"

/* script: an embedded file. summary: a sentence that is there without scripts, too. */
enum status page_make(struct buffer *out, const char *title, const char *summary,
                      const char *script, const json_t *data, struct err *e);

#endif
