#pragma once

// libfuse's low-level interface at the version the project is written for; newer libraries give the same one (docs/decisions/0025).
// Private to fs/fuse.

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>  // of the library that pkg-config names; <fuse3/...> would be that of /usr/include
