# CTest entries of what is around the program: its manual page and completion, the script for GPUs, the
# driver's header, and the example of CONTRIBUTING.md. Included by CMakeLists.txt.
find_program(BASH bash)
if(BASH)
    add_test(NAME shell COMMAND ${BASH} ${CMAKE_SOURCE_DIR}/ci/shell_test $<TARGET_FILE:assay>)
    set_tests_properties(shell PROPERTIES LABELS "quick;full;ci" TIMEOUT 120)
endif()
add_test(NAME symbols COMMAND ${CMAKE_SOURCE_DIR}/ci/symbols ${CMAKE_BINARY_DIR})
set_tests_properties(symbols PROPERTIES LABELS "quick;full;ci")
if(Python3_FOUND)
    add_test(NAME readme COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/ci/readme_test.py $<TARGET_FILE:assay>
        ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/readme)
    set_tests_properties(readme PROPERTIES LABELS "full;ci" TIMEOUT 300)
endif()
# The installed library, as a project that is not this one uses it.
if(NOT ASSAY_SANITIZE) # whose runtime that project would have to link
    add_test(NAME consumer COMMAND ${CMAKE_SOURCE_DIR}/ci/consumer/test ${CMAKE_BINARY_DIR}
        ${CMAKE_BINARY_DIR}/consumer ${CMAKE_C_COMPILER}
        ${CMAKE_SOURCE_DIR}/vectors/models/primer-4m-Q4_K_M.gguf.gz)
    set_tests_properties(consumer PROPERTIES LABELS "full;ci" TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
add_test(NAME gpu-script COMMAND ${CMAKE_SOURCE_DIR}/ci/gpu_test ${CMAKE_BINARY_DIR}/gpu-script)
set_tests_properties(gpu-script PROPERTIES LABELS "quick;full;ci" TIMEOUT 120)
# What the CUDA backend believes of the driver, where NVIDIA's header is there to compare with.
if(NVCC)
    cmake_path(GET NVCC PARENT_PATH nvcc_bin)
    find_path(CUDA_HEADER_DIR cuda.h HINTS ${nvcc_bin}/../include)
    if(CUDA_HEADER_DIR)
        add_test(NAME cuda.abi COMMAND ${CMAKE_SOURCE_DIR}/ci/cuda_abi ${CMAKE_C_COMPILER} ${CUDA_HEADER_DIR}
            ${CMAKE_BINARY_DIR}/cuda-abi)
        set_tests_properties(cuda.abi PROPERTIES LABELS "quick;full;ci;cuda")
    endif()
endif()
if(NOT ASSAY_SANITIZE)
    # Whole machines: with another compiler, and without root. ci/test leaves them out.
    add_test(NAME bare.clang COMMAND ${CMAKE_SOURCE_DIR}/ci/bare --clang)
    add_test(NAME bare.user COMMAND ${CMAKE_SOURCE_DIR}/ci/bare --user)
    set_tests_properties(bare.clang bare.user PROPERTIES LABELS bare TIMEOUT 7200 RUN_SERIAL ON
        SKIP_RETURN_CODE 77)
    # Builds a whole tree, so it runs alone.
    add_test(NAME add-toy-type COMMAND ${CMAKE_SOURCE_DIR}/ci/add-toy-type ${CMAKE_BINARY_DIR}/toy ${CMAKE_BINARY_DIR})
    set_tests_properties(add-toy-type PROPERTIES LABELS "full;ci" TIMEOUT 1800 RUN_SERIAL ON
        SKIP_RETURN_CODE 77)
endif()
