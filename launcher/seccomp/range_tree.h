#pragma once

// as_range_tree(): a seccomp program made small and shallow, with the same decisions. Thread rule: stateless.
//
// libseccomp makes one comparison for each system call of each architecture, even as a tree (SCMP_FLTATR_CTL_OPTIMIZE):
// neighbours with the same answer are not put together. The kernel checks, translates and compiles the whole program at
// each start, and runs it once for each number of each architecture (kernel/seccomp.c, seccomp_cache_prepare): long
// programs cost every container.
//
// The given program is the specification; nothing here knows profiles or names:
// 1. It is run with a fixed architecture and number. Arguments are not known: each comparison of them becomes a node with
//    two ends. Nodes are immutable, and equal ones are one node, so that equal answers have equal ids.
//    Each comparison of the number passed on the way tells up to which number the same way is taken; the next run begins
//    behind that. The same for architectures.
// 2. Neighbouring ranges with one answer become one, and what is left a binary search: of the number in each
//    architecture, and of the architecture. A single value inside of a range costs one comparison for equality.
// 3. The nodes are written from the end, with loads where the accumulator may hold something else. Conditional jumps
//    reach 255 steps: what lies farther is brought near, a decision by its copy, other nodes by an unconditional jump.

#include <linux/filter.h>

#include <span>
#include <vector>

namespace varve::launcher {

// `program`: of classic BPF, as seccomp(2) takes it. Returns: the program for the same decisions; the one given where it
// holds what libseccomp does not make (such as arithmetic with the number), or the other one would have more steps than
// seccomp(2) takes.
std::vector<struct sock_filter> as_range_tree(std::span<const struct sock_filter> program);

}  // namespace varve::launcher
