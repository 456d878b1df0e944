# options.cmake: drover_options, what every target of ours is compiled with. It is never exported: an embedder's
# files keep their own flags.
set(DROVER_PUBLIC_INCLUDES ${PROJECT_SOURCE_DIR}/runtime/include ${PROJECT_SOURCE_DIR}/env/include
                           ${PROJECT_SOURCE_DIR}/policy/include)

add_library(drover_options INTERFACE)
target_compile_features(drover_options INTERFACE c_std_11 cxx_std_17)
target_compile_definitions(drover_options INTERFACE _GNU_SOURCE)

# A multiplication and an addition stay two roundings on every CPU: part of "one seed, one trajectory".
target_compile_options(drover_options INTERFACE -ffp-contract=off)

# GCC 12's SLP vectoriser loses the rounding where neighbouring doubles are stored as floats and as doubles.
target_compile_options(drover_options INTERFACE $<$<C_COMPILER_ID:GNU>:-fno-tree-slp-vectorize>)

target_compile_options(drover_options INTERFACE -Wall -Wextra -Wpedantic -Wundef -Wshadow -Wconversion
                       $<$<BOOL:${DROVER_WERROR}>:-Werror>)

# Most of oneDNN's archive is never reached: the linker drops it.
target_link_options(drover_options INTERFACE -Wl,--gc-sections)

# Sanitizers are linked into every program and library of the build, so their runtime sees all of our code.
set(sanitize_address -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
set(sanitize_thread -fsanitize=thread -fno-omit-frame-pointer)
if(DROVER_SANITIZE)
  if(NOT DEFINED sanitize_${DROVER_SANITIZE})
    message(FATAL_ERROR "DROVER_SANITIZE must be address, thread or empty, got '${DROVER_SANITIZE}'")
  endif()
  target_compile_options(drover_options INTERFACE ${sanitize_${DROVER_SANITIZE}})
  target_link_options(drover_options INTERFACE ${sanitize_${DROVER_SANITIZE}})
else()
  target_link_options(drover_options INTERFACE -Wl,-z,defs) # an undefined symbol fails here, not at a user's dlopen
endif()

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_EXPORT_COMPILE_COMMANDS ON) # for clang-tidy
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
  set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
endif()
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_CXX_EXTENSIONS OFF)
