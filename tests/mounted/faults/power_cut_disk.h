#pragma once

// PowerCutDisk: a small ext4 in an image file, mounted through a loop device, of which a copy can be taken as it is: what a power cut
// at that moment would leave. Needs root of the host and a free loop device. Thread rule: one thread. Ownership: owns the files and
// the mount.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace varve::test {

class PowerCutDisk {
 public:
  // Why there can be none here, tried in `directory`; empty when there can.
  static std::string lack_of(const std::string& directory);
  // `directory`: where the image and the mount point are made.
  PowerCutDisk(const std::string& directory, const std::string& name);
  ~PowerCutDisk();
  PowerCutDisk(const PowerCutDisk&) = delete;
  PowerCutDisk& operator=(const PowerCutDisk&) = delete;

  // Makes an empty file system.
  testing::AssertionResult format();
  // Mounts it, which replays the journal.
  testing::AssertionResult mount();
  testing::AssertionResult unmount();
  std::string root() const { return root_; }
  std::string image() const { return image_; }
  // Copies the bytes that have reached the disk to the image of `other`, which is unmounted. What only the page cache of the inner file
  // system holds is not among them.
  testing::AssertionResult copy_as_after_power_cut(const PowerCutDisk& other) const;

 private:
  // Of the loop device, as the kernel counts them. Empty while one is under way.
  std::string writes_so_far() const;

  std::string image_;
  std::string root_;
  std::string device_;  // empty: not mounted
};

}  // namespace varve::test
