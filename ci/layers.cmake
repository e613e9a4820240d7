# Walls between folders. A library sees only what it may stand on: its one include path within the
# project is build/layers/NAME/, a directory of links that is laid here, so that an #include of
# anything else does not compile. The same rules as text, with the reason: ci/style.

# assay_sees(TARGET [STRIP PREFIX] PATH...): lays the target's directory of links. A path is a folder or
# a header from the root of the tree, and is included by that path; "spec" is reference/spec, included
# as spec/. STRIP takes PREFIX off the front of the links' places: with "suites/", suites/judge is
# included as judge/.
function(assay_sees target)
    cmake_parse_arguments(PARSE_ARGV 1 SEES "" "STRIP" "")
    set(layer ${CMAKE_BINARY_DIR}/layers/${target})
    file(REMOVE_RECURSE ${layer})
    foreach(path ${SEES_UNPARSED_ARGUMENTS})
        set(from ${CMAKE_SOURCE_DIR}/${path})
        if(path STREQUAL "spec")
            set(from ${CMAKE_SOURCE_DIR}/reference/spec)
        endif()
        if(NOT EXISTS ${from})
            message(FATAL_ERROR "${target} is to see ${path}, which is not there")
        endif()
        set(place ${path})
        if(SEES_STRIP)
            string(REGEX REPLACE "^${SEES_STRIP}" "" place ${place})
        endif()
        get_filename_component(above ${layer}/${place} DIRECTORY)
        file(MAKE_DIRECTORY ${above})
        file(CREATE_LINK ${from} ${layer}/${place} SYMBOLIC)
    endforeach()
    target_include_directories(${target} PRIVATE ${layer})
endfunction()

# assay_layer(NAME SOURCES SOURCE... SEES PATH... [LINKS LIBRARY...] [STRIP PREFIX]): a static library.
# A source is a file, or a folder from the root of the tree, of which all *.c are taken. LINKS: what a
# program needs beside this library; the project's own libraries (assay_*) lend it no include path.
function(assay_layer name)
    cmake_parse_arguments(PARSE_ARGV 1 LAYER "" "STRIP" "SOURCES;SEES;LINKS")
    set(sources "")
    foreach(source ${LAYER_SOURCES})
        if(IS_DIRECTORY ${CMAKE_SOURCE_DIR}/${source})
            file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${source}/*.c)
            list(APPEND sources ${files})
        else()
            list(APPEND sources ${source})
        endif()
    endforeach()
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:assay_flags>)
    foreach(library ${LAYER_LINKS})
        if(library MATCHES "^assay_")
            target_link_libraries(${name} INTERFACE ${library})
        else()
            target_link_libraries(${name} PUBLIC ${library})
        endif()
    endforeach()
    set(strip "")
    if(LAYER_STRIP)
        set(strip STRIP ${LAYER_STRIP})
    endif()
    assay_sees(${name} ${strip} ${LAYER_SEES})
endfunction()
