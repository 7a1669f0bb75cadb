/* The first layers of the vehicle classifier in plain C: a convolution of 5x5 with ReLU, then the largest of each 2x2.

   weights is a file of float32: 5x5 weights of each input channel for each output channel, as TFLite has them, and then
   the biases. */

#include "eprune_actor.h"

#include <stdio.h>
#include <stdlib.h>

EPRUNE_FILE(layer, "weights", "part");

enum { SIZE = 5 };

typedef struct {
    int size, in, out;
    float *weights, *features;
} layer;

void layer_free(void *self) {
    layer *made = self;
    if (made == NULL) return;
    free(made->weights);
    free(made->features);
    free(made);
}

void *layer_new(const eprune_context *context, char *error, size_t size) {
    layer *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    const int64_t *from = context->input[0].shape, *to = context->output[0].shape;
    made->size = (int)from[1], made->in = (int)from[3], made->out = (int)to[3];
    const size_t count = (size_t)made->out * (SIZE * SIZE * (size_t)made->in + 1);
    made->weights = malloc(count * sizeof(float));
    made->features = malloc((size_t)made->size * (size_t)made->size * (size_t)made->out * sizeof(float));
    const char *path = eprune_value(context, "weights", "");
    FILE *file = fopen(path, "rb");
    const size_t found = file && made->weights ? fread(made->weights, sizeof(float), count, file) : 0;
    if (file != NULL) fclose(file);
    if (found == count && made->features != NULL) return made;
    snprintf(error, size, "%s: has not the weights of %d channels", path, made->out);
    layer_free(made);
    return NULL;
}

static float at(const layer *made, const float *pixels, int y, int x, int channel) {
    const float *weights = made->weights + (size_t)channel * SIZE * SIZE * (size_t)made->in;
    float sum = made->weights[(size_t)made->out * SIZE * SIZE * (size_t)made->in + (size_t)channel];
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) {
            const int row = y + i - SIZE / 2, column = x + j - SIZE / 2;
            if (row < 0 || row >= made->size || column < 0 || column >= made->size) continue;
            const float *pixel = pixels + ((size_t)row * (size_t)made->size + (size_t)column) * (size_t)made->in;
            for (int c = 0; c < made->in; c++) sum += pixel[c] * weights[(i * SIZE + j) * made->in + c];
        }
    return sum > 0 ? sum : 0;
}

int layer_fire(void *self, const void *const *in, void *const *out) {
    const layer *made = self;
    float *result = out[0];
    for (int y = 0; y < made->size; y += 2)
        for (int x = 0; x < made->size; x += 2)
            for (int c = 0; c < made->out; c++) {
                float most = 0;
                for (int k = 0; k < 4; k++) {
                    const float value = at(made, in[0], y + k / 2, x + k % 2, c);
                    if (value > most) most = value;
                }
                *result++ = most;
            }
    return EPRUNE_OK;
}
