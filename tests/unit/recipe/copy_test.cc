// What COPY, ADD and WORKDIR add to a stage: a base layer, a context, and how the stage looks afterwards.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "imagetool/image/source/directory_source.h"
#include "imagetool/recipe/copy_plan.h"
#include "tests/unit/image/scratch_directory.h"

namespace varve::recipe {
namespace {

using image::must;
using image::write_file;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CopyTest : public ::testing::Test {
 protected:
  CopyTest() {
    for (const char* directory : {"base/etc", "base/usr/bin", "base/srv/site", "context"}) {
      std::filesystem::create_directories(scratch_ / directory);
    }
    write_file(scratch_ / "base/etc/passwd", "root:x:0:0::/:/bin/sh\nbob:x:1000:1001::/:/bin/sh\n");
    write_file(scratch_ / "base/etc/group", "root:x:0:\nwheel:x:10:bob\n");
    write_file(scratch_ / "base/srv/site/old", "old");
    std::filesystem::create_symlink("usr/bin", scratch_ / "base/bin");
    std::filesystem::create_symlink("/srv/site", scratch_ / "base/www");
    EXPECT_EQ(::chmod((scratch_ / "base/srv/site").c_str(), 0711), 0);
    auto source = must(image::DirectorySource::open(scratch_ / "base", {}, monitor_));
    build(*source);
  }

  void file(const std::string& path, std::string_view bytes, mode_t mode = 0644) {
    const std::string whole = scratch_ / ("context/" + path);
    std::filesystem::create_directories(std::filesystem::path(whole).parent_path());
    write_file(whole, bytes);
    EXPECT_EQ(::chmod(whole.c_str(), mode), 0);
  }
  void ignore(std::string_view text) { ignored_ = must(IgnorePatterns::parse(text)); }

  void build(image::TreeSource& source) {
    const std::string path = scratch_ / ("layer" + std::to_string(layers_.size()));
    must(image::build_layer(source, {.writer = {.output_path = path, .jobs = 1}}, monitor_));
    layers_.push_back(path);
    stage_ = must(LayeredTree::open_stack(layers_, "stage"));
  }

  CopyRequest request(std::vector<std::string> sources, const std::string& destination) {
    CopyRequest copy;
    copy.sources = std::move(sources);
    copy.destination = destination;
    copy.working_directory = "/srv";
    copy.spool_directory = scratch_.path();
    copy.now = {1'000'000, 0};
    return copy;
  }
  ResultOrFailure<std::unique_ptr<CopySource>> plan(const CopyRequest& copy) {
    context_ = std::make_unique<ContextTree>(scratch_ / "context", ignored_);
    return plan_copy(copy, {.tree = context_.get(), .ignored = &ignored_}, *stage_, monitor_);
  }
  void copy(const CopyRequest& copy) { build(*must(plan(copy))); }
  void copy(std::vector<std::string> sources, const std::string& destination) {
    copy(request(std::move(sources), destination));
  }
  std::string failure(const CopyRequest& copy) {
    const auto planned = plan(copy);
    return planned.ok() ? "no failure" : planned.error().message;
  }
  std::string digest(const CopyRequest& copy) { return must(must(plan(copy))->digest()).text(); }

  // "?" when there is no such file.
  std::string content(const std::string& path) {
    return must(stage_->look_up(path)) ? must(stage_->read_file(path, 1 << 20)) : "?";
  }
  std::vector<std::string> names(const std::string& path) { return must(stage_->names(path)); }
  Attributes attributes(const std::string& path) { return must(stage_->spec(path)).value().attributes; }

  image::ScratchDirectory scratch_;
  image::RememberingMonitor monitor_;
  IgnorePatterns ignored_;
  std::vector<std::string> layers_;
  std::unique_ptr<LayeredTree> stage_;
  std::unique_ptr<ContextTree> context_;
};

TEST_F(CopyTest, AFileGetsTheNameOrGoesIntoTheDirectory) {
  file("a", "A", 0751);
  copy({"a"}, "/new/name");
  EXPECT_EQ(content("new/name"), "A");
  EXPECT_EQ(attributes("new/name").mode, S_IFREG | 0751U);
  EXPECT_EQ(attributes("new/name").uid, 0U);
  EXPECT_EQ(attributes("new").mode, S_IFDIR | 0755U);
  EXPECT_EQ(attributes("new").mtime.seconds, 1'000'000);
  copy({"a"}, "/dir/");
  EXPECT_EQ(content("dir/a"), "A");
  copy({"a"}, "site");
  EXPECT_EQ(content("srv/site/a"), "A") << "relative to the working directory; it is a directory already";
  EXPECT_EQ(content("srv/site/old"), "old");
  EXPECT_EQ(attributes("srv/site").mode, S_IFDIR | 0711U) << "which stays what it is";
}

TEST_F(CopyTest, OfADirectoryItsContentsAreCopied) {
  file("d/a", "A");
  file("d/e/b", "B");
  std::filesystem::create_symlink("a", scratch_ / "context/d/link");
  std::filesystem::create_hard_link(scratch_ / "context/d/a", scratch_ / "context/d/twin");
  copy({"d"}, "/x");
  EXPECT_THAT(names("x"), ElementsAre("a", "e", "link", "twin"));
  EXPECT_EQ(content("x/e/b"), "B");
  EXPECT_EQ(must(stage_->look_up("x/link"))->link_target, "a");
  EXPECT_EQ(attributes("x/a").nlink, 2U);
  copy({"."}, ".");
  EXPECT_EQ(content("srv/d/e/b"), "B");
}

TEST_F(CopyTest, WildcardsAndSeveralSourcesNeedADirectory) {
  file("a1.txt", "1");
  file("a2.txt", "2");
  file("b.txt", "b");
  file("d1/a3.txt", "3");
  copy({"a?.txt", "d*/*", "b.txt"}, "/x/");
  EXPECT_THAT(names("x"), ElementsAre("a1.txt", "a2.txt", "a3.txt", "b.txt"));
  EXPECT_THAT(failure(request({"*.txt"}, "/y")), HasSubstr("expected a directory"));
  EXPECT_THAT(failure(request({"nothing*"}, "/y")),
              HasSubstr("nothing*: expected a file or directory there"));
  EXPECT_THAT(failure(request({"../base/etc/passwd"}, "/y")), HasSubstr("expected a file"))
      << "nothing outside";
}

TEST_F(CopyTest, LinksOfTheStageAreFollowedWithinIt) {
  file("tool", "T");
  file("root/bin/tool2", "T2");
  copy({"tool"}, "/bin/");
  EXPECT_EQ(content("usr/bin/tool"), "T");
  EXPECT_TRUE(must(stage_->look_up("bin"))->is_symlink());
  copy({"root"}, "/");
  EXPECT_EQ(content("usr/bin/tool2"), "T2") << "a directory over a link to one goes where that leads";
  EXPECT_TRUE(must(stage_->look_up("bin"))->is_symlink());
  copy({"tool"}, "/www/new/");
  EXPECT_EQ(content("srv/site/new/tool"), "T");
}

TEST_F(CopyTest, LinksOfTheContextLeadNowhereElse) {
  file("in/a", "A");
  std::filesystem::create_symlink("/in/a", scratch_ / "context/absolute");
  std::filesystem::create_symlink("../../../../../../etc/passwd", scratch_ / "context/out");
  std::filesystem::create_symlink("loop", scratch_ / "context/loop");
  copy({"absolute"}, "/x");
  EXPECT_EQ(content("x"), "A") << "the root of a link is the context";
  EXPECT_THAT(failure(request({"out"}, "/y")), HasSubstr("expected a file"));
  EXPECT_THAT(failure(request({"loop"}, "/y")), HasSubstr("too many symbolic links"));
}

TEST_F(CopyTest, OwnersAndModesAreThoseOfTheStage) {
  file("d/a", "A");
  CopyRequest all = request({"d"}, "/x");
  all.chown = "bob:wheel";
  all.chmod = "0640";
  copy(all);
  EXPECT_EQ(attributes("x/a").uid, 1000U);
  EXPECT_EQ(attributes("x/a").gid, 10U);
  EXPECT_EQ(attributes("x/a").mode, S_IFREG | 0640U);
  EXPECT_EQ(attributes("x").uid, 1000U);
  EXPECT_EQ(must(parse_chown("bob", *stage_)).gid, 1001U);
  EXPECT_EQ(must(parse_chown("7", *stage_)).gid, 7U);
  EXPECT_EQ(must(parse_chown("7:wheel", *stage_)).gid, 10U);
  EXPECT_FALSE(parse_chown("alice", *stage_).ok());
  EXPECT_FALSE(parse_chown("bob:users", *stage_).ok());
  for (const char* bad : {"u+x", "8", "10000", "-1"}) EXPECT_FALSE(parse_chmod(bad).ok()) << bad;
}

TEST_F(CopyTest, IgnoredFilesAreNotThere) {
  file("a", "A");
  file("a.log", "L");
  file("deep/keep", "K");
  file("deep/drop", "D");
  ignore("*.log\ndeep\n!deep/keep\n");
  copy({"."}, "/x/");
  EXPECT_THAT(names("x"), ElementsAre("a", "deep"));
  EXPECT_THAT(names("x/deep"), ElementsAre("keep"));
  EXPECT_THAT(failure(request({"a.log"}, "/y")), HasSubstr("does not leave out"));
  EXPECT_THAT(failure(request({"*.log"}, "/y")), HasSubstr("does not leave out"));
}

TEST_F(CopyTest, WhatDoesNotFitIsRefused) {
  file("d/a", "A");
  file("e/site", "S");
  EXPECT_THAT(failure(request({"d"}, "/etc/passwd")), HasSubstr("/etc/passwd: there is a file already"));
  EXPECT_THAT(failure(request({"d/a"}, "/etc/passwd/x")), HasSubstr("there is a file already"));
  EXPECT_THAT(failure(request({"e"}, "/srv")), HasSubstr("/srv/site: there is a directory already"));
  EXPECT_THAT(failure(request({"d/a"}, "/" + std::string(300, 'n'))), HasSubstr("more than 255 bytes"));
  CopyRequest remote = request({"https://example.org/x"}, "/x");
  remote.unpacks = true;
  EXPECT_THAT(failure(remote), HasSubstr("nothing is fetched"));
}

TEST_F(CopyTest, OfSeveralFilesForOneNameTheLastHolds) {
  file("one/f", "1");
  file("two/f", "22");
  copy({"one/f", "two/f"}, "/x/");
  EXPECT_EQ(content("x/f"), "22");
  copy({"one/f", "one", "one/f"}, "/y/");
  EXPECT_EQ(content("y/f"), "1");
}

TEST_F(CopyTest, DocumentsAreFiles) {
  CopyRequest copied = request({}, "/x/");
  copied.documents = {{.word = "<<a", .name = "a", .content = "A\n"},
                      {.word = "<<b", .name = "d/b", .content = ""}};
  copy(copied);
  EXPECT_EQ(content("x/a"), "A\n");
  EXPECT_EQ(attributes("x/a").mode, S_IFREG | 0644U);
  EXPECT_EQ(attributes("x/b").size_bytes, 0U);
  copied.documents = {{.word = "<<..", .name = "..", .content = "A\n"}};
  EXPECT_THAT(failure(copied), HasSubstr("expected the name of a file"));
}

TEST_F(CopyTest, AddUnpacksArchivesAndNothingElse) {
  file("in/etc/conf", "C");
  const std::string tar = "tar -C " + scratch_ / "context/in" + " -czf " + scratch_ / "context/a.tgz" + " .";
  ASSERT_EQ(std::system(tar.c_str()), 0);
  ASSERT_EQ(
      std::system(("gzip -c " + scratch_ / "context/in/etc/conf" + " >" + scratch_ / "context/c.gz").c_str()),
      0);
  CopyRequest add = request({"a.tgz", "c.gz"}, "/x/");
  add.unpacks = true;
  copy(add);
  EXPECT_THAT(names("x"), ElementsAre("c.gz", "etc"));
  EXPECT_EQ(content("x/etc/conf"), "C");
  copy({"a.tgz"}, "/y/");
  EXPECT_THAT(names("y"), ElementsAre("a.tgz")) << "COPY does not";
}

TEST_F(CopyTest, AStageIsCopiedFromWithItsOwners) {
  file("d/a", "A");
  CopyRequest owned = request({"d"}, "/from");
  owned.chown = "5:6";
  copy(owned);
  const auto from = must(LayeredTree::open_stack(layers_, "other"));
  const auto source = must(plan_copy(request({"/from", "/bin"}, "/to/"),
                                     {.tree = from.get(), .keep_owners = true}, *stage_, monitor_));
  build(*source);
  EXPECT_EQ(content("to/a"), "A");
  EXPECT_EQ(attributes("to/a").uid, 5U);
}

TEST_F(CopyTest, DigestsFollowWhatIsCopiedButNotItsTimes) {
  file("d/a", "A");
  file("d/b", std::string(100000, 'b'));
  const CopyRequest plain = request({"d"}, "/x");
  const std::string before = digest(plain);
  EXPECT_EQ(::utimensat(AT_FDCWD, (scratch_ / "context/d/a").c_str(), nullptr, 0), 0);
  EXPECT_EQ(digest(plain), before);
  EXPECT_NE(digest(request({"d"}, "/y")), before) << "another name";
  CopyRequest owned = plain;
  owned.chown = "1";
  EXPECT_NE(digest(owned), before) << "another owner";
  EXPECT_EQ(::chmod((scratch_ / "context/d/a").c_str(), 0600), 0);
  EXPECT_NE(digest(plain), before) << "another mode";
  file("d/a", "B");
  EXPECT_NE(digest(plain), before) << "other bytes";
  file("d/a", "A");
  EXPECT_EQ(digest(plain), before);
  file("d/c", "");
  EXPECT_NE(digest(plain), before) << "one more file";
}

TEST_F(CopyTest, WorkingDirectoriesAreMadeOnce) {
  auto made = must(plan_directory("/a/b", {}, *stage_, monitor_));
  EXPECT_FALSE(made->empty());
  build(*made);
  EXPECT_TRUE(must(stage_->look_up("a/b"))->is_directory());
  EXPECT_TRUE(must(plan_directory("/a/b", {}, *stage_, monitor_))->empty());
  EXPECT_TRUE(must(plan_directory("/www", {}, *stage_, monitor_))->empty())
      << "a link to a directory will do";
  EXPECT_FALSE(plan_directory("/etc/passwd/x", {}, *stage_, monitor_).ok());
}

TEST_F(CopyTest, AnEmptyStageTakesFiles) {
  layers_.clear();
  stage_ = must(LayeredTree::open_stack({}, "scratch"));
  EXPECT_THAT(names(""), IsEmpty());
  file("a", "A");
  copy({"a"}, "/bin/a");
  EXPECT_EQ(content("bin/a"), "A");
  EXPECT_EQ(attributes("").mode, S_IFDIR | 0755U);
}

}  // namespace
}  // namespace varve::recipe
