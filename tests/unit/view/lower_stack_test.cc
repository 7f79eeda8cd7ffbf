#include "fs/view/lower_stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/unit/view/memory_layer.h"

namespace varve::view {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LowerStackTest : public ::testing::Test {
 protected:
  LowerStack make() { return LowerStack({top_, middle_, bottom_}); }

  static std::optional<LowerObject> find(const LowerStack& stack, const std::string& path) {
    MergedDirectoryPtr at = stack.root();
    std::optional<LowerObject> object;
    std::size_t start = 1;
    while (start <= path.size()) {
      const std::size_t end = std::min(path.find('/', start), path.size());
      object = stack.look_up(at, *Name::parse(path.substr(start, end - start))).value();
      if (!object) return object;
      at = object->directory;
      start = end + 1;
    }
    return object;
  }

  static std::set<std::string> names(const LowerStack& stack, const std::string& path) {
    std::set<std::string> found;
    const MergedDirectoryPtr directory = stack.directory_at(path).value();
    EXPECT_TRUE(stack
                    .for_each(directory,
                              [&](std::string_view name, LowerRef, std::uint32_t) {
                                EXPECT_TRUE(found.emplace(name).second) << name << " listed twice";
                                return true;
                              })
                    .ok());
    return found;
  }

  std::shared_ptr<MemoryLayer> top_ = std::make_shared<MemoryLayer>("top");
  std::shared_ptr<MemoryLayer> middle_ = std::make_shared<MemoryLayer>("middle");
  std::shared_ptr<MemoryLayer> bottom_ = std::make_shared<MemoryLayer>("bottom");
};

TEST_F(LowerStackTest, TopmostFileWins) {
  top_->add_file("/a", "top");
  bottom_->add_file("/a", "bottom");
  const LowerStack stack = make();
  EXPECT_EQ(find(stack, "/a")->top.slot, LayerSlot(3));
}

TEST_F(LowerStackTest, SlotsCountFromTheBottom) {
  bottom_->add_file("/only", "x");
  const LowerStack stack = make();
  EXPECT_EQ(find(stack, "/only")->top.slot, LayerSlot(1));
}

TEST_F(LowerStackTest, WhiteoutHidesWhatLiesBelow) {
  middle_->add_whiteout("/d/gone");
  bottom_->add_file("/d/gone", "x");
  bottom_->add_file("/d/stays", "x");
  const LowerStack stack = make();
  EXPECT_FALSE(find(stack, "/d/gone").has_value());
  EXPECT_THAT(names(stack, "/d"), ElementsAre("stays"));
}

TEST_F(LowerStackTest, ANameAboveAWhiteoutIsSeen) {
  top_->add_file("/again", "new");
  middle_->add_whiteout("/again");
  bottom_->add_file("/again", "old");
  const LowerStack stack = make();
  EXPECT_EQ(find(stack, "/again")->top.slot, LayerSlot(3));
}

TEST_F(LowerStackTest, DirectoriesMerge) {
  top_->add_file("/d/t", "");
  middle_->add_file("/d/m", "");
  bottom_->add_file("/d/b", "");
  const LowerStack stack = make();
  EXPECT_THAT(names(stack, "/d"), ElementsAre("b", "m", "t"));
  EXPECT_EQ(stack.directory_at("/d").value()->sources().size(), 3u);
}

TEST_F(LowerStackTest, OpaqueDirectoryEndsTheMerge) {
  top_->add_file("/d/t", "");
  middle_->mark_opaque(middle_->add_directory("/d"));
  middle_->add_file("/d/m", "");
  bottom_->add_file("/d/b", "");
  const LowerStack stack = make();
  EXPECT_THAT(names(stack, "/d"), ElementsAre("m", "t"));
  EXPECT_FALSE(find(stack, "/d/b").has_value());
}

TEST_F(LowerStackTest, FileEndsTheMergeOfADirectoryAbove) {
  top_->add_file("/d/t", "");
  middle_->add_file("/d", "a file");
  bottom_->add_file("/d/b", "");
  const LowerStack stack = make();
  EXPECT_THAT(names(stack, "/d"), ElementsAre("t"));
}

TEST_F(LowerStackTest, FileHidesADirectoryBelow) {
  top_->add_file("/d", "a file");
  bottom_->add_file("/d/b", "");
  const LowerStack stack = make();
  EXPECT_EQ(find(stack, "/d")->type, static_cast<std::uint32_t>(S_IFREG));
  EXPECT_EQ(stack.directory_at("/d").value(), nullptr);
}

TEST_F(LowerStackTest, RedirectContinuesUnderAnotherName) {
  top_->mark_redirect(top_->add_directory("/new"), "/old");
  top_->add_whiteout("/old");
  top_->add_file("/new/t", "");
  middle_->add_file("/old/m", "");
  bottom_->add_file("/old/b", "");
  bottom_->add_file("/new/not-this", "");
  const LowerStack stack = make();
  EXPECT_THAT(names(stack, "/new"), ElementsAre("b", "m", "t"));
  EXPECT_FALSE(find(stack, "/old").has_value());
}

TEST_F(LowerStackTest, RedirectToNothingShowsTheDirectoryAlone) {
  top_->mark_redirect(top_->add_directory("/new"), "/missing");
  const LowerStack stack = make();
  EXPECT_THAT(names(stack, "/new"), IsEmpty());
}

TEST_F(LowerStackTest, InodeNumbersOfEqualIdsInTwoLayersDiffer) {
  top_->add_file("/a", "");
  bottom_->add_file("/b", "");
  const LowerStack stack = make();
  const LowerRef a = find(stack, "/a")->top;
  const LowerRef b = find(stack, "/b")->top;
  ASSERT_EQ(a.id, b.id);
  EXPECT_NE(stack.inode_number(a).value(), stack.inode_number(b).value());
}

TEST_F(LowerStackTest, ADirectoryOfManyNamesIsFoundWholly) {
  for (int i = 0; i < 500; ++i) {
    bottom_->add_file("/d/b" + std::to_string(i), "");
    if (i % 2 == 0) top_->add_whiteout("/d/b" + std::to_string(i));
    top_->add_file("/d/t" + std::to_string(i), "");
  }
  const LowerStack stack = make();
  EXPECT_EQ(names(stack, "/d").size(), 750u);
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(find(stack, "/d/b" + std::to_string(i)).has_value(), i % 2 == 1) << i;
    EXPECT_TRUE(find(stack, "/d/t" + std::to_string(i)).has_value()) << i;
  }
}

TEST_F(LowerStackTest, LookUpsAskNoLayerMoreHoweverManyThereAre) {
  constexpr std::size_t kLayers = 1000;
  std::vector<std::shared_ptr<MemoryLayer>> layers;
  for (std::size_t i = 0; i < kLayers; ++i) {
    layers.push_back(std::make_shared<MemoryLayer>(std::to_string(i)));
    layers.back()->add_file("/d/f" + std::to_string(i), "");
    layers.back()->add_file("/d/same", "");
  }
  const LowerStack stack({layers.begin(), layers.end()});
  const auto questions = [&layers] {
    std::size_t all = 0;
    for (const auto& layer : layers) all += layer->questions();
    return all;
  };
  ASSERT_TRUE(find(stack, "/d/same").has_value());
  const MergedDirectoryPtr directory = stack.directory_at("/d").value();
  ASSERT_TRUE(stack.look_up(directory, *Name::parse("same")).value().has_value());
  const std::size_t before = questions();
  for (std::size_t i = 0; i < kLayers; ++i) {
    const std::string name = "f" + std::to_string(i);
    EXPECT_EQ(stack.look_up(directory, *Name::parse(name)).value()->top.slot,
              LayerSlot(static_cast<std::uint16_t>(kLayers - i)));
    EXPECT_FALSE(stack.look_up(directory, *Name::parse("no-" + name)).value().has_value());
  }
  EXPECT_LE(questions() - before, kLayers) << "at most the one that has the name";
}

TEST_F(LowerStackTest, EmptyStackHasNoRoot) {
  const LowerStack stack({});
  EXPECT_EQ(stack.root(), nullptr);
  EXPECT_FALSE(stack.look_up(nullptr, *Name::parse("a")).value().has_value());
}

TEST_F(LowerStackTest, FindInLayerSeesOneLayerOnly) {
  top_->add_file("/a", "");
  const LowerStack stack = make();
  EXPECT_TRUE(stack.find_in_layer(LayerSlot(3), "/a").value().has_value());
  EXPECT_FALSE(stack.find_in_layer(LayerSlot(1), "/a").value().has_value());
}

}  // namespace
}  // namespace varve::view
