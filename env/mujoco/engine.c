/* engine.c: MuJoCo's handlers, loading, and what differs between its versions. */
#include "env/mujoco/engine.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Errors and warnings ---- */

typedef void (*handler)(const char *text);

static _Thread_local jmp_buf *landing; /* of the innermost guard on this thread; NULL outside */
static _Thread_local char caught[DR_MJ_TEXT];
static _Thread_local bool passing_on; /* a handler that passes back to us must not go round in circles */

/* Who was there before us. Relaxed: a handler is a function, nothing is published by its address. */
static _Atomic(handler) previous_error, previous_warning;
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;

static bool pass_on(handler to, const char *text) {
  if (!to || passing_on) return false;
  passing_on = true;
  to(text);
  passing_on = false;
  return true;
}

/* An error must not return to MuJoCo: inside a guard it lands there. */
static void on_error(const char *text) {
  if (landing) {
    snprintf(caught, sizeof caught, "%s", text);
    longjmp(*landing, 1);
  }
  pass_on(atomic_load_explicit(&previous_error, memory_order_relaxed), text);
  mju_writeLog("ERROR", text);
  fprintf(stderr, "MuJoCo: %s\n", text);
  exit(EXIT_FAILURE);
}

/* Warnings inside a guard are counted in mjData.warning, where those who called look. */
static void on_warning(const char *text) {
  if (landing || pass_on(atomic_load_explicit(&previous_warning, memory_order_relaxed), text)) return;
  mju_writeLog("WARNING", text);
  fprintf(stderr, "MuJoCo: %s\n", text);
}

void dr_mj_install_handlers(void) {
  pthread_mutex_lock(&installing);
  if (mju_user_error != on_error) {
    atomic_store_explicit(&previous_error, mju_user_error, memory_order_relaxed);
    mju_user_error = on_error;
  }
  if (mju_user_warning != on_warning) {
    atomic_store_explicit(&previous_warning, mju_user_warning, memory_order_relaxed);
    mju_user_warning = on_warning;
  }
  pthread_mutex_unlock(&installing);
}

/* MuJoCo's compiler puts a handler of its own in front of all others while it runs. An exception leaves it there, and
 * the next error would go to a frame that is gone. */
void _mjPRIVATE__set_tls_error_fn(void (*)(const char *text)) __attribute__((weak));

bool dr_mj_guard(void (*body)(void *context), void *context) {
  jmp_buf here;
  jmp_buf *const outer = landing; /* unchanged between setjmp and longjmp, so its value survives */
  if (setjmp(here)) {
    landing = outer;
    return false;
  }
  landing = &here;
  const char *what = NULL;
  const bool returned = dr_mj_call(body, context, &what);
  landing = outer;
  if (returned) return true;
  snprintf(caught, sizeof caught, "%s", what);
  if (_mjPRIVATE__set_tls_error_fn) _mjPRIVATE__set_tls_error_fn(NULL);
  return false;
}

const char *dr_mj_error(void) { return caught; }

/* ---- Loading ---- */

typedef struct {
  const char *path, *text;
  size_t text_size;
  mjVFS *vfs; /* for text */
  mjModel *model;
  char error[DR_MJ_TEXT];
} load_call;

/* A name in MuJoCo's virtual file system that stands for `text`. */
static const char text_name[] = "model.xml";

static bool add_text(mjVFS *vfs, const load_call *call) {
#if DR_MJ_HAS_ARENA
  return mj_addBufferVFS(vfs, text_name, call->text, (int)call->text_size) == 0;
#else
  if (mj_makeEmptyFileVFS(vfs, text_name, (int)call->text_size) != 0) return false;
  memcpy(vfs->filedata[mj_findFileVFS(vfs, text_name)], call->text, call->text_size);
  return true;
#endif
}

static void load_body(void *context) {
  load_call *call = context;
  if (!call->text) {
    call->model = mj_loadXML(call->path, NULL, call->error, (int)sizeof call->error);
    return;
  }
  mj_defaultVFS(call->vfs);
  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the caller frees call->vfs, also after an error's longjmp */
  if (add_text(call->vfs, call)) call->model = mj_loadXML(text_name, call->vfs, call->error, (int)sizeof call->error);
  mj_deleteVFS(call->vfs);
}

/* `text` on one line, without the empty ones. */
static void one_line(char *out, size_t size, const char *text) {
  size_t used = 0;
  for (; *text && used + 3 < size; text++) {
    if (*text != '\n' && *text != '\r') {
      out[used++] = *text;
    } else if (used && text[1] && out[used - 1] != ' ') {
      if (out[used - 1] != ':') out[used++] = ';';
      out[used++] = ' ';
    }
  }
  out[used] = '\0';
}

mjModel *dr_mj_load_model(const char *path, const char *text, size_t text_size, char *error, size_t error_size) {
  static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER; /* 2.2's parser keeps its last model in a global */
  load_call call = {.path = path, .text = text, .text_size = text_size};
  if (text && !(call.vfs = malloc(sizeof *call.vfs))) {
    snprintf(error, error_size, "out of memory");
    return NULL;
  }
  pthread_mutex_lock(&loading);
  const bool returned = dr_mj_guard(load_body, &call);
  pthread_mutex_unlock(&loading);
  free(call.vfs);
  if (returned && call.model) return call.model;
  const char *why = returned ? call.error : dr_mj_error();
  one_line(error, error_size, why[0] ? why : "out of memory");
  return NULL;
}

/* ---- Data ---- */

typedef struct {
  const mjModel *model;
  mjData *data;
} make_call;

static void make_body(void *context) {
  make_call *call = context;
  call->data = mj_makeData(call->model);
}

mjData *dr_mj_make_data(const mjModel *m) {
  make_call call = {.model = m};
  return dr_mj_guard(make_body, &call) ? call.data : NULL;
}

/* The words of mju_warningText, whose buffer all threads share in 2.2. */
bool dr_mj_is_bad(const mjData *d, double time, char *text, size_t text_size) {
  static const struct {
    int warning;
    const char *what;
  } bad[] = {{mjWARN_BADQPOS, "QPOS at DOF"},
             {mjWARN_BADQVEL, "QVEL at DOF"},
             {mjWARN_BADQACC, "QACC at DOF"},
             {mjWARN_BADCTRL, "CTRL at ACTUATOR"}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    const mjWarningStat *w = &d->warning[bad[i].warning];
    if (!w->number) continue;
    if (text)
      snprintf(text, text_size, "Nan, Inf or huge value in %s %d. The simulation is unstable. Time = %.4f.",
               bad[i].what, (int)w->lastinfo, time);
    return true;
  }
  return false;
}

#if DR_MJ_HAS_ARENA

size_t dr_mj_data_bytes(const mjData *d) { return sizeof *d + (size_t)d->nbuffer + (size_t)d->narena; }

dr_mj_room dr_mj_room_used(const mjData *d) {
  const size_t most = (size_t)d->maxuse_arena + (size_t)d->maxuse_stack; /* they grow towards each other */
  return (dr_mj_room){.arena = most + most / 2 + 2048};
}

dr_mj_room dr_mj_room_largest(dr_mj_room a, dr_mj_room b) { return a.arena > b.arena ? a : b; }

dr_mj_room dr_mj_room_scaled(dr_mj_room room, int factor) {
  return (dr_mj_room){.arena = (room.arena * (size_t)factor + 1023) / 1024 * 1024};
}

bool dr_mj_room_is_all(const mjModel *m, dr_mj_room room) { return room.arena >= (size_t)m->narena; }

mjModel dr_mj_model_with_room(const mjModel *m, dr_mj_room room) {
  mjModel copy = *m;
  if (!dr_mj_room_is_all(m, room)) copy.narena = (int64_t)room.arena;
  return copy;
}

int dr_mj_state_size(const mjModel *m) { return (int)mj_stateSize(m, mjSTATE_INTEGRATION); }

void dr_mj_get_state(const mjModel *m, const mjData *d, mjtNum *state) {
  mj_getState(m, d, state, mjSTATE_INTEGRATION);
}

void dr_mj_set_state(const mjModel *m, mjData *d, const mjtNum *state) {
  mj_setState(m, d, state, mjSTATE_INTEGRATION);
}

mjtNum dr_mj_actuator_moment(const mjModel *m, const mjData *d, int actuator, int dof) {
  (void)m;
  const int first = d->moment_rowadr[actuator];
  for (int i = first; i < first + d->moment_rownnz[actuator]; i++)
    if (d->moment_colind[i] == dof) return d->actuator_moment[i];
  return 0;
}

#else

size_t dr_mj_data_bytes(const mjData *d) { return sizeof *d + (size_t)d->nbuffer + (size_t)d->nstack * sizeof(mjtNum); }

dr_mj_room dr_mj_room_used(const mjData *d) {
  return (dr_mj_room){.contacts = d->maxuse_con + d->maxuse_con / 2 + 2,
                      .constraints = d->maxuse_efc + d->maxuse_efc / 2 + 4,
                      .stack = d->maxuse_stack + d->maxuse_stack / 4 + 256};
}

static int most(int a, int b) { return a > b ? a : b; }

dr_mj_room dr_mj_room_largest(dr_mj_room a, dr_mj_room b) {
  return (dr_mj_room){most(a.contacts, b.contacts), most(a.constraints, b.constraints), most(a.stack, b.stack)};
}

static int times(int a, int factor) { return a < INT_MAX / factor ? a * factor : INT_MAX; }

dr_mj_room dr_mj_room_scaled(dr_mj_room room, int factor) {
  return (dr_mj_room){times(room.contacts, factor), times(room.constraints, factor), times(room.stack, factor)};
}

bool dr_mj_room_is_all(const mjModel *m, dr_mj_room room) {
  return room.contacts >= m->nconmax && room.constraints >= m->njmax && room.stack >= m->nstack;
}

static int least(int a, int b) { return a < b ? a : b; }

mjModel dr_mj_model_with_room(const mjModel *m, dr_mj_room room) {
  mjModel copy = *m;
  copy.nconmax = least(room.contacts, m->nconmax);
  copy.njmax = least(room.constraints, m->njmax);
  copy.nstack = least(room.stack, m->nstack);
  return copy;
}

/* X(array, how many numbers): the state, in the order of mjSTATE_INTEGRATION of later versions. */
#define STATE_ARRAYS(X)         \
  X(qpos, m->nq)                \
  X(qvel, m->nv)                \
  X(act, m->na)                 \
  X(qacc_warmstart, m->nv)      \
  X(ctrl, m->nu)                \
  X(qfrc_applied, m->nv)        \
  X(xfrc_applied, 6 * m->nbody) \
  X(mocap_pos, 3 * m->nmocap)   \
  X(mocap_quat, 4 * m->nmocap)  \
  X(userdata, m->nuserdata)

int dr_mj_state_size(const mjModel *m) {
#define ADD(array, count) +(count)
  return 1 STATE_ARRAYS(ADD);
#undef ADD
}

void dr_mj_get_state(const mjModel *m, const mjData *d, mjtNum *state) {
  *state++ = d->time;
#define GET(array, count)                                                     \
  if ((count) > 0) memcpy(state, d->array, (size_t)(count) * sizeof(mjtNum)); \
  state += (count);
  STATE_ARRAYS(GET)
#undef GET
}

void dr_mj_set_state(const mjModel *m, mjData *d, const mjtNum *state) {
  d->time = *state++;
#define SET(array, count)                                                     \
  if ((count) > 0) memcpy(d->array, state, (size_t)(count) * sizeof(mjtNum)); \
  state += (count);
  STATE_ARRAYS(SET)
#undef SET
}

mjtNum dr_mj_actuator_moment(const mjModel *m, const mjData *d, int actuator, int dof) {
  return d->actuator_moment[actuator * m->nv + dof];
}

#endif
