/* palette.c: choosing colours and mixing them.
 *
 * If the frames have no more colours than a palette, those are it. Else the colours are cut into boxes, always the box
 * with the largest squared error, at its mean, across the channel in which it varies most (after X. Wu, "Color
 * quantization by dynamic programming and principal analysis", 1992), and the boxes' means are moved to the centres of
 * what is nearest to them (S. Lloyd, "Least squares quantization in PCM", 1982). */
#include "tools/render/palette.h"

#include <stdlib.h>
#include <string.h>

enum { BINS = 1 << 15, LLOYD_ROUNDS = 4, TABLE = 1024 };

/* All pixels whose channels agree in their upper 5 bits. */
typedef struct bin {
  double sum[3]; /* of the channels */
  double count;
  int box;
} bin;

typedef struct box {
  double error; /* sum of squared distances from the mean */
  double mean[3];
  int channel; /* the one with the largest variance */
} box;

static void split_channels(uint32_t pixel, int out[3]) {
  out[0] = (int)(pixel >> 16 & 255u), out[1] = (int)(pixel >> 8 & 255u), out[2] = (int)(pixel & 255u);
}

/* ---- Few colours ---- */

static bool find_exact(dr_palette *palette, const uint32_t *const *frames, int num_frames, size_t num_pixels) {
  uint32_t table[TABLE]; /* open addressing; a pixel has no bits above the 24th, so ~0 is free */
  memset(table, 0xff, sizeof table);
  palette->num_colours = 0;
  for (int f = 0; f < num_frames; f++) {
    uint32_t previous = ~0u;
    for (size_t i = 0; i < num_pixels; i++) {
      const uint32_t pixel = frames[f][i] & 0xffffffu;
      if (pixel == previous) continue;
      previous = pixel;
      uint32_t at = pixel * 2654435761u >> 22;
      while (table[at] != ~0u && table[at] != pixel) at = (at + 1) % TABLE;
      if (table[at] == pixel) continue;
      if (palette->num_colours == DR_PALETTE_COLOURS) return false;
      table[at] = pixel;
      int channels[3];
      split_channels(pixel, channels);
      for (int c = 0; c < 3; c++) palette->colours[palette->num_colours][c] = (uint8_t)channels[c];
      palette->num_colours++;
    }
  }
  return true;
}

/* ---- Many colours ---- */

static int count_bins(bin *bins, const uint32_t *const *frames, int num_frames, size_t num_pixels) {
  int used = 0;
  for (int f = 0; f < num_frames; f++) {
    for (size_t i = 0; i < num_pixels; i++) {
      int channels[3];
      split_channels(frames[f][i], channels);
      bin *b = &bins[channels[0] >> 3 << 10 | channels[1] >> 3 << 5 | channels[2] >> 3];
      for (int c = 0; c < 3; c++) b->sum[c] += channels[c];
      b->count++;
    }
  }
  for (int i = 0; i < BINS; i++)
    if (bins[i].count > 0) bins[used++] = bins[i];
  return used;
}

/* A colour that fills half of the picture must not take all the palette: large counts weigh less. */
static double weight_of(const bin *b) {
  const double most = 10000;
  return b->count / (1 + b->count / most);
}

static void measure(box *out, const bin *bins, int num_bins, int number) {
  double weight = 0, sum[3] = {0}, squares[3] = {0};
  for (int i = 0; i < num_bins; i++) {
    if (bins[i].box != number) continue;
    const double w = weight_of(&bins[i]);
    weight += w;
    for (int c = 0; c < 3; c++) {
      const double x = bins[i].sum[c] / bins[i].count;
      sum[c] += w * x;
      squares[c] += w * x * x;
    }
  }
  *out = (box){0};
  double largest = -1;
  for (int c = 0; c < 3 && weight > 0; c++) {
    out->mean[c] = sum[c] / weight;
    const double error = squares[c] - sum[c] * out->mean[c];
    out->error += error;
    if (error > largest) largest = error, out->channel = c;
  }
}

static int cut_boxes(box *boxes, bin *bins, int num_bins) {
  int num_boxes = 1;
  measure(&boxes[0], bins, num_bins, 0);
  while (num_boxes < DR_PALETTE_COLOURS) {
    int worst = 0;
    for (int b = 1; b < num_boxes; b++)
      if (boxes[b].error > boxes[worst].error) worst = b;
    if (boxes[worst].error < 1) break;
    const int channel = boxes[worst].channel;
    for (int i = 0; i < num_bins; i++)
      if (bins[i].box == worst && bins[i].sum[channel] / bins[i].count > boxes[worst].mean[channel])
        bins[i].box = num_boxes;
    measure(&boxes[worst], bins, num_bins, worst);
    measure(&boxes[num_boxes], bins, num_bins, num_boxes);
    num_boxes++;
  }
  return num_boxes;
}

static int nearest_box(const box *boxes, int num_boxes, const double x[3]) {
  int nearest = 0;
  double least = 1e30;
  for (int b = 0; b < num_boxes; b++) {
    double distance = 0;
    for (int c = 0; c < 3; c++) distance += (x[c] - boxes[b].mean[c]) * (x[c] - boxes[b].mean[c]);
    if (distance < least) least = distance, nearest = b;
  }
  return nearest;
}

static void move_boxes(box *boxes, int num_boxes, bin *bins, int num_bins) {
  double sums[DR_PALETTE_COLOURS][4];
  memset(sums, 0, sizeof sums);
  for (int i = 0; i < num_bins; i++) {
    const double x[3] = {bins[i].sum[0] / bins[i].count, bins[i].sum[1] / bins[i].count,
                         bins[i].sum[2] / bins[i].count};
    double *sum = sums[nearest_box(boxes, num_boxes, x)];
    const double w = weight_of(&bins[i]);
    for (int c = 0; c < 3; c++) sum[c] += w * x[c];
    sum[3] += w;
  }
  for (int b = 0; b < num_boxes; b++)
    for (int c = 0; c < 3 && sums[b][3] > 0; c++) boxes[b].mean[c] = sums[b][c] / sums[b][3];
}

int dr_palette_make(dr_palette *out, const uint32_t *const *frames, int num_frames, size_t num_pixels) {
  memset(out->nearest, 0xff, sizeof out->nearest);
  out->exact = find_exact(out, frames, num_frames, num_pixels);
  if (out->exact) return 0;
  bin *bins = calloc(BINS, sizeof *bins);
  if (!bins) return -1;
  box boxes[DR_PALETTE_COLOURS];
  const int num_bins = count_bins(bins, frames, num_frames, num_pixels);
  out->num_colours = cut_boxes(boxes, bins, num_bins);
  for (int round = 0; round < LLOYD_ROUNDS; round++) move_boxes(boxes, out->num_colours, bins, num_bins);
  for (int b = 0; b < out->num_colours; b++)
    for (int c = 0; c < 3; c++) out->colours[b][c] = (uint8_t)(boxes[b].mean[c] + 0.5);
  free(bins);
  return 0;
}

/* ---- Mapping ---- */

static int nearest_colour(const dr_palette *palette, const int channels[3]) {
  int nearest = 0, least = 1 << 30;
  for (int i = 0; i < palette->num_colours; i++) {
    int distance = 0;
    for (int c = 0; c < 3; c++)
      distance += (channels[c] - palette->colours[i][c]) * (channels[c] - palette->colours[i][c]);
    if (distance < least) least = distance, nearest = i;
  }
  return nearest;
}

/* B. E. Bayer, "An optimum method for two-level rendition of continuous-tone pictures", 1973: 4 x 4, in sixteenths.
 * A fixed pattern, unlike diffused errors, leaves what does not move the same in every frame. */
static const int pattern[4][4] = {{0, 8, 2, 10}, {12, 4, 14, 6}, {3, 11, 1, 9}, {15, 7, 13, 5}};
static const int STRENGTH = 4; /* levels of 255 between the least and the most */

void dr_palette_map(dr_palette *palette, const uint32_t *pixels, int width, int y, uint8_t *out) {
  uint32_t previous = ~0u;
  for (int x = 0; x < width; x++) {
    int channels[3];
    const uint32_t pixel = pixels[x] & 0xffffffu;
    split_channels(pixel, channels);
    if (palette->exact) {
      /* Cells are too coarse for exact colours, but runs are long. */
      out[x] = pixel == previous ? out[x - 1] : (uint8_t)nearest_colour(palette, channels);
      previous = pixel;
      continue;
    }
    for (int c = 0; c < 3; c++) {
      channels[c] += (2 * pattern[y & 3][x & 3] - 15) * STRENGTH / 32;
      channels[c] = channels[c] < 0 ? 0 : channels[c] > 255 ? 255 : channels[c];
    }
    int16_t *cell = &palette->nearest[channels[0] >> 2 << 12 | channels[1] >> 2 << 6 | channels[2] >> 2];
    if (*cell < 0) {
      const int middle[3] = {channels[0] | 2, channels[1] | 2, channels[2] | 2};
      *cell = (int16_t)nearest_colour(palette, middle);
    }
    out[x] = (uint8_t)*cell;
  }
}
