/* The first layers of the vehicle classifier: a convolution of 5x5 with ReLU, then the largest of each 2x2.

   The work size is that of the output: filters, columns, rows. Weights are in the order rows, columns, channels, filters:
   so what lies side by side is used side by side. */

#define SIZE 5

__kernel void layer(__global const float *in, __global const float *weights, __global const float *biases,
                    __global float *out, const int size, const int channels) {
    const int filter = get_global_id(0), x = get_global_id(1), y = get_global_id(2), filters = get_global_size(0);
    float most = 0;
    for (int k = 0; k < 4; k++) {
        float sum = biases[filter];
        for (int i = 0; i < SIZE; i++)
            for (int j = 0; j < SIZE; j++) {
                const int row = 2 * y + k / 2 + i - SIZE / 2, column = 2 * x + k % 2 + j - SIZE / 2;
                if (row < 0 || row >= size || column < 0 || column >= size) continue;
                __global const float *pixel = in + (row * size + column) * channels;
                __global const float *weight = weights + (i * SIZE + j) * channels * filters + filter;
                for (int c = 0; c < channels; c++) sum += pixel[c] * weight[c * filters];
            }
        most = fmax(most, sum);
    }
    out[(y * get_global_size(1) + x) * filters + filter] = most;
}
