/* Keeps the best of overlapping boxes: nms.py in C, with the same results, bit for bit.

   Inputs: boxes float32[N,4] and scores float32[N,classes]. Outputs, best first: kept_boxes float32[K,4], cut to the
   picture, kept_classes int32[K] and kept_scores float32[K]; unused rows are 0. Boxes below score are not kept; two boxes
   with a larger overlap (intersection over union) show the same object. More than 300 boxes are never compared with each
   other; unlike its twin it does not say in how many frames that was so. */

#include "eprune_actor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

EPRUNE_PARAMETER(nms, "score", "0.3");
EPRUNE_PARAMETER(nms, "overlap", "0.5");

enum { CANDIDATES = 300 };

typedef struct {
    float score;
    int index;
} candidate;

typedef struct {
    int count, classes, rows;
    int boxes, scores, kept_boxes, kept_classes, kept_scores; /* where the ports are */
    float least, limit;
    candidate *candidates;
} nms;

/* The last dimensions of a port; whether it has as many, but for a leading 1. */
static int shaped(const eprune_port *ports, int number, const char *dtype, int dimensions, int *shape) {
    if (number < 0 || strcmp(ports[number].dtype, dtype) != 0 || ports[number].upper != 1) return 0;
    const eprune_port *port = &ports[number];
    const int more = port->dimensions - dimensions;
    if (more != 0 && !(more == 1 && port->shape[0] == 1)) return 0;
    for (int i = 0; i < dimensions; i++) {
        if (port->shape[more + i] < 1 || port->shape[more + i] > 1 << 24) return 0;
        shape[i] = (int)port->shape[more + i];
    }
    return 1;
}

static int fraction(const eprune_context *context, const char *name, const char *otherwise, float *value) {
    char *end;
    const char *text = eprune_value(context, name, otherwise);
    const double found = strtod(text, &end);
    *value = (float)found;
    return end != text && *end == 0 && found >= 0 && found <= 1;
}

void nms_free(void *self) {
    nms *made = self;
    if (made != NULL) free(made->candidates);
    free(made);
}

void *nms_new(const eprune_context *context, char *error, size_t size) {
    int boxes[2], scores[2], kept_boxes[2], kept_classes[1], kept_scores[1];
    nms *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    made->boxes = eprune_find(context->input, context->inputs, "boxes");
    made->scores = eprune_find(context->input, context->inputs, "scores");
    made->kept_boxes = eprune_find(context->output, context->outputs, "kept_boxes");
    made->kept_classes = eprune_find(context->output, context->outputs, "kept_classes");
    made->kept_scores = eprune_find(context->output, context->outputs, "kept_scores");
    if (context->inputs != 2 || context->outputs != 3 || !shaped(context->input, made->boxes, "float32", 2, boxes) ||
        !shaped(context->input, made->scores, "float32", 2, scores) ||
        !shaped(context->output, made->kept_boxes, "float32", 2, kept_boxes) ||
        !shaped(context->output, made->kept_classes, "int32", 1, kept_classes) ||
        !shaped(context->output, made->kept_scores, "float32", 1, kept_scores) || boxes[0] != scores[0] ||
        boxes[1] != 4 || kept_boxes[1] != 4 || kept_boxes[0] != kept_scores[0] || kept_classes[0] != kept_scores[0]) {
        snprintf(error, size,
                 "needs the inputs boxes float32[N,4] and scores float32[N,classes], and the outputs kept_boxes "
                 "float32[K,4], kept_classes int32[K] and kept_scores float32[K]");
        goto refuse;
    }
    if (!fraction(context, "score", "0.3", &made->least) || !fraction(context, "overlap", "0.5", &made->limit)) {
        snprintf(error, size, "score and overlap: expected numbers from 0 to 1");
        goto refuse;
    }
    made->count = scores[0], made->classes = scores[1], made->rows = kept_scores[0];
    made->candidates = calloc((size_t)made->count, sizeof(candidate));
    if (made->candidates == NULL) {
        snprintf(error, size, "not enough memory");
        goto refuse;
    }
    return made;
refuse:
    nms_free(made);
    return NULL;
}

/* Falling scores; of equal ones, the order of the boxes. */
static int before(const void *one, const void *other) {
    const candidate *a = one, *b = other;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static float positive(float value) { return value > 0 ? value : 0; }

static float area(const float *box) { return positive(box[2] - box[0]) * positive(box[3] - box[1]); }

static float overlap(const float *a, const float *b) {
    const float height = positive(fminf(a[2], b[2]) - fmaxf(a[0], b[0]));
    const float width = positive(fminf(a[3], b[3]) - fmaxf(a[1], b[1]));
    const float shared = height * width, both = area(a) + area(b), rest = both - shared;
    return rest > 0 ? shared / rest : 0;
}

static int best(const float *scores, int classes) {
    int found = 0;
    for (int i = 1; i < classes; i++)
        if (scores[i] > scores[found]) found = i;
    return found;
}

int nms_fire(void *self, const void *const *in, void *const *out) {
    nms *made = self;
    const float *boxes = in[made->boxes], *scores = in[made->scores];
    float *kept_boxes = out[made->kept_boxes], *kept_scores = out[made->kept_scores];
    int32_t *kept_classes = out[made->kept_classes];
    int count = 0, kept = 0, chosen[CANDIDATES];
    if (boxes == NULL || scores == NULL || kept_boxes == NULL || kept_scores == NULL || kept_classes == NULL)
        return EPRUNE_OK;
    for (int i = 0; i < made->count; i++) {
        const float score = scores[i * made->classes + best(scores + i * made->classes, made->classes)];
        if (score >= made->least) made->candidates[count++] = (candidate){score, i};
    }
    qsort(made->candidates, (size_t)count, sizeof(candidate), before);
    if (count > CANDIDATES) count = CANDIDATES;
    for (int i = 0; i < count && kept < made->rows; i++) {
        const float *box = boxes + 4 * made->candidates[i].index;
        int alone = 1;
        for (int k = 0; k < kept && alone; k++) alone = overlap(boxes + 4 * chosen[k], box) <= made->limit;
        if (!alone) continue;
        chosen[kept] = made->candidates[i].index;
        for (int c = 0; c < 4; c++) kept_boxes[4 * kept + c] = box[c] < 0 ? 0 : box[c] > 1 ? 1 : box[c];
        kept_classes[kept] = best(scores + made->candidates[i].index * made->classes, made->classes);
        kept_scores[kept++] = made->candidates[i].score;
    }
    memset(kept_boxes + 4 * kept, 0, (size_t)(made->rows - kept) * 4 * sizeof(float));
    memset(kept_classes + kept, 0, (size_t)(made->rows - kept) * sizeof(int32_t));
    memset(kept_scores + kept, 0, (size_t)(made->rows - kept) * sizeof(float));
    return EPRUNE_OK;
}
