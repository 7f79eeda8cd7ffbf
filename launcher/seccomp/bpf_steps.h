#pragma once

// The steps that seccomp programs are made of (seccomp(2), linux/bpf_common.h), by what they do.

#include <linux/filter.h>

#include <cstdint>

namespace varve::launcher {

inline constexpr std::uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS;
inline constexpr std::uint16_t kMask = BPF_ALU | BPF_AND | BPF_K;
inline constexpr std::uint16_t kJump = BPF_JMP | BPF_JA;
inline constexpr std::uint16_t kIfEqual = BPF_JMP | BPF_JEQ | BPF_K;
inline constexpr std::uint16_t kIfGreater = BPF_JMP | BPF_JGT | BPF_K;
inline constexpr std::uint16_t kIfNotLess = BPF_JMP | BPF_JGE | BPF_K;
inline constexpr std::uint16_t kDecide = BPF_RET | BPF_K;

}  // namespace varve::launcher
