/* test_random.c: the counter-based generator against its published vectors, and its streams apart. */
#include <criterion/criterion.h>
#include <drover/random.h>
#include <math.h>

/* Random123 1.14, tests/kat_vectors, "philox4x32 10": counter, key, result. */
static const struct {
  uint32_t counter[4], key[2], result[4];
} vectors[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, /* the digits of pi */
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

Test(random, philox_gives_the_published_vectors) {
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
    uint32_t out[4];
    drover_philox4x32(vectors[i].counter, vectors[i].key, out);
    cr_assert_arr_eq(out, vectors[i].result, sizeof out);
  }
}

Test(random, a_stream_is_the_blocks_of_its_counter) {
  drover_random r = drover_random_at(0x1122334455667788u, 9, DROVER_RANDOM_USER, 0x00ABCDEF01234567u);
  const uint32_t key[2] = {0x55667788, 0x11223344};
  for (uint32_t block = 0; block < 5; block++) {
    const uint32_t counter[4] = {block, 0x01234567, 0x10ABCDEF, 9};
    uint32_t want[4];
    drover_philox4x32(counter, key, want);
    for (int word = 0; word < 4; word++) cr_assert_eq(drover_random_u32(&r), want[word]);
  }
}

Test(random, a_stream_begins_again_where_it_began) {
  drover_random a = drover_random_at(7, 1, DROVER_RANDOM_STEP, 2), b = a;
  for (int i = 0; i < 100; i++) cr_assert_eq(drover_random_u64(&a), drover_random_u64(&b));
  drover_random c = drover_random_at(7, 1, DROVER_RANDOM_STEP, 2), d = drover_random_at(7, 1, DROVER_RANDOM_STEP, 2);
  const uint64_t low = drover_random_u32(&c), high = drover_random_u32(&c);
  cr_assert_eq(drover_random_u64(&d), low | high << 32);
}

/* Streams that differ in one coordinate only. */
static drover_random neighbour(int which) {
  switch (which) {
    case 0:
      return drover_random_at(1, 0, 0, 0);
    case 1:
      return drover_random_at(2, 0, 0, 0);
    case 2:
      return drover_random_at(1 + (1ull << 32), 0, 0, 0);
    case 3:
      return drover_random_at(1, 1, 0, 0);
    case 4:
      return drover_random_at(1, 0, 1, 0);
    case 5:
      return drover_random_at(1, 0, 255, 0);
    case 6:
      return drover_random_at(1, 0, 0, 1);
    case 7:
      return drover_random_at(1, 0, 0, 1ull << 32);
    default:
      return drover_random_at(1, 0, 0, (1ull << 56) - 1);
  }
}

Test(random, neighbouring_streams_are_uncorrelated) {
  enum { STREAMS = 9, DRAWS = 20000 };
  for (int i = 0; i < STREAMS; i++)
    for (int j = i + 1; j < STREAMS; j++) {
      drover_random a = neighbour(i), b = neighbour(j);
      double product = 0;
      int equal = 0;
      for (int k = 0; k < DRAWS; k++) {
        const uint64_t x = drover_random_u64(&a), y = drover_random_u64(&b);
        equal += x == y;
        product += ((double)(x >> 11) * 0x1p-53 - 0.5) * ((double)(y >> 11) * 0x1p-53 - 0.5);
      }
      cr_assert_eq(equal, 0, "streams %d and %d", i, j);
      cr_assert_leq(fabs(product / DRAWS), 5 / 12.0 / sqrt(DRAWS), "streams %d and %d", i, j);
    }
}

Test(random, uniform_numbers_fill_their_interval_evenly) {
  enum { DRAWS = 200000, BINS = 64 };
  int counts[2][BINS] = {{0}};
  drover_random r = drover_random_at(3, 0, DROVER_RANDOM_USER, 0);
  for (int i = 0; i < DRAWS; i++) {
    const double x = drover_random_uniform(&r);
    const float y = drover_random_uniformf(&r);
    cr_assert(x >= 0 && x < 1 && y >= 0 && y < 1);
    counts[0][(int)(x * BINS)]++;
    counts[1][(int)(y * BINS)]++;
  }
  for (int kind = 0; kind < 2; kind++) {
    double chi2 = 0;
    for (int bin = 0; bin < BINS; bin++) {
      const double off = counts[kind][bin] - (double)DRAWS / BINS;
      chi2 += off * off * BINS / DRAWS;
    }
    /* 63 degrees of freedom: mean 63, standard deviation 11.2. */
    cr_assert(chi2 > 63 - 45 && chi2 < 63 + 60, "chi2 %g", chi2);
  }
}

Test(random, range_is_half_open) {
  drover_random r = drover_random_at(3, 0, DROVER_RANDOM_USER, 1);
  for (int i = 0; i < 10000; i++) {
    const double x = drover_random_range(&r, -2, 3);
    cr_assert(x >= -2 && x < 3);
  }
}
