# mujoco.cmake: finds MuJoCo, for the env types of env/mujoco.
#   -DDROVER_MUJOCO=OFF   builds without them
#   -DMUJOCO_ROOT=DIR     uses the MuJoCo in DIR: a release's folder, or the one that `pip install mujoco` makes
#                         (.../site-packages/mujoco), with include/mujoco/mujoco.h and libmujoco.so.N in it or in lib/
# Otherwise the system's: Debian's libmujoco-dev. 2.2, or 3.3 and newer (env/mujoco/engine.h). A build folder keeps the
# MuJoCo that it was configured with first: take another build folder for another MuJoCo.
# Provides drover_mujoco to link with, DROVER_MUJOCO_LINK (what users of the static library link) and
# DROVER_PC_MUJOCO (the same for pkg-config).
option(DROVER_MUJOCO "Build the MuJoCo environments" ON)
set(MUJOCO_ROOT "" CACHE PATH "Folder of a MuJoCo other than the system's")
set(DROVER_MUJOCO_LINK "")
set(DROVER_PC_MUJOCO "")
if(NOT DROVER_MUJOCO)
  return()
endif()

if(MUJOCO_ROOT)
  find_path(DROVER_MUJOCO_INCLUDE mujoco/mujoco.h PATHS ${MUJOCO_ROOT}/include NO_DEFAULT_PATH)
  file(GLOB mujoco_files ${MUJOCO_ROOT}/lib/libmujoco.so* ${MUJOCO_ROOT}/libmujoco.so*)
  set(mujoco_library "")
  if(mujoco_files)
    list(GET mujoco_files 0 mujoco_library)
  endif()
  set(mujoco_missing "MUJOCO_ROOT: ${MUJOCO_ROOT} has no include/mujoco/mujoco.h, or no libmujoco.so in it or in lib/.")
else()
  find_path(DROVER_MUJOCO_INCLUDE mujoco/mujoco.h)
  find_library(DROVER_MUJOCO_SYSTEM_LIBRARY mujoco)
  set(mujoco_library ${DROVER_MUJOCO_SYSTEM_LIBRARY})
  set(mujoco_missing "MuJoCo was not found.")
endif()
if(NOT DROVER_MUJOCO_INCLUDE OR NOT mujoco_library)
  message(FATAL_ERROR "${mujoco_missing}\nInstall libmujoco-dev (tools/deps does), give the folder of one with "
                      "-DMUJOCO_ROOT=, or build without the MuJoCo environments with -DDROVER_MUJOCO=OFF.")
endif()

file(STRINGS ${DROVER_MUJOCO_INCLUDE}/mujoco/mujoco.h mujoco_version REGEX "^#define mjVERSION_HEADER ")
string(REGEX REPLACE "[^0-9]" "" mujoco_version "${mujoco_version}")
if(mujoco_version LESS 220 OR (mujoco_version GREATER_EQUAL 230 AND mujoco_version LESS 330))
  message(FATAL_ERROR "MuJoCo in ${DROVER_MUJOCO_INCLUDE} says it is ${mujoco_version}; Drover needs 2.2, or 3.3 or "
                      "newer (-DMUJOCO_ROOT=, or -DDROVER_MUJOCO=OFF to build without).")
endif()

add_library(drover_mujoco UNKNOWN IMPORTED GLOBAL)
set_target_properties(drover_mujoco PROPERTIES IMPORTED_LOCATION ${mujoco_library} INTERFACE_INCLUDE_DIRECTORIES
                                                                                   ${DROVER_MUJOCO_INCLUDE})
if(MUJOCO_ROOT)
  cmake_path(GET mujoco_library PARENT_PATH mujoco_folder)
  cmake_path(GET mujoco_library FILENAME mujoco_file)
  set(DROVER_MUJOCO_LINK ${mujoco_library})
  set(DROVER_PC_MUJOCO "-L${mujoco_folder} -l:${mujoco_file} ")
else()
  set(DROVER_MUJOCO_LINK mujoco)
  set(DROVER_PC_MUJOCO "-lmujoco ")
endif()
message(STATUS "MuJoCo: ${mujoco_version} (${mujoco_library})")
