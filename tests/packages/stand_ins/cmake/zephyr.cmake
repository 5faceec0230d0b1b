# Stand-ins for the functions of Zephyr's build system that a module uses, on plain CMake: `app` is the program.
add_executable(app)
target_include_directories(app PRIVATE ${STAND_INS}/zephyr)

function(zephyr_library_named name)
    add_library(${name} OBJECT)
    target_link_libraries(app PRIVATE ${name}) # objects, as Zephyr links whole archives
    set(ZEPHYR_CURRENT_LIBRARY ${name} PARENT_SCOPE)
endfunction()

function(zephyr_library_sources)
    list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()

function(zephyr_library_sources_ifdef feature)
    if(${${feature}})
        zephyr_library_sources(${ARGN})
    endif()
endfunction()

function(zephyr_library_compile_definitions_ifdef feature)
    if(${${feature}})
        target_compile_definitions(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
    endif()
endfunction()

function(zephyr_include_directories)
    list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    target_include_directories(app PRIVATE ${ARGN})
    foreach(folder ${ARGN})
        include_directories(${folder})
    endforeach()
endfunction()
