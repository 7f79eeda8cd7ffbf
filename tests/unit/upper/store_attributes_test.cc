// The upper store on a real file system: attributes, marks and xattrs of objects.

#include <gmock/gmock.h>

#include "tests/unit/upper/upper_fixture.h"

namespace varve::upper {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using StoreAttributes = upper::testing::OpenUpperFixture;

TEST_F(StoreAttributes, ChangeOfOwnerClearsSetIdBitsAndCapabilities) {
  const std::string capability("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  make("f", S_IFREG | 0755);
  ASSERT_TRUE(store_->change_mode(root("f"), 06755).ok());
  ASSERT_TRUE(store_->set_xattr(root("f"), "security.capability", capability, 0).ok());
  ASSERT_TRUE(store_->change_owner(root("f"), 5, -1).ok());
  const UpperEntry now = look("f");
  EXPECT_EQ(now.attributes.mode, S_IFREG | 0755u);
  EXPECT_EQ(now.attributes.uid, 5u);
  EXPECT_EQ(now.attributes.gid, 0u);
  EXPECT_EQ(store_->xattr(root("f"), "security.capability").error().value, ENODATA);
}

TEST_F(StoreAttributes, ChangesASymbolicLinkAndNotItsTarget) {
  make("target", S_IFREG | 0644);
  make("l", S_IFLNK | 0777);
  const struct timespec times[2] = {{1, 0}, {2, 3}};
  const auto fd = store_->open_path(root("l"));
  ASSERT_TRUE(store_->change_owner({fd->get(), ""}, 5, 6).ok());
  ASSERT_TRUE(store_->change_times({fd->get(), ""}, times).ok());
  ASSERT_TRUE(store_->set_xattr({fd->get(), ""}, "trusted.x", "1", 0).ok());
  EXPECT_EQ(error_number(store_->change_mode(root("l"), 0600)), EOPNOTSUPP);
  EXPECT_EQ(look("l").attributes.mtime, (Timestamp{2, 3}));
  EXPECT_EQ(look("l").attributes.uid, 5u);
  EXPECT_EQ(*store_->xattr(root("l"), "trusted.x"), "1");
  EXPECT_EQ(look("target").attributes.uid, 0u);
  EXPECT_THAT(*store_->xattr_names(root("target")), IsEmpty());
}

TEST_F(StoreAttributes, ReachesAnObjectWithoutAName) {
  make("f", S_IFREG | 0644);
  const auto fd = store_->open_path(root("f"));
  ASSERT_TRUE(store_->remove(root("f"), false).ok());
  const ObjectRef object{fd->get(), ""};
  EXPECT_TRUE(store_->change_mode(object, 0600).ok());
  EXPECT_TRUE(store_->set_xattr(object, "user.a", "1", 0).ok());
  const auto entry = store_->look_up(object);
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->attributes.mode, S_IFREG | 0600u);
  EXPECT_EQ(entry->attributes.nlink, 0u);
}

TEST_F(StoreAttributes, OurMarksAreNeitherVisibleNorForgeable) {
  ASSERT_TRUE(store_->copy_up(root("f"), lower_file(10000)).ok());
  const Marks before = look("f").marks;
  EXPECT_THAT(*store_->xattr_names(root("f")), IsEmpty());
  for (const char* name : {"trusted.varve.base", "trusted.varve.origin", "user.varve.base",
                           "trusted.overlay.opaque", "user.overlay.redirect"}) {
    EXPECT_EQ(store_->xattr(root("f"), name).error().value, ENODATA) << name;
    ASSERT_TRUE(store_->set_xattr(root("f"), name, "forged", 0).ok()) << name;
    EXPECT_EQ(*store_->xattr(root("f"), name), "forged") << name;
    EXPECT_THAT(*store_->xattr_names(root("f")), Contains(name));
  }
  const Marks now = look("f").marks;
  EXPECT_EQ(now.origin, before.origin);
  EXPECT_EQ(now.map_id, before.map_id);
  EXPECT_FALSE(now.opaque);
  EXPECT_FALSE(now.redirect);
  ASSERT_TRUE(store_->remove_xattr(root("f"), "trusted.varve.base").ok());
  EXPECT_TRUE(look("f").marks.base);
}

TEST_F(StoreAttributes, EscapedNamesMayBeEscapedAgain) {
  make("f", S_IFREG | 0644);
  ASSERT_TRUE(store_->set_xattr(root("f"), "user.varve.escaped.x", "1", 0).ok());
  EXPECT_THAT(*store_->xattr_names(root("f")), UnorderedElementsAre("user.varve.escaped.x"));
}

TEST_F(StoreAttributes, KeepsMarksOfDirectories) {
  CopyUp source;
  source.attributes.mode = S_IFDIR | 0755;
  source.origin = {LayerSlot(3), 99};
  ASSERT_TRUE(store_->copy_up(root("d"), source).ok());
  ASSERT_TRUE(store_->set_redirect(root("d"), "/old/place").ok());
  ASSERT_TRUE(store_->set_opaque(root("d")).ok());
  open_store();
  const Marks marks = look("d").marks;
  EXPECT_EQ(*marks.redirect, "/old/place");
  EXPECT_TRUE(marks.opaque);
  EXPECT_EQ(marks.origin, (Origin{LayerSlot(3), 99}));
}

TEST_F(StoreAttributes, ADamagedMarkIsAnError) {
  make("f", S_IFREG | 0644);
  ASSERT_EQ(::setxattr(in_upper("f").c_str(), "trusted.varve.base", "\7", 1, 0), 0);
  EXPECT_EQ(store_->look_up(root("f")).error().value, EIO);
}

}  // namespace
}  // namespace varve::upper
