// A view without an upper.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "fs/view/union_view.h"
#include "tests/unit/view/memory_layer.h"

namespace varve::view {
namespace {

using ::testing::ElementsAre;

class ReadOnlyView : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"/a", "/b", "/c"}) layer_->add_file(name, "text");
    auto stack = std::make_unique<LowerStack>(std::vector<std::shared_ptr<layer::Layer>>{layer_});
    auto view = UnionView::make(std::move(stack), nullptr, 64);
    ASSERT_TRUE(view.ok());
    view_ = std::move(view).value();
  }
  // Appends the names to `names_`.
  int list(std::uint64_t cookie) {
    const auto note = [this](const DirectoryEntry& entry) {
      names_.emplace_back(entry.name);
      return true;
    };
    const Result<UnionView::Listed> listed = view_->readdir(UnionView::kRoot, cookie, note);
    return listed.ok() ? 0 : listed.error().value;
  }

  std::shared_ptr<MemoryLayer> layer_ = std::make_shared<MemoryLayer>("0123456789abcdef");
  std::unique_ptr<UnionView> view_;
  std::vector<std::string> names_;
};

TEST_F(ReadOnlyView, ListsEveryName) {
  EXPECT_EQ(list(0), 0);
  EXPECT_THAT(names_, ElementsAre(".", "..", "a", "b", "c"));
}

TEST_F(ReadOnlyView, ListsAlsoFromTheMiddleOn) {
  EXPECT_EQ(list(3), 0);
  EXPECT_THAT(names_, ElementsAre("b", "c"));
}

// Layers do not change. That one does here shows what is kept.
TEST_F(ReadOnlyView, KeepsAListing) {
  ASSERT_EQ(list(3), 0);
  names_.clear();
  layer_->add_file("/aa", "text");
  EXPECT_EQ(list(0), 0);
  EXPECT_THAT(names_, ElementsAre(".", "..", "a", "b", "c"));
}

TEST_F(ReadOnlyView, FailsToListADamagedEntryAndDoesNotLeaveItOut) {
  layer_->damage(layer_->add_file("/bb", "text"));
  EXPECT_EQ(list(0), EIO);
}

TEST_F(ReadOnlyView, RefusesChangesWhateverTheHandle) {
  EXPECT_EQ(view_->write(HandleId(99), 0, {}).error().value, EROFS);
  EXPECT_EQ(error_number(view_->fallocate(HandleId(99), 0, 0, 1)), EROFS);
}

}  // namespace
}  // namespace varve::view
