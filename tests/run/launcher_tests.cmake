# The launcher's end-to-end tests; included by CMakeLists.txt of this folder.
varve_run_test(launcher_container launcher_container.sh)
varve_run_test(launcher_user launcher_user.sh)
varve_run_test(launcher_stack launcher_stack.sh)
varve_run_test(launcher_terminal launcher_terminal.sh)
varve_run_test(launcher_life launcher_life.sh)
varve_run_test(launcher_lesson launcher_lesson.sh)
varve_run_test(launcher_mounts launcher_mounts.sh)
varve_run_test(launcher_ids launcher_ids.sh)
varve_run_test(launcher_security launcher_security.sh)
# What runs inside, in any root directory: statically linked.
add_executable(escape_helper escape_helper.cc)
target_compile_definitions(escape_helper PRIVATE _GNU_SOURCE)
target_link_options(escape_helper PRIVATE -static)
varve_run_test(launcher_escapes launcher_escapes.sh)
set_tests_properties(run.launcher_escapes PROPERTIES
  ENVIRONMENT "VARVE_BIN=${PROJECT_BINARY_DIR}/bin;VARVE_ESCAPE_HELPER=$<TARGET_FILE:escape_helper>")
varve_run_test(launcher_limits launcher_limits.sh)
varve_run_test(launcher_limits_v2 launcher_limits_v2.sh)
