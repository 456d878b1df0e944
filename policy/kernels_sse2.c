/* kernels_sse2.c: the kernels for SSE2, what every x86-64 CPU has. */
#define DR_ISA 128

#include "policy/dense_kernel.h"
#include "policy/gradient_kernel.h"
#include "policy/heads_kernel.h"

const dr_kernels dr_kernels_sse2 = {
    .name = "sse2",
    .packed_floats = packed_floats,
    .pack = pack,
    .panel = PANEL,
    .dense = dense,
    .pack_transposed = pack_transposed,
    .add_products = add_products,
    .back = back,
    .normalize = normalize,
    .adam = adam,
    .square_sums = square_sums,
    .categorical = categorical,
    .gaussian = gaussian,
    .unit = unit,
    .orthonormalise = orthonormalise,
};
