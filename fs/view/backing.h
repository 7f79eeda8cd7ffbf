#pragma once

// Backing: a file of the upper that the kernel reads and writes by itself while it is open, without asking here
// (docs/decisions/0012). The view decides which files may; who talks to the kernel says how. Ownership: the registration ends
// with the object.

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace varve::view {

// Thread rule: any thread, under a node's mutex; a leaf.
class Backings {
 public:
  virtual ~Backings() = default;
  // Registers the file that is open at `fd`. Returns: its number with the kernel; empty when that is not to be had, and the
  // kernel has to ask for each read and write.
  virtual std::optional<std::int32_t> add(int fd) = 0;
  virtual void remove(std::int32_t id) = 0;
};

class Backing {
 public:
  Backing(std::shared_ptr<Backings> all, std::int32_t id) : all_(std::move(all)), id_(id) {}
  Backing(const Backing&) = delete;
  Backing& operator=(const Backing&) = delete;
  ~Backing() { all_->remove(id_); }

  std::int32_t id() const { return id_; }

 private:
  const std::shared_ptr<Backings> all_;
  const std::int32_t id_;
};

}  // namespace varve::view
