// DirectorySource: what the round trips (round_trip_test.cc) do not try. Mount points: tests/run/directory_sources.sh.

#include "imagetool/image/source/directory_source.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "imagetool/image/layer_builder.h"
#include "imagetool/image/layer_verify.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::image {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class DirectorySourceTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::mkdir(tree().c_str(), 0755), 0); }
  std::string tree() const { return scratch_ / "tree"; }
  std::string at(const std::string& name) const { return tree() + "/" + name; }
  std::unique_ptr<DirectorySource> open() { return must(DirectorySource::open(tree(), {}, monitor_)); }
  StatusOrFailure build(TreeSource& source) {
    BuildOptions options;
    options.writer.output_path = scratch_ / "a.layer";
    const auto built = build_layer(source, options, monitor_);
    if (!built.ok()) return built.error();
    return {};
  }

  ScratchDirectory scratch_;
  RememberingMonitor monitor_;
};

// A directory that does something to a file once its content is about to be read.
class MeddlingSource : public TreeSource {
 public:
  MeddlingSource(TreeSource& from, std::function<void()> meddle) : from_(from), meddle_(std::move(meddle)) {}
  ResultOrFailure<Tree> scan() override { return from_.scan(); }
  StatusOrFailure for_each_content(const Tree& tree, const ContentConsumer& take) override {
    return from_.for_each_content(tree, [&](TreeIndex node, ContentSource& content) {
      meddle_();
      return take(node, content);
    });
  }

 private:
  TreeSource& from_;
  std::function<void()> meddle_;
};

timespec atime_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0);
  return status.st_atim;
}

TEST_F(DirectorySourceTest, AccessTimesStay) {
  ASSERT_EQ(::mkdir(at("dir").c_str(), 0755), 0);
  write_file(at("dir/file"), "x");
  // Older than the last change, so that reading would set them even where times are kept relatively.
  const struct timespec times[2] = {{1000, 0}, {0, UTIME_OMIT}};
  for (const std::string& path : {at("dir/file"), at("dir"), tree()})
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  const auto source = open();
  must(build(*source));
  EXPECT_EQ(atime_of(tree()).tv_sec, 1000);
  EXPECT_EQ(atime_of(at("dir")).tv_sec, 1000);
  EXPECT_EQ(atime_of(at("dir/file")).tv_sec, 1000);
}

TEST_F(DirectorySourceTest, SocketsAreTaken) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_GE(listener, 0);
  struct sockaddr_un address {};
  address.sun_family = AF_UNIX;
  at("s").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const struct sockaddr*>(&address), sizeof address), 0);
  ::close(listener);
  const Tree scanned = must(open()->scan());
  ASSERT_EQ(scanned.node_count(), 2U);
  EXPECT_TRUE(S_ISSOCK(scanned.node(1).spec.attributes.mode));
  EXPECT_THAT(monitor_.warnings, IsEmpty());
}

TEST_F(DirectorySourceTest, WhiteoutsThatAreMoreThanThatAreNamed) {
  write_file(at(".wh.plain"), "");
  write_file(at(".wh.content"), "x");
  ASSERT_EQ(::mkdir(at(".wh.directory").c_str(), 0755), 0);
  const Tree scanned = must(open()->scan());
  std::vector<std::string> deleted;
  must(scanned.walk([&](const Tree::Visit& visit) -> StatusOrFailure {
    if (visit.node == kWhiteoutNode) deleted.emplace_back(visit.name);
    return {};
  }));
  EXPECT_THAT(deleted, ElementsAre("content", "directory", "plain"));
  EXPECT_THAT(monitor_.warnings,
              ElementsAre(HasSubstr(".wh.content: a whiteout by its name; what else it is"),
                          HasSubstr(".wh.directory: a whiteout by its name; what else it is")));
}

TEST_F(DirectorySourceTest, AFileThatBecomesShorterIsAnErrorThatNamesIt) {
  for (const std::string& content : {std::string(100, 'x'), std::string(3 << 20, 'x')}) {
    write_file(at("file"), content);
    const auto source = open();
    MeddlingSource meddling(*source, [&] { ASSERT_EQ(::truncate(at("file").c_str(), 50), 0); });
    const StatusOrFailure built = build(meddling);
    ASSERT_FALSE(built.ok());
    EXPECT_THAT(built.error().message, AllOf(HasSubstr(at("file")), HasSubstr("became shorter")));
    EXPECT_NE(::access((scratch_ / "a.layer").c_str(), F_OK), 0);
  }
}

// Nothing of it is data any more, so that its end looks like a hole.
TEST_F(DirectorySourceTest, AFileThatBecomesEmptyIsNotOneHole) {
  write_file(at("file"), std::string(100, 'x'));
  const auto source = open();
  MeddlingSource meddling(*source, [&] { ASSERT_EQ(::truncate(at("file").c_str(), 0), 0); });
  const StatusOrFailure built = build(meddling);
  ASSERT_FALSE(built.ok());
  EXPECT_THAT(built.error().message, AllOf(HasSubstr(at("file")), HasSubstr("became shorter")));
}

TEST_F(DirectorySourceTest, AFileThatGrowsIsNamedAndItsDigestIsRight) {
  write_file(at("file"), std::string(100000, 'x'));
  const auto source = open();
  MeddlingSource meddling(*source, [&] { write_file(at("file"), std::string(200000, 'y')); });
  must(build(meddling));
  EXPECT_THAT(monitor_.warnings,
              ElementsAre(AllOf(HasSubstr(at("file")), HasSubstr("changed while it was read"))));
  const VerifyReport report = must(verify_layer(scratch_ / "a.layer", {}, monitor_));
  EXPECT_TRUE(report.good());
  EXPECT_EQ(report.content_bytes, 100000U);
}

// As a difference does that compares first.
TEST_F(DirectorySourceTest, AFileThatGrowsIsNamedOnceWhenItIsReadTwice) {
  write_file(at("one"), "x");
  write_file(at("two"), "x");
  const auto source = open();
  const Tree scanned = must(source->scan());
  write_file(at("one"), "xy");
  write_file(at("two"), "xy");
  for (int pass = 0; pass < 2; ++pass) {
    must(source->for_each_content(scanned, [](TreeIndex, ContentSource&) { return StatusOrFailure(); }));
    EXPECT_THAT(monitor_.warnings, ElementsAre(HasSubstr(at("one")), HasSubstr(at("two")))) << pass;
  }
}

TEST_F(DirectorySourceTest, AFileThatBecomesAnotherTypeIsAnErrorThatNamesIt) {
  write_file(at("file"), "x");
  const auto source = open();
  const Tree scanned = must(source->scan());
  ASSERT_EQ(::unlink(at("file").c_str()), 0);
  ASSERT_EQ(::mkfifo(at("file").c_str(), 0644), 0);
  const auto read =
      source->for_each_content(scanned, [](TreeIndex, ContentSource&) { return StatusOrFailure(); });
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message, AllOf(HasSubstr(at("file")), HasSubstr("changed its type")));
}

}  // namespace
}  // namespace varve::image
