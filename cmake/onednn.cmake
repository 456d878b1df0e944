# onednn.cmake: finds oneDNN >= 3.7 built for the caller's own thread pool, or builds it. Looked for in this order:
#   1. -DDNNL_DIR=   a prefix, or the folder of its dnnl-config.cmake
#   2. the user's cache, where cmake/onednn/build puts it
#   3. CMAKE_PREFIX_PATH and the system
#   4. cmake/onednn/build is run, unless -DDROVER_BUILD_ONEDNN=OFF
# Provides DNNL::dnnl, DROVER_ONEDNN_PREFIX and DROVER_ONEDNN_VERSION.
include_guard(DIRECTORY)
option(DROVER_BUILD_ONEDNN "Build oneDNN from the distribution's source package where none fits (4 to 8 minutes, once)"
       ON)

set(onednn_build ${CMAKE_CURRENT_LIST_DIR}/onednn/build)
set(onednn_min_version 3.7)
set(onednn_package_dirs lib/cmake/dnnl lib/${CMAKE_LIBRARY_ARCHITECTURE}/cmake/dnnl lib64/cmake/dnnl cmake/dnnl)

# Reads the installation around the package folder `package_dir` without loading it: sets onednn_problem (empty if it
# fits), onednn_version and onednn_prefix in the caller.
function(onednn_examine package_dir)
  set(prefix ${package_dir})
  foreach(level RANGE 5)
    foreach(include IN ITEMS include include/${CMAKE_LIBRARY_ARCHITECTURE})
      if(NOT headers AND EXISTS ${prefix}/${include}/oneapi/dnnl/dnnl_config.h)
        set(headers ${prefix}/${include}/oneapi/dnnl)
        set(onednn_prefix ${prefix})
      endif()
    endforeach()
    cmake_path(GET prefix PARENT_PATH prefix)
  endforeach()
  set(onednn_problem "has no oneapi/dnnl/dnnl_config.h: its headers are not installed")
  set(onednn_version "")
  if(headers)
    file(STRINGS ${headers}/dnnl_config.h runtime REGEX "^#define DNNL_CPU_RUNTIME ")
    string(REGEX REPLACE ".*DNNL_RUNTIME_" "" runtime "${runtime}")
    file(STRINGS ${headers}/dnnl_version.h numbers REGEX "^#define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
    string(REGEX MATCHALL "[0-9]+" numbers "${numbers}")
    list(JOIN numbers . onednn_version)
    if(NOT runtime STREQUAL "THREADPOOL")
      string(CONCAT onednn_problem "is built with the ${runtime} runtime, not THREADPOOL: it could not run on Drover's "
                    "workers, and threads of its own would nest inside them")
    elseif(onednn_version VERSION_LESS onednn_min_version)
      set(onednn_problem "is version ${onednn_version}; Drover needs ${onednn_min_version} or newer")
    else()
      set(onednn_problem "")
    endif()
  endif()
  return(PROPAGATE onednn_problem onednn_version onednn_prefix)
endfunction()

# Sets onednn_package_dir to the folder of the package in the first of `prefixes` that has one, or to nothing.
function(onednn_locate prefixes)
  find_path(onednn_found NAMES dnnl-config.cmake PATHS ${prefixes} PATH_SUFFIXES ${onednn_package_dirs} NO_DEFAULT_PATH
            NO_CACHE)
  set(onednn_package_dir "")
  if(onednn_found)
    string(REGEX REPLACE "/$" "" onednn_package_dir ${onednn_found})
  endif()
  return(PROPAGATE onednn_package_dir)
endfunction()

# Runs cmake/onednn/build and sets `prefix` to what it prints; the compiler of this project must not leak into it.
function(onednn_run_build prefix)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env "CMAKE=${CMAKE_COMMAND}" bash ${onednn_build} ${ARGN}
                  OUTPUT_VARIABLE printed OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    set(printed "")
  endif()
  set(${prefix} "${printed}" PARENT_SCOPE)
endfunction()

macro(onednn_find)
  set(onednn_refused "")
  set(onednn_package_dir "")

  # 1. A DNNL_DIR that we have set ourselves in an earlier run is no wish of the user.
  if(DNNL_DIR AND NOT DNNL_DIR STREQUAL DROVER_ONEDNN_CHOSEN)
    cmake_path(ABSOLUTE_PATH DNNL_DIR BASE_DIRECTORY ${CMAKE_BINARY_DIR} NORMALIZE OUTPUT_VARIABLE onednn_given)
    onednn_locate(${onednn_given})
    if(NOT onednn_package_dir)
      message(FATAL_ERROR "DNNL_DIR: no dnnl-config.cmake in ${onednn_given} or ${onednn_given}/lib/cmake/dnnl")
    endif()
    onednn_examine(${onednn_package_dir})
    if(onednn_problem)
      message(FATAL_ERROR "DNNL_DIR: the oneDNN in ${onednn_package_dir} ${onednn_problem}.\n"
                          "Give one built with -DONEDNN_CPU_RUNTIME=THREADPOOL, or leave DNNL_DIR out: Drover then "
                          "builds its own (cmake/onednn/build).")
    endif()
  endif()

  # 2. Built earlier.
  if(NOT onednn_package_dir)
    onednn_run_build(onednn_cached --find)
    if(onednn_cached)
      onednn_locate(${onednn_cached})
    endif()
  endif()

  # 3. Installed; what distributions ship is an OpenMP build.
  if(NOT onednn_package_dir)
    cmake_path(CONVERT "$ENV{CMAKE_PREFIX_PATH}" TO_CMAKE_PATH_LIST onednn_prefixes)
    onednn_locate("${CMAKE_PREFIX_PATH};${onednn_prefixes};${CMAKE_SYSTEM_PREFIX_PATH}")
    if(onednn_package_dir)
      onednn_examine(${onednn_package_dir})
      if(onednn_problem)
        set(onednn_refused "The oneDNN in ${onednn_package_dir} ${onednn_problem}.\n")
        message(STATUS "oneDNN: not using the one in ${onednn_package_dir}: it ${onednn_problem}")
        set(onednn_package_dir "")
      endif()
    endif()
  endif()

  # 4. Built now, before the eyes of the user.
  if(NOT onednn_package_dir AND DROVER_BUILD_ONEDNN)
    message(STATUS "oneDNN: building it once, for the THREADPOOL runtime")
    onednn_run_build(onednn_cached)
    if(onednn_cached)
      onednn_locate(${onednn_cached})
    endif()
    if(NOT onednn_package_dir)
      message(FATAL_ERROR "oneDNN could not be built; the lines above say why.\n"
                          "Try ${onednn_build} by itself, or give a THREADPOOL build of oneDNN >= "
                          "${onednn_min_version} with -DDNNL_DIR=PREFIX.")
    endif()
  endif()
  if(NOT onednn_package_dir)
    message(FATAL_ERROR "No oneDNN >= ${onednn_min_version} with the THREADPOOL runtime was found.\n${onednn_refused}"
                        "Run ${onednn_build}, or configure with -DDROVER_BUILD_ONEDNN=ON, or give one with "
                        "-DDNNL_DIR=PREFIX.")
  endif()
endmacro()

if(TARGET DNNL::dnnl) # a project around us has chosen one
  get_target_property(onednn_includes DNNL::dnnl INTERFACE_INCLUDE_DIRECTORIES)
  list(GET onednn_includes 0 onednn_includes)
  onednn_examine(${onednn_includes})
  if(onednn_problem)
    message(FATAL_ERROR "The target DNNL::dnnl of the project around Drover ${onednn_problem}.")
  endif()
else()
  onednn_find()
  onednn_examine(${onednn_package_dir})
  set(DNNL_DIR ${onednn_package_dir} CACHE PATH "Where oneDNN's dnnl-config.cmake is" FORCE)
  if(NOT onednn_given)
    set(DROVER_ONEDNN_CHOSEN ${onednn_package_dir} CACHE INTERNAL "The DNNL_DIR that onednn.cmake chose by itself")
  endif()
  set(THREADS_PREFER_PTHREAD_FLAG ON)
  find_package(Threads REQUIRED)
  find_package(DNNL CONFIG REQUIRED)
  target_link_libraries(DNNL::dnnl INTERFACE Threads::Threads)
endif()
set(DROVER_ONEDNN_PREFIX ${onednn_prefix})
set(DROVER_ONEDNN_VERSION ${onednn_version})
message(STATUS "oneDNN: ${DROVER_ONEDNN_VERSION} in ${DROVER_ONEDNN_PREFIX}")
