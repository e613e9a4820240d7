/* The table of architectures. */
#include "engine/arch/arch.h"

static const struct arch archs[] = {
#define ARCH(e, c_name, name) {name, load_##c_name},
#include "spec/archs.def"
#undef ARCH
};

const struct arch *arch_at(size_t i)
{
    return i < sizeof archs / sizeof *archs ? &archs[i] : NULL;
}
