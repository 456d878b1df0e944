/* wide.h: the blocks functions of simd.h for DR_LANES lanes. Included once by each of lanes4.c and lanes8.c, which
 * env/CMakeLists.txt compiles for AVX2+FMA and for AVX-512F; simd.c decides whether they may be called. */
#if defined(__x86_64__)

#include "env/classic/acrobot_dynamics.h"
#include "env/classic/cartpole_dynamics.h"
#include "env/classic/mountain_car_dynamics.h"
#include "env/classic/pendulum_dynamics.h"

#define DR_BLOCKS(env, doubles)                                                             \
  int32_t DR_BLOCKS_NAME(env)(double *states, const drover_env_rows *rows, int32_t first) { \
    for (; first + DR_LANES <= rows->count; first += DR_LANES)                              \
      env##_block(states + (doubles) * (size_t)first, rows, first);                         \
    return first;                                                                           \
  }

void DR_SINCOS_NAME(const double *x, double *sine, double *cosine) {
  lanes s, c;
  lanes_sincos(lanes_load(x), &s, &c);
  lanes_store(sine, s);
  lanes_store(cosine, c);
}

#else

#include "env/classic/simd.h"

#define DR_BLOCKS(env, doubles)                                                             \
  int32_t DR_BLOCKS_NAME(env)(double *states, const drover_env_rows *rows, int32_t first) { \
    (void)states;                                                                           \
    (void)rows;                                                                             \
    return first;                                                                           \
  }

void DR_SINCOS_NAME(const double *x, double *sine, double *cosine) { (void)x, (void)sine, (void)cosine; }

#endif

DR_BLOCKS(cartpole, 4)
DR_BLOCKS(mountain_car, 2)
DR_BLOCKS(pendulum, 2)
DR_BLOCKS(acrobot, 4)
