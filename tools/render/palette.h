/* palette.h: at most 255 colours for frames of many. */
#ifndef DR_TOOLS_RENDER_PALETTE_H
#define DR_TOOLS_RENDER_PALETTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DR_PALETTE_COLOURS = 255, DR_PALETTE_CELLS = 1 << 18 };

typedef struct dr_palette {
  int num_colours;
  bool exact;                             /* every pixel it was made of has its own colour here */
  uint8_t colours[DR_PALETTE_COLOURS][3]; /* red, green, blue */
  int16_t nearest[DR_PALETTE_CELLS];      /* colour of each cell of 6 bits a channel, -1 = not asked for yet */
} dr_palette;

/* The palette of num_frames frames of num_pixels pixels each (0x00RRGGBB in the machine's order, as cairo has them).
 * -1 if there is no memory. */
int dr_palette_make(dr_palette *out, const uint32_t *const *frames, int num_frames, size_t num_pixels);

/* The colours of one row of pixels; `y` moves the pattern that mixes neighbouring colours where there are too few. */
void dr_palette_map(dr_palette *palette, const uint32_t *pixels, int width, int y, uint8_t *out);

#endif
