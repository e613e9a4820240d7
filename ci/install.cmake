# What a user's shell finds: the manual page, made from what the commands say of themselves, and
# completion. Included by CMakeLists.txt.
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/assay.1 DEPENDS assay ${CMAKE_SOURCE_DIR}/ci/man
    COMMAND ${CMAKE_SOURCE_DIR}/ci/man $<TARGET_FILE:assay> > ${CMAKE_BINARY_DIR}/assay.1.part
    COMMAND ${CMAKE_COMMAND} -E rename ${CMAKE_BINARY_DIR}/assay.1.part ${CMAKE_BINARY_DIR}/assay.1
    COMMENT "Writing the manual page" VERBATIM)
add_custom_target(man ALL DEPENDS ${CMAKE_BINARY_DIR}/assay.1)
install(FILES ${CMAKE_BINARY_DIR}/assay.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ci/completion/assay.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
    RENAME assay)
install(FILES ci/completion/_assay DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES reports/schema.json reports/policy.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/assay)
