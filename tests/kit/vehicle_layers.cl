/* The first layers of the vehicle classifier: a convolution of 5x5 with ReLU, then the largest of each 2x2.

   The work size is that of the output: filters, columns, rows. Weights and biases are as TFLite has them. */

#define SIZE 5

static float at(__global const float *in, __global const float *weights, float sum, int size, int channels, int y, int x) {
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) {
            const int row = y + i - SIZE / 2, column = x + j - SIZE / 2;
            if (row < 0 || row >= size || column < 0 || column >= size) continue;
            __global const float *pixel = in + (row * size + column) * channels;
            __global const float *weight = weights + (i * SIZE + j) * channels;
            for (int c = 0; c < channels; c++) sum += pixel[c] * weight[c];
        }
    return sum;
}

__kernel void layer(__global const float *in, __global const float *weights, __global const float *biases,
                    __global float *out, const int size, const int channels) {
    const int filter = get_global_id(0), x = get_global_id(1), y = get_global_id(2);
    float most = 0;
    for (int k = 0; k < 4; k++)
        most = fmax(most, at(in, weights + filter * SIZE * SIZE * channels, biases[filter], size, channels,
                             2 * y + k / 2, 2 * x + k % 2));
    out[(y * get_global_size(1) + x) * get_global_size(0) + filter] = most;
}
