# prune.cmake: makes oneDNN's build compile only what Drover needs, and compile that faster. cmake/onednn/build has
# oneDNN's project() include it (CMAKE_PROJECT_oneDNN_INCLUDE), so that no file of oneDNN is patched. Nothing here
# changes what the remaining code computes; that nothing is missing is checked by linking the whole archive.

# Kept of src/cpu: matrix products, reorders, element-wise functions, and what they stand on.
set(DROVER_KEEP_CPU
    "/src/cpu/(gemm|matmul|reorder|jit_utils)/"
    "/(bfloat16|float16|platform|scale_utils|zero_point_utils|binary_injector_utils|primitive_attr_postops)\\.cpp$"
    "/(cpu_engine|cpu_eltwise_list|ref_eltwise|gemm_inner_product_utils)\\.cpp$")
set(DROVER_KEEP_X64
    "/src/cpu/x64/((gemm|brgemm|injectors|utils)/|matmul/brgemm_matmul)"
    "/(cpu_isa_traits|cpu_barrier|cpu_reducer|amx_tile_configure|jit_generator|jit_gemm_inner_product_utils)\\.cpp$"
    "/(jit_uni_eltwise(_int)?|jit_uni_reorder(_[a-z_]*)?|jit_uni_convert_xf16)\\.cpp$"
    "/jit_avx512_(core_(bf16|fp16|fp8)cvt|core_scale_precompute|sparse_decompress_kernel)\\.cpp$")

# Lists and reorder tables that empty_lists.cpp defines instead, where this oneDNN has a file for them.
set(DROVER_EMPTY_KINDS
    batch_normalization binary convolution deconvolution group_normalization inner_product layer_normalization lrn
    pooling prelu reduction resampling rnn shuffle softmax)
set(DROVER_EMPTY_TYPES regular_fp4 regular_fp8 regular_s4 regular_u4 regular_s8 regular_u8 regular_s32 regular_f32_fp8
    regular_f32_s8 regular_f32_u8 regular_f32_s32 comp_f32_s8 comp_bf16_s8 comp_s8_s8)

# Keeps the sources of `target` that match any of the expressions, or are no C++ files.
function(drover_keep target)
  get_target_property(sources ${target} SOURCES)
  list(JOIN ARGN "|" keep)
  set(kept ${sources})
  list(FILTER kept INCLUDE REGEX "${keep}|\\.(c|S)$")
  set_property(TARGET ${target} PROPERTY SOURCES ${kept})
endfunction()

# Moves the sources of `target` that match `regex` to the front.
function(drover_first target regex)
  get_target_property(sources ${target} SOURCES)
  set(first ${sources})
  list(FILTER first INCLUDE REGEX "${regex}")
  list(REMOVE_ITEM sources ${first})
  set_property(TARGET ${target} PROPERTY SOURCES ${first} ${sources})
endfunction()

# Compiles the sources of `target` that match `regex` as one file `name`, with further options. They are generators:
# long straight code that runs once a process, whose compile time is all headers and optimisation.
function(drover_unite target name regex)
  get_target_property(sources ${target} SOURCES)
  set(parts ${sources})
  list(FILTER parts INCLUDE REGEX "${regex}")
  if(NOT parts)
    return()
  endif()
  list(REMOVE_ITEM sources ${parts})
  list(TRANSFORM parts REPLACE "(.+)" "#include \"\\1\"\n")
  list(JOIN parts "" text)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/drover/${name}.cpp CONTENT "${text}" @ONLY)
  set_property(TARGET ${target} PROPERTY SOURCES ${PROJECT_BINARY_DIR}/drover/${name}.cpp ${sources})
  set_source_files_properties(${PROJECT_BINARY_DIR}/drover/${name}.cpp TARGET_DIRECTORY ${target} PROPERTIES
                              COMPILE_OPTIONS "${ARGN}" SKIP_PRECOMPILE_HEADERS ON)
endfunction()

# Replaces the lists and tables named above by the file of ours.
function(drover_empty_lists target)
  get_target_property(sources ${target} SOURCES)
  foreach(kind IN LISTS DROVER_EMPTY_KINDS)
    set(file ${PROJECT_SOURCE_DIR}/src/cpu/cpu_${kind}_list.cpp)
    if(EXISTS ${file})
      list(REMOVE_ITEM sources ${file})
      string(APPEND lists " EMPTY_LIST(${kind})")
    endif()
  endforeach()
  foreach(types IN LISTS DROVER_EMPTY_TYPES)
    set(file ${PROJECT_SOURCE_DIR}/src/cpu/reorder/cpu_reorder_${types}.cpp)
    if(EXISTS ${file})
      list(REMOVE_ITEM sources ${file})
      string(APPEND reorders " EMPTY_REORDERS(${types})")
    endif()
  endforeach()
  set(file ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/empty_lists.cpp)
  set_property(TARGET ${target} PROPERTY SOURCES ${sources} ${file})
  set_source_files_properties(${file} TARGET_DIRECTORY ${target} PROPERTIES
    COMPILE_DEFINITIONS "DROVER_EMPTY_LISTS=${lists};DROVER_EMPTY_REORDERS=${reorders}")
endfunction()

function(drover_precompile target)
  list(TRANSFORM ARGN REPLACE "(.+)" "$<$<COMPILE_LANGUAGE:CXX>:${PROJECT_SOURCE_DIR}/src/\\1>")
  target_precompile_headers(${target} PRIVATE ${ARGN})
endfunction()

function(drover_prune)
  if(NOT TARGET dnnl_cpu_x64)
    message(STATUS "Drover: not x86-64, everything is compiled")
    return()
  endif()
  drover_empty_lists(dnnl_cpu)
  list(APPEND DROVER_KEEP_CPU "/empty_lists\\.cpp$")
  drover_keep(dnnl_cpu ${DROVER_KEEP_CPU})
  drover_keep(dnnl_cpu_x64 ${DROVER_KEEP_X64})

  # What takes longest comes first, so that no core is left alone with it at the end.
  drover_first(dnnl_cpu_x64 "/x64/(injectors/|matmul/|jit_uni_eltwise|jit_gemm_inner_product_utils).*\\.cpp$")

  # oneDNN compiles these at -O1 too; the int8 and bf16 ones are never run by us, the f32 ones are (AVX2 and older).
  drover_unite(dnnl_cpu_x64 int8_kernels "/gemm/s8x8s32/.*_autogen\\.cpp$" -O0 -w)
  drover_unite(dnnl_cpu_x64 bf16_kernels "/gemm/bf16/.*_autogen\\.cpp$" -O0 -w)
  drover_unite(dnnl_cpu_x64 f32_copy_kernels "/gemm/f32/.*avx512.*_copy_.*_autogen\\.cpp$" -O1 -w)
  drover_unite(dnnl_cpu_x64 f32_copy_kernels_old "/gemm/f32/.*_copy_.*_autogen\\.cpp$" -O1 -w)
  drover_unite(dnnl_cpu_x64 f32_gemm_kernels "/gemm/f32/.*_autogen\\.cpp$" -O1 -w)

  drover_precompile(dnnl_common common/primitive_desc.hpp)
  drover_precompile(dnnl_cpu cpu/cpu_engine.hpp)
  drover_precompile(dnnl_cpu_x64 cpu/x64/jit_generator.hpp cpu/x64/injectors/jit_uni_postops_injector.hpp)
endfunction()

# The targets exist only at the end of oneDNN's own lists.
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL drover_prune)
