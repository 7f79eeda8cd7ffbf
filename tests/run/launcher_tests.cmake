# The launcher's end-to-end tests; included by CMakeLists.txt of this folder.
varve_run_test(launcher_container launcher_container.sh)
varve_run_test(launcher_user launcher_user.sh)
varve_run_test(launcher_stack launcher_stack.sh)
varve_run_test(launcher_network launcher_network.sh)
varve_run_test(launcher_terminal launcher_terminal.sh)
