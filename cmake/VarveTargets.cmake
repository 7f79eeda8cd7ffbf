# varve_library(NAME SOURCES... DEPENDS...) and friends: one way to declare a library, a program and a unit test, so that
# warnings, sanitizers and the check that each public header compiles alone hold for all of them.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
include(GNUInstallDirs)
find_package(Threads REQUIRED)

add_library(varve_options INTERFACE)
target_include_directories(varve_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(varve_options INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64 VARVE_VERSION="${PROJECT_VERSION}")
target_compile_options(varve_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                                               -Woverloaded-virtual -Wcast-qual)
# Designated initializers leave out what keeps its default; GCC 12 would warn of each.
target_compile_options(varve_options INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # A false alarm on "x" + std::string at -O3 (GCC bug 105651).
  target_compile_options(varve_options INTERFACE $<$<CONFIG:Release>:-Wno-restrict>)
endif()
target_link_libraries(varve_options INTERFACE Threads::Threads)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(varve_options INTERFACE -Wthread-safety -Werror=thread-safety)
endif()
if(VARVE_WERROR)
  target_compile_options(varve_options INTERFACE -Werror)
endif()
if(VARVE_SANITIZE)
  target_compile_definitions(varve_options INTERFACE VARVE_SANITIZED)
  target_compile_options(varve_options INTERFACE
    $<$<NOT:$<BOOL:$<TARGET_PROPERTY:VARVE_LOOKS_FROM_OUTSIDE>>>:-fsanitize=${VARVE_SANITIZE}> -fno-omit-frame-pointer)
  target_link_options(varve_options INTERFACE -fsanitize=${VARVE_SANITIZE})
  if(VARVE_SANITIZE MATCHES "undefined")
    target_compile_options(varve_options INTERFACE -fno-sanitize-recover=undefined)
  endif()
endif()

# varve_compile_quickly(NAME): what is no faster to use for being optimised, under a sanitizer: command lines (CLI11) and JSON, whose
# headers alone take ten seconds a file to optimise there.
function(varve_compile_quickly name)
  if(VARVE_SANITIZE)
    target_compile_options(${name} PRIVATE -O0)
  endif()
endfunction()

# varve_looks_from_outside(NAME): a test that has the programs do the work. It is not optimised, and not sanitized: they are.
function(varve_looks_from_outside name)
  set_target_properties(${name} PROPERTIES VARVE_LOOKS_FROM_OUTSIDE ON)
  target_compile_options(${name} PRIVATE -O0)
endfunction()

# varve_library(varve_base SOURCES a.cc ... HEADERS a.h ... DEPENDS varve_x PkgConfig::y ...)
# Each header is compiled alone.
function(varve_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;HEADERS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADERS})
  set_target_properties(${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
  target_link_libraries(${name} PUBLIC varve_options ${ARG_DEPENDS})
  if(VARVE_FUZZ)
    # Coverage, which the fuzz targets are guided by; other programs of such a build count in vain.
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# varve_program(varvefs [STATIC] SOURCES ... DEPENDS ...): an executable that `cmake --install` puts into bin.
# STATIC: of shared libraries only libc, for a quick start; a sanitized build stays shared. One such program in a directory.
function(varve_program name)
  cmake_parse_arguments(ARG "STATIC" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_STATIC AND NOT VARVE_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set_target_properties(${name} PROPERTIES VARVE_STATIC ON)
    # Named one by one, since g++ adds libm always, and of that ldexp(3) alone is used, which libc has, too.
    target_link_options(${name} PRIVATE -nodefaultlibs -Wl,--gc-sections -Wl,--as-needed)
    set(CMAKE_CXX_STANDARD_LIBRARIES "-l:libstdc++.a -lgcc -lgcc_eh -lc" PARENT_SCOPE)  # of this directory, at the end
  endif()
  target_link_libraries(${name} PRIVATE varve_options ${ARG_DEPENDS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# Under a sanitizer tests that do one thing at every place of many go on by so many places (tests/support/stride.h), unless
# VARVE_THOROUGH says that none is left out. `places`: a list for ENVIRONMENT.
function(varve_test_stride out places)
  set(${out} "" PARENT_SCOPE)
  if(VARVE_SANITIZE AND NOT VARVE_THOROUGH)
    set(${out} "VARVE_TEST_STRIDE=${places}" PARENT_SCOPE)
  endif()
endfunction()

# varve_unit_test(upper_test SOURCES ... DEPENDS ...): a GoogleTest program, one ctest entry, label "unit".
# The thread sanitizer looks at what threads share; the loops over faults, of one thread each, are for the other builds.
function(varve_unit_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE varve_options ${ARG_DEPENDS} GTest::gmock GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM varve_test_headers)
  add_test(NAME ${VARVE_TEST_PREFIX}unit.${name} COMMAND ${name})
  set(environment "")
  if(VARVE_SANITIZE STREQUAL "thread")
    varve_test_stride(environment 10)
  endif()
  set_tests_properties(${VARVE_TEST_PREFIX}unit.${name} PROPERTIES LABELS unit TIMEOUT 300 ENVIRONMENT "${environment}")
endfunction()

# varve_mounted_test(mounted_cow SOURCES ...): a GoogleTest program that goes through the kernel with the real varvefs
# and imagetool of this build; label "mounted". One ctest entry, or SHARDS n of them, which share the tests among them.
# COST: about how many seconds it takes, for ctest to begin with the longest.
# Without /dev/fuse it is skipped, and says so.
function(varve_mounted_test name)
  cmake_parse_arguments(ARG "" "SHARDS;COST" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE varve_mounted_support ${ARG_DEPENDS})
  varve_looks_from_outside(${name})
  target_precompile_headers(${name} REUSE_FROM varve_mounted_headers)
  foreach(program varvefs imagetool)
    if(TARGET ${program})
      add_dependencies(${name} ${program})
    endif()
  endforeach()
  varve_add_mounted(${VARVE_TEST_PREFIX}mounted.${name} COMMAND ${name} SHARDS "${ARG_SHARDS}" COST "${ARG_COST}")
endfunction()

# varve_add_mounted(NAME COMMAND program ...): the ctest entries of a mounted test; SHARDS and COST as above, ENVIRONMENT more of it.
function(varve_add_mounted name)
  cmake_parse_arguments(ARG "" "SHARDS;COST" "COMMAND;ENVIRONMENT" ${ARGN})
  varve_test_stride(stride 7)
  set(entries ${name})
  if(ARG_SHARDS GREATER 1)
    set(entries "")
    foreach(shard RANGE 1 ${ARG_SHARDS})
      list(APPEND entries ${name}_${shard}_of_${ARG_SHARDS})
    endforeach()
  endif()
  set(index 0)
  foreach(entry ${entries})
    add_test(NAME ${entry} COMMAND ${ARG_COMMAND})
    set(environment "VARVE_BIN=${PROJECT_BINARY_DIR}/bin" ${stride} ${ARG_ENVIRONMENT})
    if(ARG_SHARDS GREATER 1)
      list(APPEND environment GTEST_TOTAL_SHARDS=${ARG_SHARDS} GTEST_SHARD_INDEX=${index})
    endif()
    set_tests_properties(${entry} PROPERTIES
      LABELS mounted TIMEOUT 600 SKIP_RETURN_CODE 77 ENVIRONMENT "${environment}")
    if(ARG_COST)
      set_tests_properties(${entry} PROPERTIES COST ${ARG_COST})
    endif()
    math(EXPR index "${index} + 1")
  endforeach()
endfunction()
