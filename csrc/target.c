/* The target: opening it, and finding out what it is. */
#include "target.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "layout.h"

enum {
    FILE_ALIGN = 4096, /* of direct I/O on regular files: enough for every filesystem on 512 or 4096 byte sectors */
};

static int open_retrying(const char *path, int flags)
{
    int fd;

    do
        fd = open(path, flags, 0644);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static int refuse(hup_error *error, int number, const char *path, const char *what)
{
    return hup_fail_errno(error, HUP_E_TARGET, number, 0, 0, "%s %s", path, what);
}

static int measure_device(struct hup_target *target, const hup_config *config, hup_error *error)
{
    int sector = 0, read_only = 0;

    if (ioctl(target->fd, BLKGETSIZE64, &target->size) < 0 || ioctl(target->fd, BLKSSZGET, &sector) < 0)
        return refuse(error, errno, config->target, "does not tell its size");
    if (config->mode == HUP_MODE_WRITE && ioctl(target->fd, BLKROGET, &read_only) == 0 && read_only)
        return refuse(error, EROFS, config->target, "is write-protected");
    if (sector < 512 || sector > HUP_BLOCK_MIN || (sector & (sector - 1)))
        return hup_fail(error, HUP_E_TARGET, 0, 0, "%s has sectors of %d bytes, which hupfast does not know",
                        config->target, sector);
    target->align = (uint32_t)sector;
    return HUP_OK;
}

static int measure(struct hup_target *target, const hup_config *config, hup_error *error)
{
    struct stat status;

    if (fstat(target->fd, &status) < 0)
        return refuse(error, errno, config->target, "cannot be examined");
    if (S_ISBLK(status.st_mode)) {
        target->device = true;
        return measure_device(target, config, error);
    }
    if (!S_ISREG(status.st_mode))
        return hup_fail(error, HUP_E_TARGET, 0, 0, "%s is neither a block device nor a regular file", config->target);
    target->align = FILE_ALIGN;
    target->size = target->blank ? UINT64_MAX : (uint64_t)status.st_size;
    return HUP_OK;
}

/* The folder of path; NULL when there is no memory. The caller owns it. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? strndup(path, (size_t)(slash - path + 1)) : strdup(".");
}

/* Make a file that has no name yet, in the folder of path: should this process die, nothing is left. */
static int open_nameless(const char *path, int flags)
{
    struct stat status; /* of a link that leads nowhere too: it is a name that is taken */
    char *folder = folder_of(path);
    /* Without /proc the file could not be named at the end. */
    int fd = folder && lstat(path, &status) < 0 && access("/proc/self/fd", F_OK) == 0
                 ? open_retrying(folder, (flags & ~O_EXCL) | O_TMPFILE)
                 : -1;

    free(folder);
    return fd;
}

/* Open what is there, or make what is not: without a name where the filesystem can, else under its own. */
static int open_any(struct hup_target *target, const char *path, int flags)
{
    if (!target->blank)
        return open_retrying(path, flags);
    int fd = open_nameless(path, flags);
    target->nameless = fd >= 0;
    return fd >= 0 ? fd : open_retrying(path, flags | O_CREAT);
}

int hup_target_open(struct hup_target *target, const hup_config *config, hup_error *error)
{
    *target = (struct hup_target){ .fd = -1, .align = 1, .size = UINT64_MAX };
    if (config->mode == HUP_MODE_CHECK)
        return HUP_OK;
    if (!config->target || !*config->target)
        return hup_fail(error, HUP_E_USAGE, 0, 0, "no target was given");

    bool write = config->mode == HUP_MODE_WRITE, direct = !(config->flags & HUP_BUFFERED);
    /* O_EXCL without O_CREAT: the kernel says EBUSY for a block device that is mounted or held. It means nothing
     * for other files. Comparing may be done while somebody else uses the device. */
    int flags = O_CLOEXEC | O_NOCTTY | (write ? O_RDWR | O_EXCL : O_RDONLY);
    target->blank = write && (config->flags & HUP_CREATE);
    if (target->blank && !(target->path = strdup(config->target)))
        return hup_fail_errno(error, HUP_E_SYSTEM, ENOMEM, 0, 0, "cannot keep the target's name");
    target->fd = open_any(target, config->target, flags | (direct ? O_DIRECT : 0));
    if (target->fd < 0 && errno == EINVAL && direct) {
        direct = false; /* a filesystem without direct I/O; it may have made the file before it said so */
        target->fd = open_any(target, config->target, target->blank ? flags & ~O_EXCL : flags);
    }
    int status;
    if (target->fd < 0)
        status = refuse(error, errno, config->target, errno == EBUSY ? "is mounted or held" : "cannot be opened");
    else
        status = measure(target, config, error);
    if (status) {
        hup_target_close(target);
        return status;
    }
    atomic_init(&target->direct, direct);
    if (!direct)
        hup_target_buffer(target);
    return HUP_OK;
}

/* Flush a folder, so that the name of a new file in it is on the medium. */
static int flush_folder(const char *path)
{
    char *folder = folder_of(path);
    int fd = folder ? open_retrying(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int done = fd < 0 ? -1 : fsync(fd);
    int number = errno;

    if (fd >= 0)
        close(fd);
    free(folder);
    /* Some filesystems cannot flush a folder, and need not. */
    return done < 0 && number != EINVAL && number != EACCES ? number : 0;
}

int hup_target_keep(struct hup_target *target, hup_error *error)
{
    char self[40];

    if (!target->blank)
        return HUP_OK;
    snprintf(self, sizeof self, "/proc/self/fd/%d", target->fd);
    if (target->nameless && linkat(AT_FDCWD, self, AT_FDCWD, target->path, AT_SYMLINK_FOLLOW) < 0)
        return hup_fail_errno(error, errno == EEXIST ? HUP_E_TARGET : HUP_E_MEDIUM, errno, 0, 0,
                              "the new file could not be named %s", target->path);
    target->nameless = false;
    int number = flush_folder(target->path);
    if (number)
        return hup_fail_errno(error, HUP_E_MEDIUM, number, 0, 0, "the folder of %s could not be flushed", target->path);
    return HUP_OK;
}

void hup_target_discard(struct hup_target *target)
{
    if (target->path && !target->nameless)
        unlink(target->path);
}

void hup_target_close(struct hup_target *target)
{
    free(target->path);
    target->path = NULL;
    if (target->fd >= 0)
        close(target->fd);
    target->fd = -1;
}

int hup_target_prepare(struct hup_target *target, uint64_t image_size, hup_error *error)
{
    if (image_size > target->size)
        return hup_fail_needed(error, HUP_E_TARGET, image_size,
                               "the image has %" PRIu64 " bytes, and the target only %" PRIu64, image_size,
                               target->size);
    int number = 0;
    if (target->blank && image_size && image_size != HUP_UNKNOWN)
        while (fallocate(target->fd, 0, 0, (off_t)image_size) < 0 && (number = errno) == EINTR)
            number = 0;
    if (number && number != EOPNOTSUPP)
        return hup_fail_errno(error, HUP_E_TARGET, number, 0, 0,
                              "the target's filesystem does not have room for %" PRIu64 " bytes", image_size);
    return HUP_OK;
}

void hup_target_buffer(struct hup_target *target)
{
    int flags = fcntl(target->fd, F_GETFL);

    /* First, and all of it: what the cache remembers of the target must answer no read from now on, and a large folio
     * is dropped only by a range that holds all of it. */
    posix_fadvise(target->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (flags >= 0)
        fcntl(target->fd, F_SETFL, flags & ~O_DIRECT);
    atomic_store(&target->direct, false);
}
