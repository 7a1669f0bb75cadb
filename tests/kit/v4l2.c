/* Loaded before a program (LD_PRELOAD), this makes /dev/video42 a camera: YUYV, 64x48 or what it is asked for, frames of
 * one grey that rises by 8 from 64 on, 50 of them, after which the camera is pulled out. The calls of V4L2 are the
 * kernel's; FFmpeg makes them as to any camera. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFERS 4
#define FRAMES 50

static int camera = -1, width = 64, height = 48, rate = 50, frame;
static int queue[BUFFERS], queued;
static unsigned char *memory;

static size_t size(void) { return (size_t)width * height * 2; }
static size_t room(void) { return (size() + 4095) / 4096 * 4096; }

static int opened(const char *path) {
    if (strcmp(path, "/dev/video42")) return -1;
    camera = memfd_create("camera", 0);
    frame = 0;
    return camera;
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...) {                                    \
        static int (*real)(const char *, int, ...);                                 \
        va_list more;                                                               \
        if (!strcmp(path, "/dev/video42")) return opened(path);                     \
        if (!real) real = dlsym(RTLD_NEXT, #name);                                  \
        va_start(more, flags);                                                      \
        mode_t mode = va_arg(more, mode_t);                                         \
        va_end(more);                                                               \
        return real(path, flags, mode);                                             \
    }
OPEN(open)
OPEN(open64)

static int fail(int reason) { errno = reason; return -1; }

static void format(struct v4l2_format *about) {
    about->fmt.pix.width = width;
    about->fmt.pix.height = height;
    about->fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
    about->fmt.pix.field = V4L2_FIELD_NONE;
    about->fmt.pix.bytesperline = 2 * width;
    about->fmt.pix.sizeimage = size();
}

static int call(unsigned long request, void *data) {
    struct v4l2_buffer *buffer = data;
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)data)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_G_INPUT: *(int *)data = 0; return 0;
    case VIDIOC_ENUMINPUT: return ((struct v4l2_input *)data)->index ? fail(EINVAL) : 0;
    case VIDIOC_ENUM_FMT:
        if (((struct v4l2_fmtdesc *)data)->index) return fail(EINVAL);
        ((struct v4l2_fmtdesc *)data)->pixelformat = V4L2_PIX_FMT_YUYV;
        return 0;
    case VIDIOC_S_FMT:
        if (((struct v4l2_format *)data)->fmt.pix.width) {
            width = ((struct v4l2_format *)data)->fmt.pix.width;
            height = ((struct v4l2_format *)data)->fmt.pix.height;
        } /* fall through */
    case VIDIOC_G_FMT: format(data); return 0;
    case VIDIOC_S_PARM: rate = ((struct v4l2_streamparm *)data)->parm.capture.timeperframe.denominator; /* fall through */
    case VIDIOC_G_PARM:
        ((struct v4l2_streamparm *)data)->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        ((struct v4l2_streamparm *)data)->parm.capture.timeperframe.numerator = 1;
        ((struct v4l2_streamparm *)data)->parm.capture.timeperframe.denominator = rate;
        return 0;
    case VIDIOC_REQBUFS:
        ((struct v4l2_requestbuffers *)data)->count = BUFFERS;
        if (ftruncate(camera, BUFFERS * room())) return -1;
        memory = mmap(NULL, BUFFERS * room(), PROT_READ | PROT_WRITE, MAP_SHARED, camera, 0);
        return memory == MAP_FAILED ? -1 : 0;
    case VIDIOC_QUERYBUF:
        buffer->length = size();
        buffer->m.offset = buffer->index * room();
        return 0;
    case VIDIOC_QBUF: queue[queued++] = buffer->index; return 0;
    case VIDIOC_STREAMON: case VIDIOC_STREAMOFF: return 0;
    case VIDIOC_DQBUF:
        if (frame == FRAMES) return fail(ENODEV);
        if (!queued) return fail(EAGAIN);
        usleep(1000000 / rate);
        buffer->index = queue[0];
        memmove(queue, queue + 1, --queued * sizeof *queue);
        for (size_t k = 0; k < size(); k++) memory[buffer->index * room() + k] = k % 2 ? 128 : 64 + 8 * (frame % 16);
        frame++;
        buffer->bytesused = size();
        buffer->timestamp.tv_sec = frame;
        return 0;
    }
    return fail(ENOTTY);
}

int ioctl(int fd, unsigned long request, ...) {
    static int (*real)(int, unsigned long, ...);
    va_list more;
    va_start(more, request);
    void *data = va_arg(more, void *);
    va_end(more);
    if (fd >= 0 && fd == camera) return call(request & 0xffffffff, data);
    if (!real) real = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, data);
}
