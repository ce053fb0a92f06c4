# lumigrid_embed(name file...): a static library that holds the files' bytes, and a header that names them:
# `embedded_index_html[]` and `embedded_index_html_size` for index.html.
function(lumigrid_embed name)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/${name}.c")
  set(inputs)
  foreach(file ${ARGN})
    list(APPEND inputs "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  endforeach()
  string(REPLACE ";" "|" joined "${inputs}")
  add_custom_command(OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${source} "-DINPUTS=${joined}" -P ${PROJECT_SOURCE_DIR}/coordinator/web/embed_bytes.cmake
    DEPENDS ${inputs} ${PROJECT_SOURCE_DIR}/coordinator/web/embed_bytes.cmake VERBATIM)
  add_library(${name} STATIC ${source})
endfunction()
