/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Instructions in a VMM's own code: see code.h. */
#include "daemon/attach/code.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read at a time, with an overlap for what lies across two of them; and read in all, at most. */
#define CHUNK   (256u * 1024)
#define OVERLAP 16u
#define TOTAL   (256u * 1024 * 1024)

static const unsigned char syscall_ret[] = {0x0f, 0x05, 0xc3};
static const unsigned char sigreturn_rax[] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
static const unsigned char sigreturn_eax[] = {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05};

struct search {
    const struct target *target;
    struct code code;
    uint64_t left; /* bytes that may yet be read */
    unsigned char buffer[CHUNK];
};

static void look_for(struct search *search, size_t size, uint64_t address, const void *bytes,
                     size_t length, uint64_t *found)
{
    const unsigned char *hit = memmem(search->buffer, size, bytes, length);

    if (*found == 0 && hit != NULL) {
        *found = address + (uint64_t)(hit - search->buffer);
    }
}

static void search_mapping(struct search *search, uint64_t start, uint64_t end)
{
    while (start < end && search->left >= CHUNK &&
           (search->code.syscall_ret == 0 || search->code.sigreturn == 0)) {
        size_t size = end - start < CHUNK ? end - start : CHUNK;
        if (!target_read(search->target, start, search->buffer, size)) {
            return;
        }
        look_for(search, size, start, syscall_ret, sizeof(syscall_ret), &search->code.syscall_ret);
        look_for(search, size, start, sigreturn_rax, sizeof(sigreturn_rax),
                 &search->code.sigreturn);
        look_for(search, size, start, sigreturn_eax, sizeof(sigreturn_eax),
                 &search->code.sigreturn);
        search->left -= CHUNK;
        start += size < CHUNK ? size : CHUNK - OVERLAP;
    }
}

/* Mappings whose name holds @name ("": all); the C library is the quickest place to look at. */
static void search_mappings(struct search *search, const char *name)
{
    char line[4352], mode[5];
    uint64_t start, end;
    int fd = openat(search->target->proc, "maps", O_RDONLY | O_CLOEXEC);
    FILE *maps = fd >= 0 ? fdopen(fd, "r") : NULL;

    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, mode) == 3 &&
            strcmp(mode, "r-xp") == 0 && strstr(line, name) != NULL) {
            search_mapping(search, start, end);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
}

bool code_find(const struct target *target, struct code *ret_code, struct failure *failure)
{
    struct search *search = calloc(1, sizeof(*search));

    if (search == NULL) {
        return fail(failure, ATTACH_INTERNAL, "out of memory");
    }
    search->target = target;
    search->left = TOTAL;
    search_mappings(search, "/libc");
    search_mappings(search, "");
    *ret_code = search->code;
    free(search);
    return (ret_code->syscall_ret != 0 && ret_code->sigreturn != 0) ||
           fail(failure, ATTACH_NOT_ATTACHABLE,
                "process %d (%s) has no code for a system call or the return from a signal where "
                "the helper can use it: this VMM can't be attached to from outside",
                target->pid, target->name);
}
