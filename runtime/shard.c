/* shard.c: how many envs a shard has where the user leaves it to us. */
#include "runtime/batch.h"

/* Where every tick changes between network and envs: more rows would not stay in the core's own cache. */
enum { MOST_INNER_ROWS = 64 };

/* The least number of rows in which a network is evaluated without waste. */
enum { SMALLEST_TILE = 4 };

static int32_t round_up(int64_t rows, int32_t multiple, int32_t most) {
  rows = (rows + multiple - 1) / multiple * multiple;
  return rows < most ? (int32_t)rows : most;
}

static int32_t divide_up(int32_t a, int32_t b) { return (a + b - 1) / b; }

int32_t dr_auto_shard(int32_t num_envs, int32_t num_workers, int32_t multiple, int32_t most) {
  int64_t rows = most;
  if (num_workers > 1) rows = (num_envs + 4 * (int64_t)num_workers - 1) / (4 * (int64_t)num_workers);
  rows = round_up(rows, multiple, most);
  return rows > num_envs ? num_envs : (int32_t)rows;
}

/* Small tiles rather than a worker without any. */
static int32_t one_each(int32_t num_envs, int32_t num_workers, int32_t rows) {
  if (divide_up(num_envs, rows) >= num_workers) return rows;
  return round_up(divide_up(num_envs, num_workers), SMALLEST_TILE, num_envs);
}

int32_t dr_auto_tile_shard(int32_t num_envs, int32_t num_workers, int32_t tile) {
  return one_each(num_envs, num_workers, dr_auto_shard(num_envs, num_workers, tile, DR_BLOCK_ROWS));
}

int32_t dr_auto_inner_shard(int32_t num_envs, int32_t num_workers, int32_t tile) {
  const int32_t share = divide_up(num_envs, num_workers);
  int32_t rows = round_up(share < MOST_INNER_ROWS ? share : MOST_INNER_ROWS, tile, num_envs);
  rows = one_each(num_envs, num_workers, rows);
  return divide_up(num_envs, rows) >= num_workers ? rows : share;
}
