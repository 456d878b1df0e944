/* rules.c: which files are threading runtimes: one row a kind of library. */
#include "runtime/threads/rules.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* Wheels and conda rename files ("libgomp-a34b3233.so.1", "libscipy_openblas64_-ff651d7f.so"): only the beginning of a
 * name is compared. OpenMP has no witness: libiomp5 and libomp define the same symbols, and so do stubs of both. */
static const dr_library_rule rules[] = {
    {DROVER_LIBRARY_GOMP, {"libgomp"}, NULL},
    {DROVER_LIBRARY_OMP, {"libomp", "libomp5"}, NULL},
    {DROVER_LIBRARY_IOMP, {"libiomp5"}, NULL},
    {DROVER_LIBRARY_MKL, {"libmkl_rt"}, "MKL_Set_Num_Threads_Local"},
    {DROVER_LIBRARY_OPENBLAS,
     {"libopenblas", "libopenblasp", "libopenblas64_", "libscipy_openblas"},
     "openblas_get_num_threads"},
    {DROVER_LIBRARY_BLIS, {"libblis", "libblis-mt", "libblis64"}, "bli_thread_get_num_threads"},
    {DROVER_LIBRARY_ONEDNN, {"libdnnl", "libmkldnn"}, "dnnl_version"},
    {DROVER_LIBRARY_TBB, {"libtbb"}, "TBB_runtime_interface_version"},
};

const dr_library_rule *dr_library_rule_at(int index) {
  return index >= 0 && index < (int)(sizeof rules / sizeof rules[0]) ? &rules[index] : NULL;
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

const dr_library_rule *dr_library_rule_of(const char *path) {
  const char *file = base_name(path);
  if (strstr(file, ".so") == NULL) return NULL;
  for (int i = 0; dr_library_rule_at(i) != NULL; i++)
    for (int n = 0; n < DR_RULE_NAMES && rules[i].names[n] != NULL; n++) {
      const size_t length = strlen(rules[i].names[n]);
      if (strncmp(file, rules[i].names[n], length) == 0 && !isalpha((unsigned char)file[length])) return &rules[i];
    }
  return NULL;
}

void dr_library_version_of(const char *path, char *version, size_t version_size) {
  const char *file = base_name(path);
  const char *so = strstr(file, ".so");
  version[0] = '\0';
  if (so == NULL) return;
  if (strncmp(so, ".so.", 4) == 0 && isdigit((unsigned char)so[4])) {
    snprintf(version, version_size, "%s", so + 4);
    return;
  }
  /* "...-r0.3.21.so": what stands between the last '-' and the ending, if it looks like a version. */
  const char *dash = so;
  while (dash > file && *dash != '-') dash--;
  if (*dash != '-') return;
  dash += dash[1] == 'r' ? 2 : 1;
  const size_t length = (size_t)(so - dash);
  if (isdigit((unsigned char)*dash) && memchr(dash, '.', length) != NULL)
    snprintf(version, version_size, "%.*s", (int)length, dash);
}
