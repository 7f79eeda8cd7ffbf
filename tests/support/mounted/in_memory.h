#pragma once

namespace varve::test {

// Puts scratch directories into /dev/shm where that holds all xattrs (Linux 6.6) and TMPDIR says nothing else: for tests that mount
// hundreds of times, each of which syncs the file system, or make names by the hundred thousand. Before the first ScratchDirectory.
// Returns: whether they are there.
bool work_in_memory();

}  // namespace varve::test
