// Which files are offered to the kernel, and for how long.

#include "fs/view/backing.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <set>

#include "tests/unit/view/view_fixture.h"

namespace varve::view {
namespace {

class CountingBackings final : public Backings {
 public:
  std::optional<std::int32_t> add(int fd) override {
    EXPECT_GE(::fcntl(fd, F_GETFD), 0);
    if (refuses) return std::nullopt;
    live.insert(++last);
    return last;
  }
  void remove(std::int32_t id) override { EXPECT_EQ(live.erase(id), 1U); }

  bool refuses = false;
  std::int32_t last = 0;
  std::set<std::int32_t> live;
};

class BackingTest : public UnionViewTest {
 protected:
  void mount_with_backings() {
    mount();
    view_->use_backings(backings_);
  }
  HandleId open(const std::string& path, int flags) {
    return view_->open(find(path).value().id, flags).value();
  }
  std::optional<std::int32_t> backing(HandleId handle) { return view_->open_mode(handle).backing; }

  std::shared_ptr<CountingBackings> backings_ = std::make_shared<CountingBackings>();
};

TEST_F(BackingTest, AllHandlesOfAFileShareOneAndItGoesWithTheLast) {
  mount_with_backings();
  create("/born", "text");
  EXPECT_TRUE(backings_->live.empty());
  const HandleId one = open("/born", O_RDONLY);
  const HandleId two = open("/born", O_RDWR);
  ASSERT_TRUE(backing(one).has_value());
  EXPECT_EQ(backing(one), backing(two));
  view_->release(one);
  EXPECT_EQ(backings_->live.size(), 1U);
  view_->release(two);
  EXPECT_TRUE(backings_->live.empty());
}

TEST_F(BackingTest, OnlyOrdinaryFilesOfTheUpperHaveOne) {
  top_->add_file("/lower", "from the layer");
  mount_with_backings();
  const HandleId lower = open("/lower", O_RDWR);
  EXPECT_FALSE(backing(lower).has_value());
  // Copied up while open: it keeps its way.
  EXPECT_TRUE(write_handle(lower, 0, "FROM").ok());
  EXPECT_FALSE(backing(open("/lower", O_RDONLY)).has_value());
  view_->release(lower);
  create("/program", "text");
  AttributeChange change;
  change.permissions = 04755;
  ASSERT_TRUE(view_->setattr(find("/program").value().id, change).ok());
  EXPECT_FALSE(backing(open("/program", O_RDONLY)).has_value());
}

TEST_F(BackingTest, AFileThatWasWrittenWholeHasOneSoonAfterItsLastClose) {
  top_->add_file("/lower", "from the layer");
  mount_with_backings();
  const HandleId old = open("/lower", O_RDONLY);
  write("/lower", 0, "FROM THE LAYER");
  EXPECT_FALSE(backing(old).has_value());
  view_->release(old);
  // Nobody has called fsync.
  bool served = false;
  for (int i = 0; i < 1000 && !served; ++i) {
    const HandleId next = open("/lower", O_RDONLY);
    EXPECT_EQ(read_handle(next), "FROM THE LAYER");
    served = backing(next).has_value();
    view_->release(next);
    ::usleep(10'000);
  }
  EXPECT_TRUE(served);
  remount();
  EXPECT_EQ(read("/lower"), "FROM THE LAYER");
}

TEST_F(BackingTest, AFileIsRemovedWhileItIsMadeOrdinary) {
  for (int i = 0; i < 50; ++i) top_->add_file("/" + std::to_string(i), "from the layer");
  mount_with_backings();
  for (int i = 0; i < 50; ++i) {
    const std::string path = "/" + std::to_string(i);
    const NodeId id = find(path).value().id;
    write(path, 0, "FROM THE LAYER");
    ASSERT_EQ(unlink(path), 0);
    const HandleId handle = view_->open(id, O_RDWR).value();
    EXPECT_EQ(read_handle(handle), "FROM THE LAYER");
    EXPECT_TRUE(write_handle(handle, 0, "f").ok());
    EXPECT_EQ(read_handle(handle), "fROM THE LAYER");
    view_->release(handle);
  }
  remount();
  EXPECT_EQ(list("/"), std::set<std::string>());
}

TEST_F(BackingTest, ARefusalIsNoErrorAndHoldsUntilTheLastClose) {
  mount_with_backings();
  create("/f", "text");
  backings_->refuses = true;
  const HandleId first = open("/f", O_RDONLY);
  backings_->refuses = false;
  const HandleId second = open("/f", O_RDONLY);
  EXPECT_FALSE(backing(first).has_value());
  EXPECT_FALSE(backing(second).has_value());
  EXPECT_EQ(read_handle(second), "text");
  view_->release(first);
  view_->release(second);
  const HandleId third = open("/f", O_RDONLY);
  EXPECT_TRUE(backing(third).has_value());
  view_->release(third);
}

TEST_F(BackingTest, PagesFromBeforeAreNotKept) {
  mount_with_backings();
  backings_->refuses = true;
  create("/f", "text");
  const HandleId asked = open("/f", O_RDONLY);
  EXPECT_TRUE(view_->open_mode(asked).keeps_cache);
  view_->release(asked);
  backings_->refuses = false;
  view_->release(open("/f", O_RDONLY));
  backings_->refuses = true;
  const HandleId again = open("/f", O_RDONLY);
  EXPECT_FALSE(view_->open_mode(again).keeps_cache);
  view_->release(again);
}

TEST_F(BackingTest, AttributesMayNotBeKeptWhileStoresGoUnseen) {
  mount_with_backings();
  create("/f", "text");
  EXPECT_FALSE(find("/f").value().changes_unseen);
  const HandleId writer = open("/f", O_WRONLY);
  EXPECT_FALSE(find("/f").value().changes_unseen) << "it cannot be mapped for stores";
  const HandleId mapper = open("/f", O_RDWR);
  EXPECT_TRUE(find("/f").value().changes_unseen);
  view_->release(mapper);
  EXPECT_FALSE(find("/f").value().changes_unseen);
  view_->release(writer);
}

TEST_F(BackingTest, AnswersToChangesMayNotBeKeptWhileSomebodyMayStore) {
  top_->add_file("/f", "from the layer");
  mount_with_backings();
  const NodeId f = find("/f").value().id;
  EXPECT_FALSE(view_->setattr(f, {.permissions = 0600}).value().changes_unseen);
  const HandleId mapper = open("/f", O_RDWR);
  ASSERT_FALSE(backing(mapper).has_value());
  EXPECT_TRUE(view_->setattr(f, {.permissions = 0644}).value().changes_unseen);
  EXPECT_TRUE(view_->link(f, UnionView::kRoot, "g").value().changes_unseen);
  EXPECT_FALSE(find("/f").value().changes_unseen) << "the stores come here, and call back what was asked for";
  view_->release(mapper);
  EXPECT_FALSE(view_->setattr(f, {.permissions = 0600}).value().changes_unseen);
}

}  // namespace
}  // namespace varve::view
