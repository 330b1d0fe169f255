/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the engine publishes its timers: see ticks-file.h. */
#include "daemon/ticks-file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a slot holds depends on the build; another build's file is not read. */
#define MAGIC UINT64_C(0x68767469636b3031) /* "hvtick01" */
/* A writer is done within microseconds, if the host lets it run; a reader has time. */
#define READ_TRIES 10000000u

struct header {
    uint64_t magic;
    uint64_t slot_size;
    uint64_t slots;
    uint64_t reserved;
};

struct ticks_file {
    struct header *header;
    size_t size;
};

static size_t size_of(uint64_t slots)
{
    return sizeof(struct header) + slots * sizeof(struct ticks_slot);
}

static struct ticks_file *map(int fd, size_t size)
{
    int flags = fd >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS;
    /* Without a descriptor the mapping is anonymous, and -1 is what it takes. */
    // cppcheck-suppress invalidFunctionArg
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

    if (memory == MAP_FAILED) {
        return NULL;
    }
    struct ticks_file *file = g_new(struct ticks_file, 1);
    file->header = memory;
    file->size = size;
    return file;
}

/* Not over the old one, which may still be read. */
static int create(const char *path, size_t size)
{
    g_unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd >= 0 && ftruncate(fd, (off_t)size) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

struct ticks_file *ticks_file_new(const char *path, unsigned slots, GError **error)
{
    size_t size = size_of(slots);
    int fd = path != NULL ? create(path, size) : -1;
    struct ticks_file *file = path == NULL || fd >= 0 ? map(fd, size) : NULL;

    if (file == NULL) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "%s can't be made: %s; see that its directory is there and writable",
                    path != NULL ? path : "memory for figures", g_strerror(errno));
    } else {
        *file->header = (struct header){MAGIC, sizeof(struct ticks_slot), slots, 0};
    }
    if (fd >= 0) {
        close(fd);
    }
    return file;
}

struct ticks_file *ticks_file_open_old(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    struct ticks_file *file = size >= (off_t)sizeof(struct header) ? map(fd, (size_t)size) : NULL;

    if (fd >= 0) {
        close(fd);
    }
    if (file != NULL &&
        (file->header->magic != MAGIC || file->header->slot_size != sizeof(struct ticks_slot) ||
         file->header->slots > UINT32_MAX || file->size != size_of(file->header->slots))) {
        g_clear_pointer(&file, ticks_file_free);
    }
    return file;
}

void ticks_file_free(struct ticks_file *file)
{
    if (file != NULL) {
        munmap(file->header, file->size);
        g_free(file);
    }
}

struct ticks_slot *ticks_file_slot(struct ticks_file *file, unsigned number)
{
    return number < file->header->slots ? (struct ticks_slot *)(file->header + 1) + number : NULL;
}

/* A full fence: the writer's look at the clock comes after it for every reader. */
void ticks_slot_begin(struct ticks_slot *slot)
{
    uint64_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);

    if ((sequence & 1) == 0) {
        atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_seq_cst);
    }
}

/* Every store is a release, so that a reader that sees a new word sees the odd sequence too. */
void ticks_slot_write(struct ticks_slot *slot, const struct published *published)
{
    uint64_t words[PUBLISHED_WORDS];

    ticks_slot_begin(slot);
    memcpy(words, published, sizeof words);
    for (unsigned i = 0; i < PUBLISHED_WORDS; i++) {
        atomic_store_explicit(&slot->words[i], words[i], memory_order_release);
    }
    atomic_store_explicit(&slot->sequence,
                          atomic_load_explicit(&slot->sequence, memory_order_relaxed) + 1,
                          memory_order_release);
}

void ticks_slot_read_old(struct ticks_slot *slot, struct published *ret_published)
{
    uint64_t words[PUBLISHED_WORDS] = {0};

    for (unsigned i = 0; i < PUBLISHED_WORDS; i++) {
        words[i] = atomic_load_explicit(&slot->words[i], memory_order_acquire);
    }
    memcpy(ret_published, words, sizeof *ret_published);
}

bool ticks_slot_read(struct ticks_slot *slot, uint64_t (*clock)(void),
                     struct published *ret_published, uint64_t *ret_now)
{
    for (unsigned tries = 0; tries < READ_TRIES; tries++) {
        uint64_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
        ticks_slot_read_old(slot, ret_published);
        *ret_now = clock();
        uint64_t after = atomic_load_explicit(&slot->sequence, memory_order_seq_cst);
        if (before == after && (before & 1) == 0) {
            return true;
        }
    }
    return false;
}
