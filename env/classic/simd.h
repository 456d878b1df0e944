/* simd.h: which SIMD width the classic envs use here, the one sin/cos that all widths share, and the wide functions. */
#ifndef DR_ENV_CLASSIC_SIMD_H
#define DR_ENV_CLASSIC_SIMD_H

#include <drover/env.h>
#include <sleef.h>
#include <stdbool.h>

/* Envs that step_many advances at once on this CPU: 8 with AVX-512F, 4 with AVX2 and FMA, else 1. Any thread. */
int dr_simd_width(void);

/* For tests: use at most `width` lanes from now on; 0 = what the CPU has. Returns the width then in use. */
int dr_simd_set_width(int width);

#ifndef FP_FAST_FMA /* else sleef.h declares it; the function is in the library in any case */
Sleef_double_2 Sleef_finz_sincosd1_u35purecfma(double);
#endif

/* sin and cos of x. SLEEF 3.5.1's `finz` functions return the same bits for 1, 4 and 8 lanes (found equal on more than
 * 10^8 arguments of all magnitudes; tests/env/test_simd.c keeps looking), but its separate sin and cos differ from its
 * sincos: so everything here calls sincos. They need FMA instructions; a CPU without them takes the scalar path and
 * its `cinz` function, whose bits differ. Accurate to 3.5 ulp. */
static inline Sleef_double_2 dr_sincos(double x) {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("fma")) return Sleef_cinz_sincosd1_u35purec(x);
  return Sleef_finz_sincosd1_u35purecfma(x);
#elif defined(__FP_FAST_FMA)
  return Sleef_finz_sincosd1_u35purecfma(x);
#else
  return Sleef_cinz_sincosd1_u35purec(x);
#endif
}

/* Step the envs of rows first, first + W, ... in whole blocks of W = 4 or 8; return the first row not stepped. The
 * actions must be valid. `states` is row 0's. Without the instructions for them they step nothing. */
typedef int32_t dr_blocks_fn(double *states, const drover_env_rows *rows, int32_t first);
dr_blocks_fn dr_cartpole_blocks4, dr_mountain_car_blocks4, dr_pendulum_blocks4, dr_acrobot_blocks4;
dr_blocks_fn dr_cartpole_blocks8, dr_mountain_car_blocks8, dr_pendulum_blocks8, dr_acrobot_blocks8;

/* For tests: the sin and cos that these use, of 4 and of 8 numbers. */
typedef void dr_sincos_fn(const double *x, double *sine, double *cosine);
dr_sincos_fn dr_sincos4, dr_sincos8;

/* As many rows as fit whole blocks, widest first; returns the first row left for the scalar path. */
static inline int32_t dr_step_blocks(dr_blocks_fn *blocks8, dr_blocks_fn *blocks4, double *states,
                                     const drover_env_rows *rows) {
  const int width = dr_simd_width();
  int32_t next = 0;
  if (width >= 8) next = blocks8(states, rows, next);
  if (width >= 4) next = blocks4(states, rows, next);
  return next;
}

/* Whether the discrete action of one row lies in [0, num_actions). */
static inline bool dr_action_valid(const drover_env_rows *rows, int32_t row, uint32_t num_actions) {
  return (uint32_t)((const int32_t *)rows->actions)[row] < num_actions;
}

/* Whether those of all rows do. An action outside fails its env, as Gymnasium's assertions do: that is rare, and
 * step_many leaves a run of envs with one to the scalar path. */
static inline bool dr_actions_valid(const drover_env_rows *rows, uint32_t num_actions) {
  const int32_t *actions = (const int32_t *)rows->actions;
  uint32_t invalid = 0;
  for (int32_t i = 0; i < rows->count; i++) invalid |= (uint32_t)actions[i] >= num_actions;
  return !invalid;
}

#endif
