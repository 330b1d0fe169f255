/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loaded into hvtimer-attach by the test (LD_PRELOAD): kills it with SIGKILL just before or just
 * after its Nth call that changes anything in the VMM. N is ATTACH_KILL_AT; even numbers mean
 * before call N / 2, odd ones after it. A helper that survives says on standard error how many
 * calls there were.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

static long calls;

static void here(int after)
{
    const char *at = getenv("ATTACH_KILL_AT");

    if (at != NULL && atol(at) == calls * 2 + after) {
        kill(getpid(), SIGKILL);
    }
    calls += after;
}

__attribute__((visibility("default"))) long ptrace(enum __ptrace_request request, ...)
{
    static long (*next)(enum __ptrace_request, ...);
    va_list arguments;

    va_start(arguments, request);
    pid_t tid = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);
    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "ptrace");
    }
    here(0);
    long result = next(request, tid, address, data);
    here(1);
    return result;
}

__attribute__((visibility("default"))) ssize_t
process_vm_writev(pid_t pid, const struct iovec *local, unsigned long locals,
                  const struct iovec *remote, unsigned long remotes, unsigned long flags)
{
    static ssize_t (*next)(pid_t, const struct iovec *, unsigned long, const struct iovec *,
                           unsigned long, unsigned long);

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "process_vm_writev");
    }
    here(0);
    ssize_t result = next(pid, local, locals, remote, remotes, flags);
    here(1);
    return result;
}

__attribute__((destructor)) static void tell(void)
{
    fprintf(stderr, "calls=%ld\n", calls);
}
