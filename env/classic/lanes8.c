/* lanes8.c: the classic envs' step_many for 8 lanes (AVX-512F). */
#if defined(__x86_64__) && !(defined(__AVX512F__) && defined(__FMA__))
#error "compile this file with -mavx512f -mfma, as env/CMakeLists.txt does"
#endif

#define DR_LANES            8
#define DR_BLOCKS_NAME(env) dr_##env##_blocks8
#define DR_SINCOS_NAME      dr_sincos8
#include "env/classic/wide.h"
