#include "launcher/cgroup/device_filter.h"

#include <gtest/gtest.h>

#include <array>

namespace varve::launcher {
namespace {

struct Access {
  bool is_block;
  std::uint32_t major_number;
  std::uint32_t minor_number;
  std::uint32_t kinds;  // BPF_DEVCG_ACC_...
};

// The instructions that a filter consists of, carried out as the kernel does it (Documentation/bpf/instruction-set.rst).
class Machine {
 public:
  explicit Machine(const Access& access) {
    context_ = {access.kinds << 16 | (access.is_block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR),
                access.major_number, access.minor_number};
  }
  // Returns: register 0 at the exit; -1 for an instruction or a jump that is none.
  int run(const std::vector<struct bpf_insn>& code) {
    for (std::size_t at = 0; at < code.size(); ++at) {
      const struct bpf_insn& one = code[at];
      std::uint64_t& to = registers_.at(one.dst_reg);
      const std::uint64_t from = registers_.at(one.src_reg);
      const auto immediate = static_cast<std::uint64_t>(static_cast<std::int64_t>(one.imm));
      switch (one.code) {
        case BPF_LDX | BPF_MEM | BPF_W:
          to = context_.at(static_cast<std::size_t>(one.off) / 4);
          break;
        case BPF_ALU64 | BPF_MOV | BPF_X:
          to = from;
          break;
        case BPF_ALU64 | BPF_MOV | BPF_K:
          to = immediate;
          break;
        case BPF_ALU64 | BPF_AND | BPF_K:
          to &= immediate;
          break;
        case BPF_ALU64 | BPF_RSH | BPF_K:
          to >>= immediate;
          break;
        case BPF_JMP | BPF_JNE | BPF_K:
          if (to != immediate) at += static_cast<std::size_t>(one.off);
          break;
        case BPF_JMP | BPF_EXIT:
          return static_cast<int>(registers_[0]);
        default:
          return -1;
      }
    }
    return -1;
  }

 private:
  std::array<std::uint64_t, 11> registers_ = {};
  std::array<std::uint32_t, 3> context_ = {};
};

constexpr std::uint32_t kRead = BPF_DEVCG_ACC_READ;
constexpr std::uint32_t kWrite = BPF_DEVCG_ACC_WRITE;
constexpr std::uint32_t kMake = BPF_DEVCG_ACC_MKNOD;

int verdict(const std::vector<DeviceRule>& rules, const Access& access) {
  return Machine(access).run(device_program(rules));
}

TEST(DeviceProgram, WithoutRulesRefusesAll) {
  EXPECT_EQ(verdict({}, {false, 1, 3, kRead}), 0);
  EXPECT_EQ(verdict({}, {true, 8, 0, kMake}), 0);
}

TEST(DeviceProgram, StandardDevicesAreAllowed) {
  const std::vector<DeviceRule> rules = standard_devices();
  for (const std::uint32_t minor_number : {3U, 5U, 7U, 8U, 9U}) {
    EXPECT_EQ(verdict(rules, {false, 1, minor_number, kRead | kWrite | kMake}), 1) << minor_number;
  }
  EXPECT_EQ(verdict(rules, {false, 5, 2, kRead | kWrite}), 1);
  EXPECT_EQ(verdict(rules, {false, 136, 17, kRead | kWrite}), 1);
}

TEST(DeviceProgram, OtherDevicesAreRefused) {
  const std::vector<DeviceRule> rules = standard_devices();
  EXPECT_EQ(verdict(rules, {false, 1, 1, kRead}), 0);     // mem
  EXPECT_EQ(verdict(rules, {false, 1, 11, kWrite}), 0);   // kmsg
  EXPECT_EQ(verdict(rules, {true, 1, 3, kRead}), 0);      // a block device of the same number
  EXPECT_EQ(verdict(rules, {true, 8, 0, kRead}), 0);      // sda
  EXPECT_EQ(verdict(rules, {false, 10, 229, kRead}), 0);  // fuse
  EXPECT_EQ(verdict(rules, {false, 137, 17, kRead}), 0);  // the next major number after the terminals
}

TEST(DeviceProgram, AccessIsPartOfTheRule) {
  const std::vector<DeviceRule> rules = {
      fuse_device(), {.is_block = true, .major_number = 7, .write = false, .make = false}};
  EXPECT_EQ(verdict(rules, {false, 10, 229, kRead | kWrite}), 1);
  EXPECT_EQ(verdict(rules, {false, 10, 229, kMake}), 0);
  EXPECT_EQ(verdict(rules, {false, 10, 229, kRead | kMake}), 0);
  EXPECT_EQ(verdict(rules, {true, 7, 4, kRead}), 1);
  EXPECT_EQ(verdict(rules, {true, 7, 4, kRead | kWrite}), 0);
}

TEST(DeviceProgram, RuleWithoutNumbersAllowsTheKind) {
  const std::vector<DeviceRule> rules = {{.is_block = true}};
  EXPECT_EQ(verdict(rules, {true, 259, 3, kRead}), 1);
  EXPECT_EQ(verdict(rules, {false, 259, 3, kRead}), 0);
}

TEST(DeviceProgram, BytesAreThoseOfTheInstructionSet) {
  const std::vector<struct bpf_insn> code = device_program({});
  ASSERT_EQ(code.size(), 8U);
  static_assert(sizeof(struct bpf_insn) == 8);
  EXPECT_EQ(code[0].code, 0x61);  // r2 = *(u32 *)(r1 + 0)
  EXPECT_EQ(code[0].dst_reg, 2);
  EXPECT_EQ(code[0].src_reg, 1);
  EXPECT_EQ(code[2].code, 0x57);  // r2 &= 0xffff
  EXPECT_EQ(code[2].imm, 0xffff);
  EXPECT_EQ(code[3].code, 0x77);  // r3 >>= 16
  EXPECT_EQ(code[6].code, 0xb7);  // r0 = 0
  EXPECT_EQ(code[7].code, 0x95);  // exit
}

TEST(DeviceRule, TextIsThatOfVersion1) {
  EXPECT_EQ(to_text(DeviceRule{.major_number = 1, .minor_number = 3}), "c 1:3 rwm");
  EXPECT_EQ(to_text(DeviceRule{.is_block = true, .major_number = 8, .write = false, .make = false}),
            "b 8:* r");
  EXPECT_EQ(to_text(fuse_device()), "c 10:229 rw");
}

}  // namespace
}  // namespace varve::launcher
