#include "launcher/cgroup/device_filter.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

#include "fs/base/unique_fd.h"

namespace varve::launcher {
namespace {

// Registers by what they hold.
constexpr std::uint8_t kResult = BPF_REG_0;
constexpr std::uint8_t kContext = BPF_REG_1;
constexpr std::uint8_t kType = BPF_REG_2;
constexpr std::uint8_t kAccess = BPF_REG_3;
constexpr std::uint8_t kMajor = BPF_REG_4;
constexpr std::uint8_t kMinor = BPF_REG_5;
constexpr std::uint8_t kScratch = BPF_REG_6;
constexpr std::int32_t kAllAccess = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

struct bpf_insn instruction(int code, std::uint8_t to, std::uint8_t from, std::int32_t immediate,
                            std::int16_t offset = 0) {
  struct bpf_insn made = {};
  made.code = static_cast<std::uint8_t>(code);
  made.dst_reg = to & 0xf;
  made.src_reg = from & 0xf;
  made.off = offset;
  made.imm = immediate;
  return made;
}

struct bpf_insn load_field(std::uint8_t to, std::size_t offset_bytes) {
  return instruction(BPF_LDX | BPF_MEM | BPF_W, to, kContext, 0, static_cast<std::int16_t>(offset_bytes));
}
struct bpf_insn jump_unless_equal(std::uint8_t value, std::uint32_t expected) {
  return instruction(BPF_JMP | BPF_JNE | BPF_K, value, 0, static_cast<std::int32_t>(expected));
}

std::int32_t access_bits(const DeviceRule& rule) {
  return (rule.make ? BPF_DEVCG_ACC_MKNOD : 0) | (rule.read ? BPF_DEVCG_ACC_READ : 0) |
         (rule.write ? BPF_DEVCG_ACC_WRITE : 0);
}

// What allows by one rule, and else runs on to what follows it.
std::vector<struct bpf_insn> rule_code(const DeviceRule& rule) {
  std::vector<struct bpf_insn> code;
  code.push_back(jump_unless_equal(kType, rule.is_block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR));
  if (rule.major_number) code.push_back(jump_unless_equal(kMajor, *rule.major_number));
  if (rule.minor_number) code.push_back(jump_unless_equal(kMinor, *rule.minor_number));
  const std::int32_t refused = kAllAccess & ~access_bits(rule);
  if (refused != 0) {
    code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, kScratch, kAccess, 0));
    code.push_back(instruction(BPF_ALU64 | BPF_AND | BPF_K, kScratch, 0, refused));
    code.push_back(jump_unless_equal(kScratch, 0));
  }
  code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, kResult, 0, 1));
  code.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0));
  for (std::size_t index = 0; index < code.size(); ++index) {
    const bool is_jump = code[index].code == (BPF_JMP | BPF_JNE | BPF_K);
    if (is_jump) code[index].off = static_cast<std::int16_t>(code.size() - index - 1);
  }
  return code;
}

Result<UniqueFd> load(const std::vector<struct bpf_insn>& code) {
  union bpf_attr attributes = {};
  attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attributes.insn_cnt = static_cast<std::uint32_t>(code.size());
  attributes.insns = reinterpret_cast<std::uint64_t>(code.data());
  attributes.license = reinterpret_cast<std::uint64_t>("MIT");
  const long fd = ::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
  if (fd < 0) return Errno::last();
  return UniqueFd(static_cast<int>(fd));
}

}  // namespace

std::vector<DeviceRule> standard_devices() {
  constexpr std::uint32_t kMemoryDevices = 1;  // /dev/mem and its kin
  constexpr std::uint32_t kTerminalDevices = 5;
  constexpr std::uint32_t kUnix98Terminals = 136;
  std::vector<DeviceRule> rules;
  for (const std::uint32_t minor_number : {3U, 5U, 7U, 8U, 9U}) {  // null, zero, full, random, urandom
    rules.push_back({.major_number = kMemoryDevices, .minor_number = minor_number});
  }
  for (const std::uint32_t minor_number : {0U, 1U, 2U}) {  // tty, console, ptmx
    rules.push_back({.major_number = kTerminalDevices, .minor_number = minor_number});
  }
  rules.push_back({.major_number = kUnix98Terminals});
  return rules;
}

DeviceRule fuse_device() {
  return {.major_number = 10, .minor_number = 229, .make = false};
}

std::string to_text(const DeviceRule& rule) {
  const auto number = [](std::optional<std::uint32_t> one) { return one ? std::to_string(*one) : "*"; };
  return fmt::format("{} {}:{} {}{}{}", rule.is_block ? 'b' : 'c', number(rule.major_number),
                     number(rule.minor_number), rule.read ? "r" : "", rule.write ? "w" : "",
                     rule.make ? "m" : "");
}

std::vector<struct bpf_insn> device_program(const std::vector<DeviceRule>& rules) {
  constexpr int kTypeBits = 16;  // access_type: the kind of access above, the kind of device below
  std::vector<struct bpf_insn> code = {
      load_field(kType, offsetof(struct bpf_cgroup_dev_ctx, access_type)),
      instruction(BPF_ALU64 | BPF_MOV | BPF_X, kAccess, kType, 0),
      instruction(BPF_ALU64 | BPF_AND | BPF_K, kType, 0, (1 << kTypeBits) - 1),
      instruction(BPF_ALU64 | BPF_RSH | BPF_K, kAccess, 0, kTypeBits),
      load_field(kMajor, offsetof(struct bpf_cgroup_dev_ctx, major)),
      load_field(kMinor, offsetof(struct bpf_cgroup_dev_ctx, minor)),
  };
  for (const DeviceRule& rule : rules) {
    const std::vector<struct bpf_insn> one = rule_code(rule);
    code.insert(code.end(), one.begin(), one.end());
  }
  code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, kResult, 0, 0));
  code.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0));
  return code;
}

Status attach_device_program(int group_fd, const std::vector<DeviceRule>& rules) {
  VARVE_ASSIGN(const UniqueFd program, load(device_program(rules)));
  union bpf_attr attributes = {};
  attributes.target_fd = static_cast<std::uint32_t>(group_fd);
  attributes.attach_bpf_fd = static_cast<std::uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  attributes.attach_flags = BPF_F_ALLOW_MULTI;
  if (::syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof attributes) != 0) return Errno::last();
  return {};
}

bool can_load_device_program() {
  return load(device_program({})).ok();
}

}  // namespace varve::launcher
