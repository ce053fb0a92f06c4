# Run by lumigrid_embed: writes each of INPUTS (separated by |) as a C array into OUTPUT.
string(REPLACE "|" ";" files "${INPUTS}")
set(text "#include <stddef.h>\n")
foreach(file ${files})
  get_filename_component(base "${file}" NAME)
  string(REGEX REPLACE "[^A-Za-z0-9]" "_" symbol "${base}")
  file(READ "${file}" hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "extern const unsigned char embedded_${symbol}[];\nextern const size_t embedded_${symbol}_size;\n"
                     "const unsigned char embedded_${symbol}[] = {${bytes}0};\nconst size_t embedded_${symbol}_size = ${size};\n")
endforeach()
file(WRITE "${OUTPUT}" "${text}")
