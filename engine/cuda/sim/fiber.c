/* Switching between stacks: a few instructions on x86-64 and AArch64 (what a call must preserve is
 * pushed, the stack pointer exchanged), ucontext elsewhere. ucontext everywhere would do, but it
 * makes two system calls per switch, and a warp's shuffle is 32 switches. */
#include "engine/cuda/sim/fiber.h"

#include <sys/mman.h>

#if defined __SANITIZE_ADDRESS__
#define FIBER_ASAN 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/asan_interface.h>
#endif

void *fiber_stacks(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void fiber_stacks_free(void *at, size_t bytes)
{
    if (at) munmap(at, bytes);
}

/* A fiber that was given up in the middle leaves red zones behind. */
static void stack_is_clean(void *stack, size_t bytes)
{
#ifdef FIBER_ASAN
    ASAN_UNPOISON_MEMORY_REGION(stack, bytes);
#else
    (void)stack;
    (void)bytes;
#endif
}

#if defined __x86_64__

void fiber_swap_asm(void **from, void *to);
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden fiber_swap_asm\n"
        ".globl fiber_swap_asm\n"
        ".type fiber_swap_asm, @function\n"
        "fiber_swap_asm:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n"
        "    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n"
        "    popq %rbx\n    popq %rbp\n"
        "    ret\n"
        ".size fiber_swap_asm, . - fiber_swap_asm\n");

void fiber_make(struct fiber_point *f, void *stack, size_t stack_bytes, void (*run)(void))
{
    stack_is_clean(stack, stack_bytes);
    uint64_t *top = (uint64_t *)(void *)((uint8_t *)stack + stack_bytes);
    *--top = 0; /* run is entered as if called: the stack is 8 short of a multiple of 16 */
    *--top = (uint64_t)(uintptr_t)run;
    for (int i = 0; i < 6; i++) *--top = 0;
    f->sp = top;
}

void fiber_swap(struct fiber_point *from, struct fiber_point *to)
{
    fiber_swap_asm(&from->sp, to->sp);
}

#elif defined __aarch64__

void fiber_swap_asm(void **from, void *to);
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden fiber_swap_asm\n"
        ".globl fiber_swap_asm\n"
        ".type fiber_swap_asm, %function\n"
        "fiber_swap_asm:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp]\n    stp x21, x22, [sp, #16]\n    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n    stp x27, x28, [sp, #64]\n    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n    str x9, [x0]\n    mov sp, x1\n"
        "    ldp x19, x20, [sp]\n    ldp x21, x22, [sp, #16]\n    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n    ldp x27, x28, [sp, #64]\n    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size fiber_swap_asm, . - fiber_swap_asm\n");

void fiber_make(struct fiber_point *f, void *stack, size_t stack_bytes, void (*run)(void))
{
    stack_is_clean(stack, stack_bytes);
    uint64_t *top = (uint64_t *)(void *)((uint8_t *)stack + stack_bytes);
    top -= 20;
    for (int i = 0; i < 20; i++) top[i] = 0;
    top[11] = (uint64_t)(uintptr_t)run; /* x30 */
    f->sp = top;
}

void fiber_swap(struct fiber_point *from, struct fiber_point *to)
{
    fiber_swap_asm(&from->sp, to->sp);
}

#else

#include <ucontext.h>

/* The context lies at the low end of the stack that it runs on; that of the system thread's own
 * stack is made by the first swap away from it. */
void fiber_make(struct fiber_point *f, void *stack, size_t stack_bytes, void (*run)(void))
{
    ucontext_t *u = stack;
    stack_is_clean(stack, stack_bytes);
    getcontext(u);
    u->uc_stack.ss_sp = (uint8_t *)stack + sizeof *u;
    u->uc_stack.ss_size = stack_bytes - sizeof *u;
    u->uc_link = NULL;
    makecontext(u, run, 0);
    f->sp = u;
}

void fiber_swap(struct fiber_point *from, struct fiber_point *to)
{
    ucontext_t here;
    if (!from->sp) {
        from->sp = &here;
        swapcontext(&here, to->sp);
        from->sp = NULL;
        return;
    }
    swapcontext(from->sp, to->sp);
}

#endif
