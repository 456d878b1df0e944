# embed.cmake: texts as one C file, so that the library needs no files at run time: a table dr_mj_text TABLE[], each text
# under its file's name without the ending.
#   cmake -DOUT=models.c [-DTABLE=dr_mj_texts] [-DFILES=a.xml,b.csv: without it models/*.xml] -P embed.cmake
if(FILES)
  string(REPLACE "," ";" models "${FILES}")
else()
  file(GLOB models ${CMAKE_CURRENT_LIST_DIR}/models/*.xml)
  list(SORT models)
endif()
if(NOT TABLE)
  set(TABLE dr_mj_texts)
endif()
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
file(WRITE ${OUT} "/* Made by env/mujoco/embed.cmake. */\n#include \"env/mujoco/models.h\"\n\n"
                  "${arrays}\nextern const dr_mj_text ${TABLE}[];\nconst dr_mj_text ${TABLE}[] = {\n${table}    {0, 0, 0},\n};\n")
