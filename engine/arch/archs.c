/* The table of architectures. */
#include "engine/arch/arch.h"

static const struct arch archs[] = {
#define ARCH(id, name) {name, load_##id},
#include "engine/arch/archs.def"
#undef ARCH
};

const struct arch *arch_at(size_t i)
{
    return i < sizeof archs / sizeof *archs ? &archs[i] : NULL;
}
