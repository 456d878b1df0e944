# embed.cmake: models/*.xml as one C file, so that the library needs no files at run time.
#   cmake -DOUT=models.c -P embed.cmake
file(GLOB models ${CMAKE_CURRENT_LIST_DIR}/models/*.xml)
list(SORT models)
set(arrays "")
set(table "")
foreach(model IN LISTS models)
  cmake_path(GET model STEM name)
  file(READ ${model} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "(.....................................................................................)" "\\1\n"
                       bytes "${bytes}")
  string(APPEND arrays "static const char ${name}[] = {\n${bytes}\n};\n")
  string(APPEND table "    {\"${name}\", ${name}, sizeof ${name}},\n")
endforeach()
file(WRITE ${OUT} "/* Made by env/mujoco/embed.cmake from env/mujoco/models. */\n#include \"env/mujoco/models.h\"\n\n"
                  "${arrays}\nconst dr_mj_text dr_mj_texts[] = {\n${table}    {0, 0, 0},\n};\n")
