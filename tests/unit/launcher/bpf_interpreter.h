#pragma once

// run_filter(), follow_filter(): what a seccomp program decides of a system call, without the kernel. Covers the instructions that the
// kernel lets a seccomp filter have and libseccomp makes (linux/filter.h; kernel/seccomp.c, seccomp_check_filter).

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace varve::launcher {

struct FilterAnswer {
  std::uint32_t decision = SECCOMP_RET_KILL_PROCESS;  // SECCOMP_RET_... with its data
  int comparisons = 0;                                // on the way to it
  bool saw_arguments = false;
};

// A program that is none fails the test and counts as a kill.
inline FilterAnswer follow_filter(std::span<const struct sock_filter> program,
                                  const struct seccomp_data& call) {
  FilterAnswer answer;
  std::array<std::uint32_t, sizeof call / 4> words{};
  std::memcpy(words.data(), &call, sizeof call);
  std::uint32_t accumulator = 0;
  std::size_t position = 0;
  while (position < program.size()) {
    const struct sock_filter& step = program[position++];
    const auto jump_if = [&](bool holds) {
      position += holds ? step.jt : step.jf;
      ++answer.comparisons;
    };
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        accumulator = words.at(step.k / 4);
        answer.saw_arguments |= step.k >= offsetof(struct seccomp_data, args);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= step.k;
        break;
      case BPF_JMP | BPF_JA:
        position += step.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        jump_if(accumulator == step.k);
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        jump_if(accumulator > step.k);
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        jump_if(accumulator >= step.k);
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        jump_if((accumulator & step.k) != 0);
        break;
      case BPF_RET | BPF_K:
        answer.decision = step.k;
        return answer;
      default:
        ADD_FAILURE() << "an instruction that is not expected: " << step.code;
        return answer;
    }
  }
  ADD_FAILURE() << "the program has no end";
  return answer;
}

// Returns: SECCOMP_RET_... with its data.
inline std::uint32_t run_filter(std::span<const struct sock_filter> program,
                                const struct seccomp_data& call) {
  return follow_filter(program, call).decision;
}

}  // namespace varve::launcher
