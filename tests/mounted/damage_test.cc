// A damaged layer: what a reader, the log and `imagetool layer verify` say of a flipped byte.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "tests/support/mounted/mounted_stack.h"

namespace varve::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Damage : public testing::Test {
 protected:
  // Builds the layer and flips one bit of the stored bytes of "d/victim", which are noise and so stored as
  // they are.
  void build_damaged() {
    write_file(stack.lower(0, "d/victim"), victim);
    write_file(stack.lower(0, "d/healthy"), healthy);
    ASSERT_TRUE(stack.build_layers());
    std::string layer = read_file(stack.lower_argument(0));
    std::size_t at = layer.find(victim.substr(100'000, 64));
    ASSERT_NE(at, std::string::npos) << "noise should not compress";
    write_at(stack.lower_argument(0), static_cast<std::int64_t>(at),
             std::string(1, static_cast<char>(layer[at] ^ 1)));
  }
  MountedStack stack{StackShape{.lowers = 1, .layer_files = true}};
  std::string victim = noise(200'000, 1);
  std::string healthy = noise(200'000, 2);
};

TEST_F(Damage, GivesEioForThatPlaceAndNothingElse) {
  build_damaged();
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("d/victim")), "<EIO>");
  EXPECT_TRUE(read_file(stack.at("d/healthy")) == healthy);
  EXPECT_EQ(read_at(stack.at("d/victim"), 199'000, 1000), victim.substr(199'000))
      << "another frame of the same file";
  EXPECT_EQ(names_in(stack.at("d")), (std::vector<std::string>{"healthy", "victim"}));
  write_file(stack.at("d/new"), "still writable");
  EXPECT_EQ(read_file(stack.at("d/new")), "still writable");
}

TEST_F(Damage, IsLoggedWithLayerFileAndFrame) {
  build_damaged();
  ASSERT_TRUE(stack.mount());
  EXPECT_EQ(read_file(stack.at("d/victim")), "<EIO>");
  EXPECT_THAT(stack.log(),
              AllOf(HasSubstr(stack.lower_argument(0)), HasSubstr("d/victim"), HasSubstr("frame")));
}

TEST_F(Damage, NeverReachesTheUpperByAPartialWrite) {
  build_damaged();
  ASSERT_TRUE(stack.mount());
  UniqueFd fd = open_file(stack.at("d/victim"), O_RDWR);
  EXPECT_LT(::pwrite(fd.get(), "x", 1, 100'001), 0) << "the rest of the block cannot be read";
  EXPECT_EQ(::pwrite(fd.get(), "x", 1, 10), 1) << "this block can";
  fd.reset();
  EXPECT_EQ(read_at(stack.at("d/victim"), 100'000, 10), "<EIO>");
  EXPECT_EQ(read_at(stack.at("d/victim"), 9, 3), victim.substr(9, 1) + "x" + victim.substr(11, 1));
}

TEST_F(Damage, IsFoundByVerify) {
  build_damaged();
  ProgramResult result = run({program("imagetool"), "layer", "verify", stack.lower_argument(0)});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.out + result.err, HasSubstr("d/victim"));
  EXPECT_THAT(result.out + result.err, testing::Not(HasSubstr("d/healthy")));
}

TEST_F(Damage, OfMetadataFailsTheMount) {
  write_file(stack.lower(0, "a-name-to-find-in-the-file"), "x");
  ASSERT_TRUE(stack.build_layers());
  std::string layer = read_file(stack.lower_argument(0));
  std::size_t at = layer.find("a-name-to-find");
  ASSERT_NE(at, std::string::npos);
  write_at(stack.lower_argument(0), static_cast<std::int64_t>(at), "b");
  EXPECT_FALSE(stack.mount());
  EXPECT_THAT(stack.log(), HasSubstr(stack.lower_argument(0)));
  EXPECT_FALSE(stack.is_mounted());
}

}  // namespace
}  // namespace varve::test
