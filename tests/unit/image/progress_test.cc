#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "imagetool/human_text.h"
#include "imagetool/live_lines.h"
#include "imagetool/part_lines.h"

namespace varve::imagetool {
namespace {

using image::PartProgress;
using State = PartProgress::State;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A terminal, as far as LiveLines needs one: what it shows, row by row, after what was written to it. A line that is too long is broken;
// when it gets narrower, all lines are broken anew, as VTE and its like do.
class Terminal {
 public:
  explicit Terminal(TerminalSize size) : size_(size) {}
  void write(const std::string& text) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\r') {
        column_ = 0;
      } else if (text[i] == '\n') {
        new_row();
      } else if (text[i] == '\x1b') {
        const std::size_t end = text.find_first_of("AKJ", i);
        ASSERT_NE(end, std::string::npos);
        escape(text[end], text.substr(i + 2, end - i - 2));
        i = end;
      } else {
        if (column_ == size_.columns) new_row();
        row().resize(std::max(row().size(), column_ + 1), ' ');
        row()[column_++] = text[i];
      }
    }
  }
  void resize(TerminalSize size) {
    std::vector<std::string> broken;
    for (const std::string& one : rows_) {
      std::size_t at = 0;
      do {
        broken.push_back(one.substr(at, size.columns));
        at += size.columns;
      } while (at < one.size());
    }
    rows_ = broken;
    row_ = rows_.size() - 1;
    size_ = size;
  }
  // Without the row of the cursor, when that is empty and the last.
  std::vector<std::string> shown() const {
    std::vector<std::string> rows = rows_;
    while (!rows.empty() && rows.back().empty()) rows.pop_back();
    return rows;
  }
  std::size_t column() const { return column_; }

 private:
  std::string& row() { return rows_[row_]; }
  void new_row() {
    if (++row_ == rows_.size()) rows_.emplace_back();
    column_ = 0;
  }
  void escape(char what, const std::string& number) {
    if (what == 'A') {
      // The rows that scrolled away cannot be reached.
      const std::size_t top = rows_.size() > size_.rows ? rows_.size() - size_.rows : 0;
      row_ -= std::min<std::size_t>(std::stoul(number), row_ - top);
    }
    if (what == 'K' || what == 'J') row().resize(std::min(row().size(), column_));
    if (what == 'J') rows_.resize(row_ + 1);
  }

  TerminalSize size_;
  std::vector<std::string> rows_ = {""};
  std::size_t row_ = 0, column_ = 0;
};

constexpr TerminalSize kUsual{.columns = 40, .rows = 10};

TEST(LiveLines, StandInPlaceOfThoseBefore) {
  Terminal terminal(kUsual);
  LiveLines lines;
  terminal.write("$ command\n");
  terminal.write(lines.draw({}, {"one", "two, which is longer"}, kUsual));
  EXPECT_THAT(terminal.shown(), ElementsAre("$ command", "one", "two, which is longer"));
  EXPECT_EQ(terminal.column(), 0U);
  terminal.write(lines.draw({}, {"three"}, kUsual));
  EXPECT_THAT(terminal.shown(), ElementsAre("$ command", "three"));
  terminal.write(lines.clear(kUsual));
  EXPECT_THAT(terminal.shown(), ElementsAre("$ command"));
  EXPECT_TRUE(lines.empty());
  EXPECT_EQ(lines.clear(kUsual), "");
}

TEST(LiveLines, KeptOnesStayAboveThem) {
  Terminal terminal(kUsual);
  LiveLines lines;
  terminal.write(lines.draw({}, {"a", "b", "c"}, kUsual));
  terminal.write(lines.draw({"a is done"}, {"b", "c"}, kUsual));
  terminal.write(lines.draw({"b is done", "c is done"}, {}, kUsual));
  EXPECT_THAT(terminal.shown(), ElementsAre("a is done", "b is done", "c is done"));
}

TEST(LiveLines, AreNeverWiderThanTheTerminal) {
  for (std::size_t columns = 1; columns < 60; ++columns) {
    const TerminalSize size{.columns = columns, .rows = 10};
    LiveLines lines;
    const std::string text = lines.draw({std::string(50, 'k')}, {std::string(50, 'l')}, size);
    EXPECT_EQ(std::count(text.begin(), text.end(), 'k'), std::clamp<long>(columns - 1, 1, 50)) << columns;
    EXPECT_EQ(std::count(text.begin(), text.end(), 'l'), std::clamp<long>(columns - 1, 1, 50)) << columns;
  }
}

TEST(LiveLines, AreNeverMoreThanTheTerminalHasRows) {
  const TerminalSize low{.columns = 40, .rows = 4};
  Terminal terminal(low);
  LiveLines lines;
  for (int i = 0; i < 3; ++i) {
    const std::string number = std::to_string(i);
    terminal.write(lines.draw({}, {"a" + number, "b", "c", "d", "e"}, low));
  }
  EXPECT_THAT(terminal.shown(), ElementsAre("a2", "b", "c"));
}

TEST(LiveLines, GoOnInATerminalThatBecameNarrower) {
  for (const std::size_t columns : {39UL, 20UL, 13UL, 7UL, 2UL}) {
    const TerminalSize narrow{.columns = columns, .rows = 40};
    Terminal terminal({.columns = 40, .rows = 40});
    LiveLines lines;
    const std::string wide(60, 'w');
    terminal.write("$\n");
    terminal.write(lines.draw({}, {wide, "", "short"}, {.columns = 40, .rows = 40}));
    terminal.resize(narrow);
    terminal.write(lines.draw({}, {wide, "x"}, narrow));
    EXPECT_THAT(terminal.shown(), ElementsAre("$", std::string(columns - 1, 'w'), "x")) << columns;
  }
}

TEST(LiveLines, ChangeNoModeOfTheTerminal) {
  LiveLines lines;
  const std::string text =
      lines.draw({"k"}, {"l"}, kUsual) + lines.draw({}, {"m"}, kUsual) + lines.clear(kUsual);
  EXPECT_EQ(text.find('?'), std::string::npos);                      // as in "\x1b[?25l"
  EXPECT_EQ(text.find('m', text.find('m') + 1), std::string::npos);  // nor colours
}

class PartLinesTest : public ::testing::Test {
 protected:
  static PartProgress::Part part(const std::string& name, State state, std::uint64_t done_mb) {
    return {name, 20'000'000, done_mb * 1'000'000, state, begin_, begin_ + std::chrono::seconds(4)};
  }
  static constexpr PartLines::Time begin_{std::chrono::hours(1)};
  PartLines lines_{"fetching", begin_};
};

TEST_F(PartLinesTest, TellTheStateOfAllAndOfThoseUnderWay) {
  const PartLines::Parts parts = {part("aaaa", State::kDone, 20), part("bbbb", State::kRunning, 5),
                                  part("cccc", State::kThere, 0), part("dddd", State::kRunning, 0),
                                  part("eeee", State::kWaiting, 0)};
  EXPECT_THAT(lines_.live(parts, begin_ + std::chrono::seconds(5)),
              ElementsAre("fetching: 2 of 5 layers, 25.0 MB of 80.0 MB, 5.00 MB/s, 11 s left",
                          "  bbbb  5.00 MB of 20.0 MB, 1.00 MB/s", "  dddd  0 B of 20.0 MB, 0 B/s"));
}

TEST_F(PartLinesTest, OfManyUnderWayAFewAreShown) {
  const PartLines::Parts parts(9, part("aaaa", State::kRunning, 1));
  const auto lines = lines_.live(parts, begin_ + std::chrono::seconds(1));
  ASSERT_THAT(lines, SizeIs(1 + kMostLiveParts));
  EXPECT_EQ(lines[kMostLiveParts - 1], "  aaaa  1.00 MB of 20.0 MB, 1.00 MB/s");
  EXPECT_EQ(lines.back(), "  and 4 more");
  EXPECT_THAT(lines_.live(PartLines::Parts(kMostLiveParts, parts[0]), begin_).back(),
              ::testing::StartsWith("  aaaa"));
}

TEST_F(PartLinesTest, TellEachBeginAndEndOnce) {
  PartLines::Parts parts = {part("aaaa", State::kWaiting, 0), part("bbbb", State::kThere, 0),
                            part("cccc", State::kWaiting, 0)};
  EXPECT_THAT(lines_.news(parts, true), ElementsAre("bbbb  already there"));
  parts[0].state = State::kRunning;
  EXPECT_THAT(lines_.news(parts, true), ElementsAre("aaaa  fetching 20.0 MB"));
  EXPECT_THAT(lines_.news(parts, true), IsEmpty());
  parts[0] = part("aaaa", State::kDone, 20);
  parts[2] = part("cccc", State::kDone, 20);
  EXPECT_THAT(lines_.news(parts, true), ElementsAre("aaaa  done, 20.0 MB in 4 s", "cccc  fetching 20.0 MB",
                                                    "cccc  done, 20.0 MB in 4 s"));
  EXPECT_THAT(PartLines("fetching", begin_).news(parts, false),
              ElementsAre("aaaa  done, 20.0 MB in 4 s", "bbbb  already there", "cccc  done, 20.0 MB in 4 s"));
}

TEST(PartProgress, SumsWhatManyThreadsTell) {
  PartProgress progress("fetching", {{.name = "aaaa", .total_bytes = 4000}, {.name = "bbbb"}});
  progress.begin(0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 1000; ++k) progress.advance(0, 1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(progress.parts()[0].state, State::kRunning);
  progress.end(0);
  EXPECT_EQ(progress.parts()[0].done_bytes, 4000U);
  EXPECT_EQ(progress.parts()[0].state, State::kDone);
  EXPECT_EQ(progress.parts()[1].state, State::kWaiting);
}

TEST(HumanText, RoundsToThreeDigits) {
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1500), "1.50 kB");
  EXPECT_EQ(human_bytes(999'600), "1.00 MB");
  EXPECT_EQ(human_seconds(59.4), "59 s");
  EXPECT_EQ(human_seconds(187), "3:07 min");
}

}  // namespace
}  // namespace varve::imagetool
