#pragma once

// The mounts of a test program are its own: in the mount namespace that all programs share, another one that copies it (unshare(1), a
// container) would keep every mount it finds, and its daemon, for as long as the copy lives.

namespace varve::test {

// Goes on in a mount namespace of this process's own, of which nothing is passed to others. Does nothing where that is not allowed.
// Before the first thread. Mounts end with the program, at the latest.
void enter_own_mounts();

}  // namespace varve::test
