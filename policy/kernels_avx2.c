/* kernels_avx2.c: the kernels for AVX2 and FMA. */
#define DR_ISA 256

#include "policy/dense_kernel.h"
#include "policy/gradient_kernel.h"
#include "policy/heads_kernel.h"

const dr_kernels dr_kernels_avx2 = {
    .name = "avx2",
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
