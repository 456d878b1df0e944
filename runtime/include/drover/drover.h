/* drover.h: all public headers. Start reading at base.h, then env.h, batch.h, rollout.h. */
#ifndef DROVER_DROVER_H
#define DROVER_DROVER_H

#include <drover/base.h>
#include <drover/batch.h>
#include <drover/env.h>
#include <drover/inner.h>
#include <drover/mlp.h>
#include <drover/policy.h>
#include <drover/ppo.h>
#include <drover/random.h>
#include <drover/registry.h>
#include <drover/rollout.h>
#include <drover/runtime.h>
#include <drover/threads.h>

#endif
