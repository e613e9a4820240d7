# Writes build_info.c from build_info.c.in, only when something changed. Run at every build.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE GIT ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no
                OUTPUT_VARIABLE CHANGES ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT GIT)
    set(GIT unknown)
endif()
set(DIRTY false)
if(CHANGES)
    set(DIRTY true)
endif()
configure_file(${SOURCE}/reports/build_info.c.in ${OUT} @ONLY)
