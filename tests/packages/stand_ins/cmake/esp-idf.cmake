# A stand-in for ESP-IDF's idf_component_register on plain CMake: a component is a static library named after its folder.
macro(idf_component_register)
    cmake_parse_arguments(component "" "" "SRCS;INCLUDE_DIRS;PRIV_REQUIRES" ${ARGN})
    get_filename_component(COMPONENT_LIB ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    add_library(${COMPONENT_LIB} STATIC ${component_SRCS})
    target_include_directories(${COMPONENT_LIB} PUBLIC ${component_INCLUDE_DIRS} PRIVATE ${STAND_INS}/esp-idf)
    target_link_libraries(${COMPONENT_LIB} PRIVATE ${component_PRIV_REQUIRES})
endmacro()
