/* kernels_avx512.c: the kernels for AVX-512. */
#define DR_ISA 512

#include "policy/dense_kernel.h"
#include "policy/gradient_kernel.h"
#include "policy/heads_kernel.h"

const dr_kernels dr_kernels_avx512 = {
    .name = "avx512",
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
