# What `assay-mutants` must know of the build, and its CTest entries: one per class of faults, one
# per subject without a fault, and one that no class is left out.
get_property(shaders GLOBAL PROPERTY ASSAY_SHADERS)
list(JOIN shaders ",\n    " shaders)
set(embed "")
if(TARGET assay_embed)
    set(embed $<TARGET_FILE:assay_embed>)
endif()
# Each mutant is a program of 27 MB to link: gold takes half the time of ld.
get_property(engine GLOBAL PROPERTY ASSAY_ENGINE_LIBRARIES)
find_program(GOLD ld.gold)
set(link "${CMAKE_C_COMPILER} ${CMAKE_C_FLAGS} -Wl,-S")
if(GOLD)
    string(APPEND link " -fuse-ld=gold")
endif()
list(JOIN ZLIB_LIBRARIES " " zlib)
list(JOIN JANSSON_LINK_LIBRARIES " " jansson)
list(JOIN LIBMD_LINK_LIBRARIES " " libmd)
list(JOIN CMAKE_DL_LIBS " -l" dl)
if(dl)
    set(dl -l${dl})
endif()
# Backends that this build lacks: mutants of their sources cannot be made (folder: name).
set(left_out "")
foreach(pair "vulkan;Vulkan" "cuda;CUDA")
    list(GET pair 0 backend)
    list(GET pair 1 title)
    if(NOT backend IN_LIST SUBJECTS)
        list(APPEND left_out "\"engine/${backend}/\": \"${title}\"")
    endif()
endforeach()
list(JOIN left_out ", " left_out)
set(archives "")
foreach(library ${SUITE_LIBRARIES} assay_reports ${engine} assay_reference assay_spec)
    string(APPEND archives " $<TARGET_FILE:${library}>")
endforeach()
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/mutants.json CONTENT "{
  \"source\": \"${CMAKE_SOURCE_DIR}\",
  \"link\": \"${link} $<JOIN:$<TARGET_OBJECTS:assay>, >\",
  \"libraries\": \"-Wl,--start-group ${archives} -Wl,--end-group ${zlib} ${jansson} ${libmd} ${dl} -lm -pthread\",
  \"left_out\": {${left_out}},
  \"embed\": \"${embed}\",
  \"shader_dir\": \"${CMAKE_BINARY_DIR}/engine/vulkan/shaders\",
  \"shaders\": [
    ${shaders}
  ]
}
")

# A sanitizer would find some of the faults before the suites do.
if(ASSAY_SANITIZE OR NOT ASSAY_SELFTEST)
    return()
endif()

add_test(NAME mutants.catalogue COMMAND assay-mutants --check)
set_tests_properties(mutants.catalogue PROPERTIES LABELS "quick;full;mutants" TIMEOUT 60)

file(GLOB mutant_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/suites/mutants/*.txt)
list(FILTER mutant_files EXCLUDE REGEX "omitted")
set(classes "")
set(subjects "")
foreach(file ${mutant_files})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} heads REGEX "^[A-E][0-9]+ ")
    list(TRANSFORM heads REPLACE " .*" "")
    list(APPEND classes ${heads})
    file(STRINGS ${file} kills REGEX "^ +kills ")
    list(TRANSFORM kills REPLACE "^ +kills [^ ]+ ([^ ]+).*" "\\1")
    list(APPEND subjects ${kills})
endforeach()
list(REMOVE_DUPLICATES classes)
list(REMOVE_DUPLICATES subjects)
foreach(class ${classes})
    add_test(NAME mutants.${class} COMMAND assay-mutants ${class} --report ${REPORT_DIR}/parts/mutants.${class}.json)
    set_tests_properties(mutants.${class} PROPERTIES LABELS "full;mutants" SKIP_RETURN_CODE 77
        TIMEOUT 300 FIXTURES_REQUIRED report)
endforeach()
foreach(subject ${subjects})
    if(NOT subject MATCHES "vulkan") # its shaders are compiled by the build's own command
        add_test(NAME mutants.control.${subject} COMMAND assay-mutants --control ${subject})
        set_tests_properties(mutants.control.${subject} PROPERTIES LABELS "full;mutants" TIMEOUT 300)
    endif()
endforeach()
