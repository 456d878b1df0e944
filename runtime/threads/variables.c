/* variables.c: the environment variables that decide how many threads a library starts, and where they run. */
#include "runtime/threads/variables.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* One row a variable: name, what configure and exec set where it is unset (NULL: nothing), meaning.
 * OMP_WAIT_POLICY is among them because idle OpenMP threads spin (GNU: 300,000 rounds, LLVM and Intel: 200 ms) on cores
 * that the next rollout needs. */
static const struct row {
  const char *name, *default_value, *meaning;
} rows[] = {
    {"OMP_NUM_THREADS", "1", "threads of an OpenMP region"},
    {"MKL_NUM_THREADS", "1", "threads of an MKL call"},
    {"OPENBLAS_NUM_THREADS", "1", "threads of an OpenBLAS call"},
    {"BLIS_NUM_THREADS", "1", "threads of a BLIS call"},
    {"NUMEXPR_NUM_THREADS", "1", "threads of a NumExpr expression"},
    {"OMP_WAIT_POLICY", "PASSIVE", "whether idle OpenMP threads sleep or spin"},
    {"OMP_MAX_ACTIVE_LEVELS", NULL, "OpenMP regions inside each other that get threads"},
    {"OMP_NESTED", NULL, "the same, older: true allows any depth"},
    {"OMP_THREAD_LIMIT", NULL, "OpenMP threads in all"},
    {"OMP_DYNAMIC", NULL, "whether OpenMP may give fewer threads than asked for"},
    {"OMP_PROC_BIND", NULL, "whether OpenMP binds threads to places"},
    {"OMP_PLACES", NULL, "the places OpenMP binds threads to"},
    {"GOMP_CPU_AFFINITY", NULL, "CPUs GNU OpenMP binds threads to"},
    {"GOMP_SPINCOUNT", NULL, "how long idle GNU OpenMP threads spin"},
    {"KMP_AFFINITY", NULL, "how LLVM and Intel OpenMP bind threads"},
    {"KMP_BLOCKTIME", NULL, "how long their idle threads spin, ms"},
    {"KMP_DUPLICATE_LIB_OK", NULL, "allows two OpenMP runtimes in one process"},
    {"MKL_DYNAMIC", NULL, "whether MKL may use fewer threads than asked for"},
    {"MKL_DOMAIN_NUM_THREADS", NULL, "threads of an MKL call, by domain"},
    {"MKL_THREADING_LAYER", NULL, "which threads MKL uses"},
    {"GOTO_NUM_THREADS", NULL, "an older name of OPENBLAS_NUM_THREADS"},
    {"NUMEXPR_MAX_THREADS", NULL, "most threads NumExpr may be given"},
    {"NUMBA_NUM_THREADS", NULL, "threads of a Numba parallel loop"},
    {"VECLIB_MAXIMUM_THREADS", NULL, "threads of Apple's Accelerate"},
    {"TBB_NUM_THREADS", NULL, "read by no oneTBB: use DROVER_WORKERS"},
    {"DROVER_WORKERS", NULL, "workers of a Drover runtime that was not told how many"},
    {"LD_PRELOAD", NULL, "libraries loaded first: where jemalloc belongs"},
    {"MALLOC_CONF", NULL, "options of jemalloc"},
};
enum { NUM_ROWS = sizeof rows / sizeof rows[0] };

bool dr_variable_at(int32_t index, drover_thread_variable *out) {
  if (index < 0 || index >= NUM_ROWS) return false;
  *out = (drover_thread_variable){rows[index].name, NULL, rows[index].default_value, rows[index].meaning};
  return true;
}

const char *drover_threads_default_at(int32_t index, const char **value) {
  for (int32_t i = 0; i < NUM_ROWS; i++) {
    if (rows[i].default_value == NULL || index-- != 0) continue;
    if (value != NULL) *value = rows[i].default_value;
    return rows[i].name;
  }
  return NULL;
}

bool dr_variable_is_relative(const char *name) {
  static const char *const families[] = {"OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "TBB_"};
  for (int32_t i = 0; i < NUM_ROWS; i++)
    if (strcmp(rows[i].name, name) == 0) return false;
  for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
    if (strncmp(name, families[i], strlen(families[i])) == 0) return true;
  return false;
}

const char *dr_environ_find(const char *environment, size_t length, const char *name) {
  const size_t name_length = strlen(name);
  for (const char *at = environment; at < environment + length; at += strlen(at) + 1)
    if (strncmp(at, name, name_length) == 0 && at[name_length] == '=') return at + name_length + 1;
  return NULL;
}

int32_t dr_variable_count(const char *value) {
  if (value == NULL) return 0;
  char *end = NULL;
  errno = 0;
  const long count = strtol(value, &end, 10);
  while (isspace((unsigned char)*end)) end++;
  if (errno != 0 || end == value || count < 1 || count > INT_MAX || (*end != '\0' && *end != ',')) return -1;
  return (int32_t)count;
}

int32_t dr_requested_workers(void) {
  const char *value = getenv("DROVER_WORKERS");
  const int32_t count = dr_variable_count(value);
  return count >= 1 && count <= 65536 && strchr(value, ',') == NULL ? count : 0;
}
