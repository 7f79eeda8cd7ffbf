// Marks that change while they are read.

#include <sys/syscall.h>

#include <functional>
#include <utility>

#include "tests/unit/upper/upper_fixture.h"

namespace {

// What happens once, after the next list of xattrs was read.
std::function<void()> after_listing;  // NOLINT(cert-err58-cpp)

}  // namespace

// In place of the C library's: an open file is asked for its xattrs by this.
extern "C" ssize_t listxattr(const char* path, char* list, size_t size) {
  const ssize_t listed = ::syscall(SYS_listxattr, path, list, size);
  const int error = errno;
  if (const auto then = std::exchange(after_listing, nullptr)) then();
  errno = error;
  return listed;
}

namespace varve::upper {
namespace {

class MarksRace : public upper::testing::OpenUpperFixture {};

// The base mark stands for the origin until the file is settled; who lost the origin would take it for another file.
TEST_F(MarksRace, AFileThatIsSettledMeanwhileKeepsItsOrigin) {
  const CopyUp source = lower_file(10000);
  ASSERT_TRUE(store_->copy_up(root("f"), source).ok());
  const auto file = open_cow("f");
  const auto fd = store_->open_path(root("f"));
  ASSERT_TRUE(fd.ok());
  const std::vector<std::byte> whole(10000, std::byte{1});
  ASSERT_TRUE(file->write(0, whole).ok());
  after_listing = [&] { ASSERT_TRUE(file->sync(false).ok()); };
  const auto found = store_->look_up({fd->get(), ""});
  ASSERT_TRUE(file->is_ordinary());
  ASSERT_TRUE(found.ok());
  EXPECT_FALSE(found->marks.base);
  EXPECT_EQ(found->marks.origin, source.origin);
}

}  // namespace
}  // namespace varve::upper
