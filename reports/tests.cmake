# CTest entries of the reports: the writer's promises, then `assay report` from outside. Included by
# suites/tests.cmake.
foreach(case numbers killed torn sources)
    assay_test(reports.${case} reports.${case} quick full reports)
endforeach()
assay_test(reports.million reports.million full reports)
if(ASSAY_SELFTEST)
    set_tests_properties(reports.million PROPERTIES RUN_SERIAL ON)
endif()

find_package(Python3 COMPONENTS Interpreter)
if(NOT Python3_FOUND)
    return()
endif()
function(report_test name)
    add_test(NAME reports.cli.${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/reports/test/report_test.py
        $<TARGET_FILE:assay> ${CMAKE_BINARY_DIR}/report-test/${name} ${name} ${ARGN})
    set_tests_properties(reports.cli.${name} PROPERTIES LABELS "quick;full;reports" SKIP_RETURN_CODE 77 TIMEOUT 300)
endfunction()
foreach(name formats hostile merge diff gate signoff index usage)
    report_test(${name})
endforeach()
report_test(reruns $<TARGET_FILE:assay-plain>)

# All that this run of CTest has written is valid.
report_test(schema ${REPORT_DIR}/parts ${REPORT_DIR}/report.json)
set_tests_properties(reports.cli.schema PROPERTIES FIXTURES_CLEANUP report DEPENDS report.merge)

# A report with everything in it, and one of all tensor types.
foreach(pair "failing;test/samples/failing.json" "types;kept/0.1.0-10843e9617dc.json.gz")
    list(GET pair 0 page)
    list(GET pair 1 what)
    add_test(NAME reports.page.${page} COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/reports/test/page_test.py
        $<TARGET_FILE:assay> ${CMAKE_SOURCE_DIR}/reports/${what})
    set_tests_properties(reports.page.${page} PROPERTIES LABELS "full;reports" SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
# Pages of what other tests have made up: texts that mean harm, reports of several versions.
foreach(pair "hostile;hostile.json" "index;kept")
    list(GET pair 0 page)
    list(GET pair 1 what)
    set_tests_properties(reports.cli.${page} PROPERTIES FIXTURES_SETUP ${page}-report)
    add_test(NAME reports.page.${page} COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/reports/test/page_test.py
        $<TARGET_FILE:assay> ${CMAKE_BINARY_DIR}/report-test/${page}/${what})
    set_tests_properties(reports.page.${page} PROPERTIES LABELS "full;reports" SKIP_RETURN_CODE 77 TIMEOUT 300
        FIXTURES_REQUIRED ${page}-report)
endforeach()
add_test(NAME reports.page.kept COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/reports/test/page_test.py
    $<TARGET_FILE:assay> ${CMAKE_SOURCE_DIR}/reports/kept)
set_tests_properties(reports.page.kept PROPERTIES LABELS "full;reports" SKIP_RETURN_CODE 77 TIMEOUT 300)
