#include "fs/format/posix_acl.h"

#include <gtest/gtest.h>

namespace varve::format {
namespace {

using Tag = AclEntry::Tag;

const Acl kExtended = {{Tag::kOwner, 7, 0},  {Tag::kUser, 6, 1000}, {Tag::kOwningGroup, 5, 0},
                       {Tag::kGroup, 4, 33}, {Tag::kMask, 6, 0},    {Tag::kOther, 1, 0}};
const Acl kMinimal = {{Tag::kOwner, 6, 0}, {Tag::kOwningGroup, 4, 0}, {Tag::kOther, 0, 0}};

TEST(PosixAcl, ReadsWhatItWrites) {
  for (const Acl& acl : {kExtended, kMinimal}) EXPECT_EQ(parse_acl(format_acl(acl)), acl);
}

// The bytes that setfacl -m u:33:r sends for a file of mode 0755.
TEST(PosixAcl, IsTheKernelsForm) {
  const std::string bytes(
      "\2\0\0\0\1\0\7\0\377\377\377\377\2\0\4\0\41\0\0\0\4\0\5\0\377\377\377\377\20\0\5\0\377\377\377\377"
      "\40\0\5\0\377\377\377\377",
      44);
  const std::optional<Acl> acl = parse_acl(bytes);
  ASSERT_TRUE(acl);
  EXPECT_EQ((*acl)[1], (AclEntry{Tag::kUser, 4, 33}));
  EXPECT_EQ(permissions_of(*acl), 0755u);
  EXPECT_EQ(format_acl(*acl), bytes);
}

TEST(PosixAcl, RefusesWhatIsNone) {
  const std::string good = format_acl(kExtended);
  for (std::size_t size = 0; size < good.size(); ++size) {
    const auto parsed = parse_acl(std::string_view(good).substr(0, size));
    EXPECT_FALSE(parsed) << size;
  }
  Acl unordered = kExtended;
  std::swap(unordered[0], unordered[1]);
  Acl without_mask = kExtended;
  without_mask.erase(without_mask.begin() + 4);
  Acl twice = kMinimal;
  twice.insert(twice.begin(), twice.front());
  Acl too_much = kMinimal;
  too_much[0].permissions = 8;
  for (const Acl& acl : {unordered, without_mask, twice, too_much}) EXPECT_FALSE(parse_acl(format_acl(acl)));
}

TEST(PosixAcl, TheMaskIsTheGroupBits) {
  EXPECT_EQ(permissions_of(kExtended), 0761u);
  EXPECT_EQ(permissions_of(kMinimal), 0640u);
  Acl changed = kExtended;
  change_permissions(changed, 0407);
  EXPECT_EQ(permissions_of(changed), 0407u);
  EXPECT_EQ(changed[2].permissions, 5u);
  EXPECT_EQ(changed[4].permissions, 0u);
}

TEST(PosixAcl, ADefaultListLimitsTheMode) {
  const InheritedAcl inherited = inherit_acl(kExtended, 0666);
  EXPECT_EQ(inherited.permissions, 0660u);
  ASSERT_TRUE(inherited.access);
  EXPECT_EQ(permissions_of(*inherited.access), 0660u);
  EXPECT_EQ((*inherited.access)[1], kExtended[1]);
  const InheritedAcl plain = inherit_acl(kMinimal, 0777);
  EXPECT_EQ(plain.permissions, 0640u);
  EXPECT_FALSE(plain.access);
}

TEST(PosixAcl, OrderedIsWhatTheKernelTakes) {
  Acl acl(kExtended.rbegin(), kExtended.rend());
  acl.insert(acl.begin(), {Tag::kUser, 7, 5});
  EXPECT_FALSE(parse_acl(format_acl(acl)));
  order_acl(acl);
  EXPECT_EQ(acl[1], (AclEntry{Tag::kUser, 7, 5}));
  EXPECT_EQ(parse_acl(format_acl(acl)), acl);
}

}  // namespace
}  // namespace varve::format
