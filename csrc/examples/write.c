/* Write an image onto a device or file, and read it back.
 *
 *     cc write.c $(pkg-config --cflags --libs hupfast) -o write && ./write image.zst /dev/mmcblk0p3 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <hupfast.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: %s IMAGE TARGET\n", argv[0]), 2;
    int image = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (image < 0)
        return perror(argv[1]), 1;

    hup_config config = { .target = argv[2], .flags = HUP_READ_BACK, .image_size = HUP_UNKNOWN };
    hup_writer *writer;
    hup_error error;
    hup_report report;
    hup_progress progress;

    int status = hup_writer_open(&config, &writer, &error);
    if (status == HUP_OK)
        status = hup_writer_read_fd(writer, image, HUP_UNKNOWN, &error);
    if (status == HUP_OK)
        while ((status = hup_writer_wait(writer, 500, &report, &error)) == HUP_RUNNING) {
            hup_writer_progress(writer, &progress);
            fprintf(stderr, "\r%llu MiB ", (unsigned long long)progress.done >> 20);
        }
    hup_writer_close(writer);
    close(image);
    if (status != HUP_OK)
        return fprintf(stderr, "%s\n", error.message), 1;
    printf("%llu bytes, %llu written, %llu zeroed, read back\n", (unsigned long long)report.image_size,
           (unsigned long long)report.written, (unsigned long long)report.zeroed);
    return 0;
}
