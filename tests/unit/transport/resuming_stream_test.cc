#include "imagetool/transport/resuming_stream.h"

#include <gtest/gtest.h>

#include <cstring>

namespace varve::transport {
namespace {

// Gives what is left of a text from `offset` on, breaking off after every `piece_bytes`.
class BreakingStream : public ByteStream {
 public:
  BreakingStream(const std::string& text, std::uint64_t offset, std::size_t piece_bytes, int why)
      : text_(text), next_(offset), left_(piece_bytes), why_(why) {}
  ResultOrFailure<std::size_t> read(std::span<std::byte> into) override {
    if (next_ == text_.size()) return std::size_t{0};
    if (left_ == 0) return Failure{why_, "broken"};
    const std::size_t count = std::min({into.size(), text_.size() - next_, left_});
    std::memcpy(into.data(), text_.data() + next_, count);
    next_ += count;
    left_ -= count;
    return count;
  }

 private:
  const std::string& text_;
  std::size_t next_;
  std::size_t left_;
  int why_;
};

struct Trial {
  std::string text;
  std::size_t piece_bytes = 0;
  int why = EIO;
  int opened = 0;

  // What comes, then " and " and the failure.
  std::string run(std::uint64_t offset = 0) {
    auto stream = ResumingStream::open(
        [this](std::uint64_t at) -> ResultOrFailure<std::unique_ptr<ByteStream>> {
          ++opened;
          return std::unique_ptr<ByteStream>(new BreakingStream(text, at, piece_bytes, why));
        },
        offset);
    std::string got;
    std::vector<std::byte> piece(100000);
    for (;;) {
      const auto count = (*stream)->read(piece);
      if (!count.ok()) return got + " and " + std::to_string(count.error().error_number);
      if (*count == 0) return got;
      got.append(reinterpret_cast<const char*>(piece.data()), *count);
    }
  }
};

TEST(ResumingStream, GoesOnWhereItBrokeOff) {
  Trial trial{.text = "0123456789", .piece_bytes = 3};
  EXPECT_EQ(trial.run(), trial.text);
  EXPECT_EQ(trial.opened, 4);
}

TEST(ResumingStream, BeginsWhereItIsToldTo) {
  Trial trial{.text = "0123456789", .piece_bytes = 3};
  EXPECT_EQ(trial.run(4), "456789");
}

TEST(ResumingStream, GivesUpWhenItBreaksOffAgainAndAgain) {
  Trial trial{.text = "0123456789", .piece_bytes = 1};
  EXPECT_EQ(trial.run(), "012345 and 5");
  EXPECT_EQ(trial.opened, kMostBreaks + 1);
}

TEST(ResumingStream, DoesNotGiveUpWhileMuchComes) {
  Trial trial{.text = std::string(20 * kProgressBytes, 'a'), .piece_bytes = kProgressBytes};
  EXPECT_EQ(trial.run(), trial.text);
  EXPECT_EQ(trial.opened, 20);
}

TEST(ResumingStream, OtherFailuresAreFinal) {
  Trial trial{.text = "0123456789", .piece_bytes = 3, .why = EACCES};
  EXPECT_EQ(trial.run(), "012 and 13");
  EXPECT_EQ(trial.opened, 1);
}

}  // namespace
}  // namespace varve::transport
