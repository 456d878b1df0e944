/* spin.h: what spin.c and its tests share. */
#ifndef DR_ENV_SYNTHETIC_SPIN_H
#define DR_ENV_SYNTHETIC_SPIN_H

#include <drover/env.h>

/* Iterations of dr_spin that take a microsecond here: measured by the first caller, a few milliseconds, once a process.
 */
double dr_spin_rate(void);

/* A counted loop that neither vectorises nor touches memory; returns something that depends on every iteration. */
uint64_t dr_spin(uint64_t iterations);

/* The iterations that the next step of Spin-v0 takes, drawn from its stream. `shared` is what its open made. */
uint64_t dr_spin_draw(const void *shared, const drover_env_rows *rows, int32_t row);

/* The mean of min(scale * X, cap) for the X of mean 1 of a distribution of spin_cost.c: its closed form. */
typedef enum dr_spin_dist { DR_SPIN_CONSTANT, DR_SPIN_LOGNORMAL, DR_SPIN_PARETO } dr_spin_dist;
double dr_spin_capped_mean(dr_spin_dist dist, double shape, double scale, double cap);

#endif
