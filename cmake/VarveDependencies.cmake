# Every library of others that the project uses, by its package name, in one place.

find_package(PkgConfig REQUIRED)
pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.2)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd>=1.5)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive>=3.6)
pkg_check_modules(NETTLE REQUIRED IMPORTED_TARGET nettle>=3.8)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(CAP REQUIRED IMPORTED_TARGET libcap)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
if(VARVE_TESTS)
  find_package(GTest REQUIRED)
endif()
if(VARVE_BENCH)
  find_package(benchmark REQUIRED)
endif()

# fmt for those that link varve_fmt: shared, or for programs with VARVE_STATIC the static one below.
# Debian has no static libfmt, and with a shared one libstdc++ would be shared, too: this is fmt's header-only form, all of it,
# compiled once (compiled in each source file it would cost two seconds a file).
file(WRITE ${PROJECT_BINARY_DIR}/fmt_all.cc "#include <fmt/format.h>\n")
add_library(varve_fmt_static STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/fmt_all.cc)
target_link_libraries(varve_fmt_static PRIVATE fmt::fmt-header-only)
target_compile_options(varve_fmt_static PRIVATE -fkeep-inline-functions -ffunction-sections)
add_library(varve_fmt INTERFACE)
target_link_libraries(varve_fmt INTERFACE
  $<IF:$<BOOL:$<TARGET_PROPERTY:VARVE_STATIC>>,varve_fmt_static,fmt::fmt>)
target_include_directories(varve_fmt INTERFACE $<TARGET_PROPERTY:fmt::fmt,INTERFACE_INCLUDE_DIRECTORIES>)

# Programs with VARVE_STATIC take the static form of these, where it is installed: each shared library costs a start of the
# program a quarter of a millisecond and more.
foreach(package ZSTD XXHASH NETTLE SECCOMP CAP FUSE3 URING)
  list(GET ${package}_LIBRARIES 0 name)
  find_library(VARVE_STATIC_${package} lib${name}.a HINTS ${${package}_LIBRARY_DIRS})
  if(VARVE_STATIC_${package})
    get_target_property(shared PkgConfig::${package} INTERFACE_LINK_LIBRARIES)
    # And what a static one needs beside itself, such as libnuma for a libfuse with io_uring; liburing comes in its own static form.
    set(static ${${package}_STATIC_LIBRARIES})
    list(REMOVE_ITEM static ${${package}_LIBRARIES} ${URING_LIBRARIES})
    list(PREPEND static ${VARVE_STATIC_${package}})
    string(REPLACE ";" "$<SEMICOLON>" shared "${shared}")
    string(REPLACE ";" "$<SEMICOLON>" static "${static}")
    set_property(TARGET PkgConfig::${package} PROPERTY INTERFACE_LINK_LIBRARIES
      "$<IF:$<BOOL:$<TARGET_PROPERTY:VARVE_STATIC>>,${static},${shared}>")
  endif()
endforeach()
