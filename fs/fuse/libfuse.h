#pragma once

// libfuse's low-level interface at the version the project is written for. Private to fs/fuse.

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
