/* Resizes uint8 pictures, [1,H,W,3] or [H,W,3], or 1 in place of 3, without keeping proportions: resize.py in C, bit for
   bit as with Pillow. The output is uint8, int8 (the value less 128), or float32: (value / 255 - mean) / std. mean and std
   are for float32; a number, or one for each channel: 0.485,0.456,0.406.

   Like Pillow it averages with a triangle as wide as a pixel of the smaller picture, first along rows, then along columns,
   with weights of 22 binary places, and rounds to whole values after each. */

#include "eprune_actor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

EPRUNE_PARAMETER(resize, "mean", "0");
EPRUNE_PARAMETER(resize, "std", "1");

enum { PLACES = 22, MOST_CHANNELS = 3 };

/* What each place of a line is made of: count weights from place first on. */
typedef struct {
    int width; /* weights at most */
    int *first, *count;
    int32_t *weights;
} line;

typedef struct {
    int height, width, channels, to_height, to_width;
    line across, down;
    uint8_t *between;
    char kind; /* of the output: 'u', 'i' or 'f' */
    float factor[MOST_CHANNELS], shift[MOST_CHANNELS];
} resize;

static void free_line(line *made) {
    free(made->first);
    free(made->count);
    free(made->weights);
}

void resize_free(void *self) {
    resize *made = self;
    if (made == NULL) return;
    free_line(&made->across);
    free_line(&made->down);
    free(made->between);
    free(made);
}

static int plan(line *made, int from, int to) {
    const double scale = (double)from / to, spread = scale < 1 ? 1 : scale;
    made->width = (int)ceil(spread) * 2 + 1;
    made->first = calloc((size_t)to, sizeof(int));
    made->count = calloc((size_t)to, sizeof(int));
    made->weights = calloc((size_t)to * (size_t)made->width, sizeof(int32_t));
    double *weights = calloc((size_t)made->width, sizeof(double));
    if (!made->first || !made->count || !made->weights || !weights) {
        free(weights);
        return 0;
    }
    for (int place = 0; place < to; place++) {
        const double center = (place + 0.5) * scale;
        int first = (int)(center - spread + 0.5), end = (int)(center + spread + 0.5);
        if (first < 0) first = 0;
        if (end > from) end = from;
        double sum = 0;
        for (int i = 0; i < end - first; i++) {
            const double away = fabs((i + first - center + 0.5) * (1 / spread));
            weights[i] = away < 1 ? 1 - away : 0;
            sum += weights[i];
        }
        for (int i = 0; i < end - first; i++)
            made->weights[place * made->width + i] = (int32_t)(0.5 + weights[i] / sum * (1 << PLACES));
        made->first[place] = first;
        made->count[place] = end - first;
    }
    free(weights);
    return 1;
}

/* One place: the weighted sum of values that are step apart. */
static uint8_t mixed(const line *made, int place, const uint8_t *values, int step) {
    const int32_t *weights = made->weights + place * made->width;
    int32_t sum = 1 << (PLACES - 1);
    values += made->first[place] * step;
    for (int i = 0; i < made->count[place]; i++) sum += values[i * step] * weights[i];
    sum >>= PLACES;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* The numbers of "0.485,0.456,0.406"; how many there are, 0 if that is no list of numbers, or one that is too long. */
static int numbers(const char *text, double *found) {
    int count = 0;
    for (;;) {
        char *end;
        if (count == MOST_CHANNELS) return 0;
        found[count] = strtod(text, &end);
        if (end == text || !isfinite(found[count++])) return 0;
        while (*end == ' ') end++;
        if (*end == 0) return count;
        if (*end != ',') return 0;
        text = end + 1;
    }
}

/* Whether a port has pictures; their size. */
static int picture(const eprune_port *port, int *height, int *width, int *channels) {
    const int64_t *shape = port->shape;
    int dimensions = port->dimensions;
    if (dimensions == 4 && shape[0] == 1) shape++, dimensions--;
    if (dimensions != 3 || (shape[2] != 1 && shape[2] != 3) || shape[0] < 1 || shape[1] < 1) return 0;
    if (shape[0] > 1 << 20 || shape[1] > 1 << 20) return 0;
    *height = (int)shape[0], *width = (int)shape[1], *channels = (int)shape[2];
    return 1;
}

void *resize_new(const eprune_context *context, char *error, size_t size) {
    double mean[MOST_CHANNELS], std[MOST_CHANNELS];
    const char *mean_text = eprune_value(context, "mean", "0"), *std_text = eprune_value(context, "std", "1");
    const int means = numbers(mean_text, mean), stds = numbers(std_text, std);
    int channels = 0;
    resize *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    if (context->inputs != 1 || context->outputs != 1) {
        snprintf(error, size, "needs one input and one output");
        goto refuse;
    }
    const eprune_port *in = context->input, *out = context->output;
    if (strcmp(in->dtype, "uint8") != 0 || !picture(in, &made->height, &made->width, &made->channels)) {
        snprintf(error, size, "port '%s': expected uint8, [1,H,W,3] or [H,W,3]", in->name);
        goto refuse;
    }
    made->kind = strcmp(out->dtype, "uint8") == 0 ? 'u' : strcmp(out->dtype, "int8") == 0 ? 'i' : 'f';
    if ((made->kind == 'f' && strcmp(out->dtype, "float32") != 0) ||
        !picture(out, &made->to_height, &made->to_width, &channels) || channels != made->channels) {
        snprintf(error, size, "port '%s': expected uint8, int8 or float32, and the channels of the input", out->name);
        goto refuse;
    }
    if ((means != 1 && means != channels) || (stds != 1 && stds != channels)) {
        snprintf(error, size, "mean='%s', std='%s': expected a number, or one for each channel", mean_text, std_text);
        goto refuse;
    }
    for (int c = 0; c < channels; c++) {
        const double center = mean[means == 1 ? 0 : c], spread = std[stds == 1 ? 0 : c];
        if (spread == 0 || (made->kind != 'f' && (center != 0 || spread != 1))) {
            snprintf(error, size, spread == 0 ? "std must not be 0" : "mean and std are for float32 tokens");
            goto refuse;
        }
        made->factor[c] = (float)(1.0 / 255 / spread);
        made->shift[c] = (float)(center / spread);
    }
    made->between = malloc((size_t)made->height * (size_t)made->to_width * (size_t)channels);
    if (made->between == NULL || !plan(&made->across, made->width, made->to_width) ||
        !plan(&made->down, made->height, made->to_height)) {
        snprintf(error, size, "not enough memory");
        goto refuse;
    }
    return made;
refuse:
    resize_free(made);
    return NULL;
}

int resize_fire(void *self, const void *const *in, void *const *out) {
    const resize *made = self;
    if (in[0] == NULL || out[0] == NULL) return EPRUNE_OK;
    const int channels = made->channels, stride = made->to_width * channels;
    const uint8_t *pixels = in[0];
    if (made->width == made->to_width)
        memcpy(made->between, pixels, (size_t)made->height * (size_t)stride);
    else
        for (int y = 0; y < made->height; y++)
            for (int x = 0; x < made->to_width; x++)
                for (int c = 0; c < channels; c++)
                    made->between[y * stride + x * channels + c] =
                        mixed(&made->across, x, pixels + y * made->width * channels + c, channels);
    for (int y = 0; y < made->to_height; y++)
        for (int i = 0; i < stride; i++) {
            const uint8_t value = made->height == made->to_height ? made->between[y * stride + i]
                                                                  : mixed(&made->down, y, made->between + i, stride);
            if (made->kind == 'u')
                ((uint8_t *)out[0])[y * stride + i] = value;
            else if (made->kind == 'i')
                ((int8_t *)out[0])[y * stride + i] = (int8_t)(value - 128);
            else {
                const float scaled = (float)value * made->factor[i % channels];
                ((float *)out[0])[y * stride + i] = scaled - made->shift[i % channels];
            }
        }
    return EPRUNE_OK;
}
