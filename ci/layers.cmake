# Walls between folders, held by the compiler. assay_layer makes build/layers/TARGET/, a directory of
# symbolic links to what the sources of a target may include, and gives the target no other include path
# of the project: an include of anything else does not compile. ci/style says the same as a table.
# Included by CMakeLists.txt.
#
#     assay_layer(suite_judge SEES reference reports suites/models suites/judge)
#
# SEES names folders or headers, relative to the source tree. "suites/judge" is seen as "judge/...",
# "reference/spec" as "spec/...", everything else by its own path.
function(assay_layer target)
    cmake_parse_arguments(ARG "" "" "SEES" ${ARGN})
    set(layer ${CMAKE_BINARY_DIR}/layers/${target})
    file(REMOVE_RECURSE ${layer})
    foreach(path ${ARG_SEES})
        string(REGEX REPLACE "^suites/" "" place ${path})
        string(REGEX REPLACE "^reference/spec" "spec" place ${place})
        if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${path})
            message(FATAL_ERROR "${target} sees ${path}, which is not there")
        endif()
        cmake_path(GET place PARENT_PATH parent)
        file(MAKE_DIRECTORY ${layer}/${parent})
        file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${path} ${layer}/${place} SYMBOLIC)
    endforeach()
    target_include_directories(${target} PRIVATE ${layer})
endfunction()
