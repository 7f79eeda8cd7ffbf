#pragma once

// TarBytes: tar archives for tests.

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace varve::image {

// Archives made by hand: tar(1) would not write most of what is tried here.
class TarBytes {
 public:
  struct Member {
    std::string path;
    char type = '0';
    std::string content;
    std::string link;
    unsigned mode = 0644;
    std::uint64_t device_major = 0;
    std::uint64_t device_minor = 0;
  };
  TarBytes& add(const Member& member) {
    std::string header(512, '\0');
    const auto put = [&](std::size_t at, const std::string& text) { header.replace(at, text.size(), text); };
    put(0, member.path.substr(0, 100));
    put(100, octal(member.mode, 7));
    put(108, octal(1000, 7));
    put(116, octal(2000, 7));
    put(124, octal(member.content.size(), 11));
    put(136, octal(1234567890, 11));
    put(148, std::string(8, ' '));
    header[156] = member.type;
    put(157, member.link);
    put(257, std::string("ustar\00000", 8));
    put(329, octal(member.device_major, 7));
    put(337, octal(member.device_minor, 7));
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    put(148, octal(sum, 6) + std::string("\0 ", 2));
    bytes_ += header + member.content + std::string((512 - member.content.size() % 512) % 512, '\0');
    return *this;
  }
  TarBytes& file(const std::string& path, const std::string& content) {
    return add({.path = path, .content = content});
  }
  TarBytes& link(const std::string& path, const std::string& target) {
    return add({.path = path, .type = '1', .content = "", .link = target});
  }
  TarBytes& directory(const std::string& path, unsigned mode = 0755) {
    return add({.path = path, .type = '5', .content = "", .link = "", .mode = mode});
  }
  // Records for the member that follows.
  TarBytes& pax(const std::vector<std::pair<std::string, std::string>>& records) {
    std::string content;
    for (const auto& [key, value] : records) {
      const std::size_t rest = key.size() + value.size() + 3;
      std::size_t size = rest + 1;
      while (std::to_string(size).size() + rest != size) ++size;
      content += std::to_string(size) + " " + key + "=" + value + "\n";
    }
    return add({.path = "PaxHeaders/x", .type = 'x', .content = content});
  }
  std::string finished() const { return bytes_ + std::string(1024, '\0'); }
  const std::string& unfinished() const { return bytes_; }

 private:
  static std::string octal(std::uint64_t value, int digits) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%0*llo", digits, static_cast<unsigned long long>(value));
    return text.data();
  }
  std::string bytes_;
};

}  // namespace varve::image
