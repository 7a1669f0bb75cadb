/* eprune_actor.h: an actor in C.

   An actor named NAME is three functions:

     void *NAME_new(const eprune_context *context, char *error, size_t size);
     int NAME_fire(void *self, const void *const *in, void *const *out);
     void NAME_free(void *self);

   NAME_new returns what the other two get as self; or NULL, with the reason written to error, which has size bytes. The
   context, and error, stay valid until NAME_free.

   NAME_fire consumes and produces one firing's tokens in place. in[k] and out[k] are those of the ports in the order of
   the graph; each points to a whole token in C order, aligned to 64 bytes, or is NULL where the active rate is 0, or an
   optional input has no token. A port whose upper rate limit r is above 1 has r of these pointers in a row, from
   port.first on. Every byte of an output must be written. It returns EPRUNE_OK, EPRUNE_END (the actor is done; this
   firing does not count) or EPRUNE_ERROR, with the reason in error. All calls come from one thread, one after the other;
   several actors may run the same code at the same time.

   What follows at the end of a file, or anywhere outside of functions, is read by eprune analyze, which never runs it:
   EPRUNE_INPUT and EPRUNE_OUTPUT state token types, EPRUNE_REQUIRED, EPRUNE_PARAMETER and EPRUNE_FILE parameters,
   EPRUNE_WAITS that the actor waits for the world (a camera, a clock). */

#ifndef EPRUNE_ACTOR_H
#define EPRUNE_ACTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EPRUNE_VERSION 1

enum { EPRUNE_OK = 0, EPRUNE_END = 1, EPRUNE_ERROR = 2 };

typedef struct {
    const char *name;
    const char *dtype;    /* as in the graph: "float32", "uint8", ... */
    size_t bytes;         /* of one token */
    int dimensions;
    const int64_t *shape;
    int lower, upper;     /* rate limits: tokens per firing */
    int first;            /* where its pointers begin in in or out */
} eprune_port;

typedef struct {
    const char *name, *value;
} eprune_parameter;

typedef struct {
    uint32_t version;     /* EPRUNE_VERSION of the runtime */
    const char *actor;
    int inputs, outputs, parameters;
    const eprune_port *input;
    const eprune_port *output;
    const eprune_parameter *parameter;
    const int32_t *mode;  /* in a dynamic processing graph: the control value of the firing */
} eprune_context;

/* The value of a parameter, or otherwise where the graph does not state it. */
static inline const char *eprune_value(const eprune_context *context, const char *name, const char *otherwise) {
    for (int i = 0; i < context->parameters; i++)
        if (strcmp(context->parameter[i].name, name) == 0) return context->parameter[i].value;
    return otherwise;
}

/* The number of the port of that name, -1 if there is none. */
static inline int eprune_find(const eprune_port *ports, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(ports[i].name, name) == 0) return i;
    return -1;
}

#define EPRUNE_SAY_(actor, text) struct eprune_said_about_##actor

/* EPRUNE_INPUT(relu, "in", "float32[1,100]"); */
#define EPRUNE_INPUT(actor, port, token) EPRUNE_SAY_(actor, port token)
#define EPRUNE_OUTPUT(actor, port, token) EPRUNE_SAY_(actor, port token)
/* A parameter that a graph must state, and one with its value where it does not. */
#define EPRUNE_REQUIRED(actor, parameter) EPRUNE_SAY_(actor, parameter)
#define EPRUNE_PARAMETER(actor, parameter, otherwise) EPRUNE_SAY_(actor, parameter otherwise)
/* A required parameter that names a file: "read", "write", or "part" (a bundle takes it along). */
#define EPRUNE_FILE(actor, parameter, access) EPRUNE_SAY_(actor, parameter access)
#define EPRUNE_WAITS(actor) EPRUNE_SAY_(actor, "")

#ifdef __cplusplus
}
#endif
#endif
