#pragma once

// Ipv4Address, Ipv4Network: addresses as numbers in host byte order. Plain values. Thread rule: stateless.

#include <cstdint>
#include <optional>
#include <string>

namespace varve::launcher {

struct Ipv4Address {
  std::uint32_t value = 0;

  // Dotted-decimal with four parts alone (inet_pton(3)).
  static std::optional<Ipv4Address> parse(const std::string& text);
  std::string text() const;
  friend bool operator==(Ipv4Address, Ipv4Address) = default;
};

struct Ipv4Network {
  Ipv4Address base;
  unsigned prefix = 0;  // bits, 0 to 32

  bool contains(Ipv4Address address) const { return ((address.value ^ base.value) & mask()) == 0; }
  bool overlaps(const Ipv4Network& other) const {
    return prefix < other.prefix ? contains(other.base) : other.contains(base);
  }
  // The address that stands `offset` after the base.
  Ipv4Address at(std::uint32_t offset) const { return {(base.value & mask()) + offset}; }
  // How many addresses it has; Requires: prefix > 0.
  std::uint32_t size() const { return ~mask() + 1; }
  std::string text() const { return at(0).text() + "/" + std::to_string(prefix); }

 private:
  std::uint32_t mask() const { return prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix); }
};

}  // namespace varve::launcher
