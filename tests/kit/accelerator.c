/* The accelerator of the tests: a delegate for TFLite that runs three operators of float32 models by itself.

   It runs RELU, MAX_POOL_2D and FULLY_CONNECTED, the latter in an order of additions of its own, so its bits differ.
   Options: wrong=X is added to the first value that FULLY_CONNECTED gives; slow=SECONDS is what each operator takes at least;
   fail=device (there is none), prepare, invoke or NUMBER (of the invocation, from 0) makes it fail. Others are refused.

   The plug-in interface is two functions. No header comes with the interpreters, so their structs are declared here, as
   far as they are used; they are the same in ai-edge-litert and in tflite-runtime 2.14. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, FAILED = 1, FLOAT32 = 1, MAX_POOL_2D = 17, FULLY_CONNECTED = 9, RELU = 19 };

typedef struct {
    int size;
    int data[];
} Integers;

typedef struct {
    int type;
    union {
        float *f;
        void *any;
    } data;
    Integers *dims;
    struct {
        float scale;
        int32_t zero_point;
    } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    void *delegate;
    int buffer_handle;
    bool stale, variable;
    struct {
        int type;
        void *params;
    } quantization;
    void *sparsity;
    const Integers *signature;
} Tensor;

typedef struct {
    Integers *inputs, *outputs, *intermediates, *temporaries;
    void *user_data, *builtin_data;
    const void *custom_data;
    int custom_size;
    void *delegate;
    bool side_effects;
} OperatorNode;

struct Context;
struct Delegate;

typedef struct {
    void *(*init)(struct Context *, const char *, size_t);
    void (*free)(struct Context *, void *);
    int (*prepare)(struct Context *, OperatorNode *);
    int (*invoke)(struct Context *, OperatorNode *);
    const char *(*profile)(const struct Context *, const OperatorNode *);
    int32_t builtin;
    const char *custom_name;
    int version;
    void *more[8]; /* what later versions read beyond is 0 */
} Registration;

typedef struct Context {
    size_t tensors_size;
    int (*execution_plan)(struct Context *, Integers **);
    Tensor *tensors;
    void *impl;
    int (*resize)(struct Context *, Tensor *, Integers *);
    void (*report)(struct Context *, const char *, ...);
    int (*add_tensors)(struct Context *, int, int *);
    int (*node)(struct Context *, int, OperatorNode **, Registration **);
    int (*replace)(struct Context *, Registration, const Integers *, struct Delegate *);
} Context;

typedef struct Delegate {
    void *data;
    int (*prepare)(Context *, struct Delegate *);
    void *copy_from, *copy_to, *free_buffer;
    int64_t flags;
    void *opaque;
    /* ours, behind what the interpreter knows */
    float wrong;
    double slow;
    bool fail_prepare;
    long fail_at; /* the invocation that fails, -1: none */
    long invocations;
} Delegate;

/* What the interpreter gives to init: the nodes that become one, and our delegate. */
typedef struct {
    Delegate *delegate;
    Integers *nodes, *inputs, *outputs;
} Part;

typedef struct {
    int operator;
    int activation;
    int stride_width, stride_height, width, height;
    bool same;
    int input, weights, bias, output;
    float *inner; /* where the output goes if no other node reads it: the interpreter gives it no memory then */
} Step;

typedef struct {
    Delegate *delegate;
    int count;
    Step steps[];
} Kernel;

typedef struct {
    int padding, stride_width, stride_height, filter_width, filter_height, activation;
} PoolOptions;

static float activated(float value, int activation) { return activation == 1 && !(value > 0) ? 0 : value; }

static void relu(const Tensor *in, const Tensor *out) {
    for (size_t i = 0; i < in->bytes / sizeof(float); i++) out->data.f[i] = activated(in->data.f[i], 1);
}

static void pool(const Step *step, const Tensor *in, const Tensor *out) {
    const int *from = in->dims->data, *to = out->dims->data;
    const int height = from[1], width = from[2], channels = from[3];
    int top = 0, left = 0;
    if (step->same) {
        top = ((to[1] - 1) * step->stride_height + step->height - height) / 2;
        left = ((to[2] - 1) * step->stride_width + step->width - width) / 2;
        if (top < 0) top = 0;
        if (left < 0) left = 0;
    }
    for (int n = 0; n < to[0]; n++)
        for (int y = 0; y < to[1]; y++)
            for (int x = 0; x < to[2]; x++)
                for (int c = 0; c < channels; c++) {
                    float most = -3.4e38f;
                    for (int i = 0; i < step->height; i++)
                        for (int j = 0; j < step->width; j++) {
                            const int row = y * step->stride_height - top + i, column = x * step->stride_width - left + j;
                            if (row < 0 || row >= height || column < 0 || column >= width) continue;
                            const float value = in->data.f[((n * height + row) * width + column) * channels + c];
                            if (value > most) most = value;
                        }
                    out->data.f[((n * to[1] + y) * to[2] + x) * channels + c] = activated(most, step->activation);
                }
}

static void dense(const Step *step, const Tensor *in, const Tensor *weights, const Tensor *bias, const Tensor *out,
                  float wrong) {
    const int units = weights->dims->data[0], depth = weights->dims->data[1];
    const int rows = (int)(in->bytes / sizeof(float)) / depth;
    for (int row = 0; row < rows; row++)
        for (int unit = 0; unit < units; unit++) {
            float sum = 0;
            for (int i = 0; i < depth; i++)
                sum += in->data.f[row * depth + i] * weights->data.f[unit * depth + i];
            if (bias != NULL) sum += bias->data.f[unit];
            out->data.f[row * units + unit] = activated(unit == 0 ? sum + wrong : sum, step->activation);
        }
}

static bool is_float(const Context *context, const Integers *tensors) {
    for (int i = 0; i < tensors->size; i++)
        if (tensors->data[i] >= 0 && context->tensors[tensors->data[i]].type != FLOAT32) return false;
    return true;
}

static bool takes(const Context *context, const OperatorNode *node, const Registration *kind) {
    if (!is_float(context, node->inputs) || !is_float(context, node->outputs)) return false;
    if (kind->builtin == FULLY_CONNECTED) {
        const int *options = node->builtin_data;
        return options[0] <= 1 && options[1] == 0; /* no activation or ReLU; weights in rows */
    }
    if (kind->builtin == MAX_POOL_2D) return ((const PoolOptions *)node->builtin_data)->activation <= 1;
    return kind->builtin == RELU;
}

static bool holds(const Integers *set, int number) {
    for (int i = 0; i < set->size; i++)
        if (set->data[i] == number) return true;
    return false;
}

/* A tensor, as the steps so far have left it. */
static Tensor found(const Context *context, const Kernel *kernel, int number) {
    Tensor tensor = context->tensors[number];
    for (int i = 0; i < kernel->count; i++)
        if (kernel->steps[i].output == number && kernel->steps[i].inner != NULL) tensor.data.f = kernel->steps[i].inner;
    return tensor;
}

static void *init(Context *context, const char *buffer, size_t length) {
    (void)length;
    const Part *part = (const Part *)(const void *)buffer;
    Kernel *kernel = calloc(1, sizeof(Kernel) + (size_t)part->nodes->size * sizeof(Step));
    kernel->delegate = part->delegate;
    for (int i = 0; i < part->nodes->size; i++) {
        OperatorNode *node;
        Registration *kind;
        if (context->node(context, part->nodes->data[i], &node, &kind) != OK) continue;
        Step *step = &kernel->steps[kernel->count++];
        step->operator = kind->builtin;
        step->input = node->inputs->data[0];
        step->output = node->outputs->data[0];
        step->bias = -1;
        if (!holds(part->outputs, step->output)) step->inner = malloc(context->tensors[step->output].bytes);
        if (kind->builtin == FULLY_CONNECTED) {
            step->activation = *(const int *)node->builtin_data;
            step->weights = node->inputs->data[1];
            if (node->inputs->size > 2) step->bias = node->inputs->data[2];
        }
        if (kind->builtin == MAX_POOL_2D) {
            const PoolOptions *options = node->builtin_data;
            step->same = options->padding == 1;
            step->stride_width = options->stride_width;
            step->stride_height = options->stride_height;
            step->width = options->filter_width;
            step->height = options->filter_height;
            step->activation = options->activation;
        }
    }
    return kernel;
}

static void release(Context *context, void *made) {
    (void)context;
    Kernel *kernel = made;
    for (int i = 0; i < kernel->count; i++) free(kernel->steps[i].inner);
    free(kernel);
}

static int prepare_kernel(Context *context, OperatorNode *node) {
    (void)context, (void)node;
    return OK;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int invoke(Context *context, OperatorNode *node) {
    const Kernel *kernel = node->user_data;
    Delegate *delegate = kernel->delegate;
    if (delegate->invocations++ == delegate->fail_at) {
        context->report(context, "the accelerator of the tests fails on request");
        return FAILED;
    }
    const double begin = now();
    for (int i = 0; i < kernel->count; i++) {
        const Step *step = &kernel->steps[i];
        const Tensor in = found(context, kernel, step->input), out = found(context, kernel, step->output);
        const Tensor *bias = step->bias < 0 ? NULL : &context->tensors[step->bias];
        if (step->operator == RELU) relu(&in, &out);
        if (step->operator == MAX_POOL_2D) pool(step, &in, &out);
        if (step->operator == FULLY_CONNECTED)
            dense(step, &in, &context->tensors[step->weights], bias, &out, delegate->wrong);
        while (now() < begin + (i + 1) * delegate->slow) {
        }
    }
    return OK;
}

static int prepare(Context *context, Delegate *delegate) {
    if (delegate->fail_prepare) {
        context->report(context, "the accelerator of the tests does not prepare on request");
        return FAILED;
    }
    Integers *plan;
    if (context->execution_plan(context, &plan) != OK) return FAILED;
    Integers *mine = calloc(1, sizeof(Integers) + (size_t)plan->size * sizeof(int));
    for (int i = 0; i < plan->size; i++) {
        OperatorNode *node;
        Registration *kind;
        if (context->node(context, plan->data[i], &node, &kind) == OK && takes(context, node, kind))
            mine->data[mine->size++] = plan->data[i];
    }
    const Registration kernel = {.init = init, .free = release, .prepare = prepare_kernel, .invoke = invoke,
                                 .custom_name = "accelerator", .version = 1};
    const int status = mine->size ? context->replace(context, kernel, mine, delegate) : OK;
    free(mine);
    return status;
}

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *));
void tflite_plugin_destroy_delegate(Delegate *delegate);

Delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    Delegate *delegate = calloc(1, sizeof(Delegate));
    delegate->prepare = prepare;
    delegate->fail_at = -1;
    for (size_t i = 0; i < count; i++) {
        char message[200];
        if (strcmp(keys[i], "wrong") == 0)
            delegate->wrong = strtof(values[i], NULL);
        else if (strcmp(keys[i], "slow") == 0)
            delegate->slow = strtod(values[i], NULL);
        else if (strcmp(keys[i], "fail") == 0 && strcmp(values[i], "prepare") == 0)
            delegate->fail_prepare = true;
        else if (strcmp(keys[i], "fail") == 0 && strcmp(values[i], "device") != 0)
            delegate->fail_at = strcmp(values[i], "invoke") == 0 ? 0 : strtol(values[i], NULL, 10);
        else {
            const bool known = strcmp(keys[i], "fail") == 0;
            snprintf(message, sizeof message, known ? "no device" : "unknown option %.100s", keys[i]);
            report(message);
            free(delegate);
            return NULL;
        }
    }
    return delegate;
}

void tflite_plugin_destroy_delegate(Delegate *delegate) { free(delegate); }
