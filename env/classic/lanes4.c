/* lanes4.c: the classic envs' step_many for 4 lanes (AVX2 and FMA). */
#if defined(__x86_64__) && !(defined(__AVX2__) && defined(__FMA__))
#error "compile this file with -mavx2 -mfma, as env/CMakeLists.txt does"
#endif

#define DR_LANES            4
#define DR_BLOCKS_NAME(env) dr_##env##_blocks4
#define DR_SINCOS_NAME      dr_sincos4
#include "env/classic/wide.h"
