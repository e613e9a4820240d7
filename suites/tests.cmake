# CTest entries from the rows: one per suite, type or operation, and subject. Each writes its part of
# the report; the fixture "report" clears the parts before and merges them after.
set(REPORT_DIR ${CMAKE_BINARY_DIR}/report)

file(STRINGS reference/spec/types.def TYPE_ROWS REGEX "^TYPE\\(")
set(DECODED_TYPES)
set(WEIGHT_TYPES)
foreach(row ${TYPE_ROWS})
    string(REGEX REPLACE "TYPE\\(([A-Z0-9_]+), *[0-9]+, *([A-Za-z0-9_]+), *([a-z0-9_]+), *([0-9]+), *([0-9]+), *([A-Z]),.*"
        "\\2;\\6" fields "${row}")
    list(GET fields 0 name)
    list(GET fields 1 use)
    if(NOT use STREQUAL "L")
        list(APPEND DECODED_TYPES ${name})
    endif()
    if(use STREQUAL "W")
        list(APPEND WEIGHT_TYPES ${name})
    endif()
endforeach()
file(STRINGS reference/spec/ops.def OP_ROWS REGEX "^OP\\(")

get_property(SUBJECTS GLOBAL PROPERTY ASSAY_BACKENDS) # the rows of engine/backends.def that are built

file(STRINGS suites/selftest/suites.def SELF_SUITES REGEX "^SUITE\\(")
list(TRANSFORM SELF_SUITES REPLACE "SUITE\\(([a-z]+)\\).*" "\\1")

# assay_test(name "filter;..." label...): all cases that a filter matches are one entry. --quick among
# the filters takes those of the developer's loop, --slow the others, so that no case runs twice.
function(assay_test name filters)
    string(REGEX MATCH "^[a-z]+" suite "${name}")
    if(NOT ASSAY_SELFTEST AND suite IN_LIST SELF_SUITES)
        return()
    endif()
    add_test(NAME ${name} COMMAND assay test -j 1 ${filters} --report ${REPORT_DIR}/parts/${name}.json)
    set_tests_properties(${name} PROPERTIES LABELS "${ARGN}" SKIP_RETURN_CODE 77 TIMEOUT 900
        FIXTURES_REQUIRED report)
    # lavapipe hands each of a model's thousands of small dispatches to its threads, which takes longer
    # than to compute it. The operations, determinism and the matrix run with threads.
    if(name MATCHES "^(forward|sequences|cache|variants)\\..*vulkan")
        set_property(TEST ${name} PROPERTY ENVIRONMENT LP_NUM_THREADS=0)
    endif()
endfunction()

add_test(NAME report.clear COMMAND ${CMAKE_COMMAND} -DDIR=${REPORT_DIR}/parts
    -P ${CMAKE_SOURCE_DIR}/reports/clear.cmake)
add_test(NAME report.merge COMMAND assay report merge ${REPORT_DIR}/parts --out ${REPORT_DIR}/report.json
    --junit ${REPORT_DIR}/junit.xml --html ${REPORT_DIR}/report.html)
set_tests_properties(report.clear PROPERTIES FIXTURES_SETUP report LABELS "quick;full")
set_tests_properties(report.merge PROPERTIES FIXTURES_CLEANUP report LABELS "quick;full")

foreach(type ${DECODED_TYPES})
    if(NOT type MATCHES "^(f32|f64)$")
        assay_test(decode.${type}.reference "decode.${type}.*.reference" quick full decode ${type} reference)
    endif()
    foreach(subject ${SUBJECTS})
        assay_test(decode.${type}.${subject} "decode.${type}.*.${subject}" quick full decode ${type} ${subject})
    endforeach()
endforeach()
foreach(subject reference ${SUBJECTS})
    assay_test(bits.${subject} "bits.*.${subject}" quick full bits ${subject})
endforeach()
foreach(type ${WEIGHT_TYPES})
    assay_test(encode.${type} "encode.*.${type}" full encode ${type})
    foreach(subject ${SUBJECTS})
        set(part ";--slow")
        if(subject STREQUAL "vulkan") # the quick entry has few types
            set(part)
        endif()
        assay_test(ops.${type}.${subject} "ops.*.${type}.*.${subject}${part}" full ops ${type} ${subject})
        set(part)
        if(subject STREQUAL "cpu")
            set(part ";--slow")
        endif()
        assay_test(forward.${type}.${subject} "forward.${type}.*.${subject}${part}" full forward ${type} ${subject})
    endforeach()
endforeach()
assay_test(forward.quick.cpu "forward.*.cpu;--quick" quick full forward cpu)
foreach(subject ${SUBJECTS})
    set(cases "ops.*.${subject}")
    if(subject STREQUAL "vulkan") # most of this is the driver's compiler
        set(cases "ops.*.f32.*.${subject};ops.*.q4_K.*.${subject};ops.*.iq3_s.*.${subject}")
    endif()
    assay_test(ops.quick.${subject} "${cases};--quick" quick full ops ${subject})
    assay_test(determinism.quick.${subject} "determinism.*.${subject};--quick" quick full determinism ${subject})
    assay_test(determinism.${subject} "determinism.*.${subject};--slow" full determinism ${subject})
    set(loop quick)
    if(subject STREQUAL "cuda-sim") # 20 s each
        set(loop)
    endif()
    assay_test(cache.quick.${subject} "cache.*.${subject};--quick" ${loop} full cache ${subject})
    set(models "*")
    if(subject STREQUAL "cuda-sim") # over latents, one type of each kind
        set(models "*.llama*;cache.*.gemma2*;cache.*.refusal*;cache.f16-*.deepseek2;cache.q8_0-q4_0.deepseek2")
    endif()
    list(TRANSFORM models APPEND ".${subject}")
    assay_test(cache.${subject} "cache.${models};--slow" full cache ${subject})
    assay_test(variants.${subject} "variants.*.${subject}" full variants ${subject})
    assay_test(sequences.quick.${subject} "sequences.*.${subject};--quick" ${loop} full sequences ${subject})
    assay_test(sequences.${subject} "sequences.*.${subject};--slow" full sequences ${subject})
endforeach()
assay_test(tokenizer.quick "tokenizer;--quick" quick full tokenizer)
assay_test(tokenizer "tokenizer;--slow" full tokenizer)
foreach(suite bounds gguf vectors opvec workers)
    assay_test(${suite} ${suite} quick full ${suite})
endforeach()
foreach(suite refuse sample)
    assay_test(${suite} ${suite} quick full ${suite})
endforeach()
assay_test(synth synth full synth)

# Architectures x types on random models: every architecture in three types (one on the simulated GPU),
# and three of them in every type: NEOX RoPE and biases; caps and windows; experts and sinks. On Vulkan
# the suite forward has these three in every type. `assay qualify --all-archs` is the whole.
function(matrix_test name subject) # or several, with commas
    string(REPLACE "," ";" labels ${subject})
    add_test(NAME matrix.${name}.${subject} COMMAND assay qualify ${ARGN} --subject ${subject}
        --out ${REPORT_DIR}/parts/matrix.${name}.${subject}.json)
    set_tests_properties(matrix.${name}.${subject} PROPERTIES LABELS "full;qualify;${labels}"
        SKIP_RETURN_CODE 77 TIMEOUT 900 FIXTURES_REQUIRED report)
endfunction()
foreach(subject ${SUBJECTS})
    if(subject STREQUAL "cuda-sim")
        matrix_test(archs ${subject} --all-archs --type Q4_K)
    else()
        matrix_test(archs ${subject} --all-archs --type F16,Q4_K,Q8_0)
    endif()
endforeach()
# Two subjects share the encoding and the reference; token by token the suite forward has the same.
set(ON_HOST cpu)
if(cuda-sim IN_LIST SUBJECTS)
    string(APPEND ON_HOST ",cuda-sim")
endif()
matrix_test(types ${ON_HOST} --arch qwen2,gemma2,gpt-oss)
string(REPLACE "," ";" labels ${ON_HOST})
set_property(TEST matrix.types.${ON_HOST} PROPERTY LABELS "deep;qualify;${labels}")
if(cuda IN_LIST SUBJECTS)
    matrix_test(types cuda --arch qwen2,gemma2,gpt-oss)
endif()
assay_test(far far full far)
assay_test(peers peers full peers)
assay_test(cudasim cudasim full cudasim)

foreach(subject ${SUBJECTS})
    set(models "*")
    if(subject STREQUAL "cuda-sim") # half a minute for each model
        set(models "Q4_K_M.*")
    endif()
    assay_test(locate.clean.${subject} "locate.clean.${models}${subject}" full locate ${subject})
endforeach()
foreach(part damage arch rounding cause log trace effect)
    assay_test(locate.${part} "locate.${part}" full locate)
endforeach()
find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
    add_test(NAME locate.python COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/suites/selftest/locate_md.py
        $<TARGET_FILE:assay> ${CMAKE_SOURCE_DIR}/vectors/models/primer-4m-Q4_K_M.gguf.gz
        ${CMAKE_BINARY_DIR}/locate)
    add_test(NAME locate.commands COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/suites/selftest/locate_cli.py
        $<TARGET_FILE:assay> ${CMAKE_SOURCE_DIR}/vectors ${CMAKE_BINARY_DIR}/locate-commands $<TARGET_FILE:assay-engine-plugin>)
    add_test(NAME locate.llama-names COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/suites/selftest/locate_names.py
        $<TARGET_FILE:assay> ${CMAKE_BINARY_DIR}/locate-names)
    add_test(NAME plugin.readme COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/suites/selftest/plugins_md.py
        $<TARGET_FILE:assay> ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/plugin-readme)
    set_tests_properties(plugin.readme PROPERTIES LABELS "full;plugin" TIMEOUT 600)
    set_tests_properties(locate.python locate.commands locate.llama-names PROPERTIES LABELS "full;locate" TIMEOUT 600)
endif()
add_subdirectory(suites/plugins)
add_subdirectory(suites/stories)

include(suites/mutants/mutants.cmake)

include(reports/tests.cmake)
