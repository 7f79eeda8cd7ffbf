#include "imagetool/recipe/expansion.h"

#include <gmock/gmock.h>

#include <map>

#include "tests/unit/image/scratch_directory.h"

namespace varve::recipe {
namespace {

using image::must;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::optional<std::string> variable(std::string_view name) {
  static const std::map<std::string, std::string, std::less<>> kValues = {
      {"X", "value"}, {"EMPTY", ""}, {"TWO", "one two"}, {"LONG", std::string(1000, 'x')}};
  const auto found = kValues.find(name);
  return found == kValues.end() ? std::nullopt : std::optional(found->second);
}

std::string word(std::string_view text, char escape = '\\') {
  return must(Expansion(variable, escape).word(text));
}
std::string failure(std::string_view text) {
  const auto result = Expansion(variable, '\\').word(text);
  return result.ok() ? "no failure: " + *result : result.error().message;
}

TEST(Expansion, PutsVariablesIn) {
  EXPECT_EQ(word("$X ${X} a${X}b $X.c"), "value value avalueb value.c");
  EXPECT_EQ(word("[$NONE][${NONE}]"), "[][]");
  EXPECT_EQ(word("a$ $-"), "a$ $-");
}

TEST(Expansion, ModifiersChoose) {
  EXPECT_EQ(word("${X:-d} ${NONE:-d} ${EMPTY:-d} ${EMPTY-d} ${NONE-d}"), "value d d  d");
  EXPECT_EQ(word("[${X:+a}] [${NONE:+a}] [${EMPTY:+a}] [${EMPTY+a}]"), "[a] [] [] [a]");
  EXPECT_EQ(word("${NONE:-${NONE:-$X}} ${NONE:-a b}"), "value a b");
  EXPECT_EQ(word("${X:?needed}"), "value");
  EXPECT_THAT(failure("${NONE:?is needed}"), HasSubstr("NONE: is needed"));
  EXPECT_THAT(failure("${EMPTY:?}"), HasSubstr("EMPTY: is not set"));
  EXPECT_EQ(word("${X:-${NONE:?not asked for}}"), "value");
}

TEST(Expansion, EscapesAndQuotesGo) {
  EXPECT_EQ(word("\\$X '$X' \"$X\" \"\\$X\" 'it'\\''s'"), "$X $X value $X it's");
  EXPECT_EQ(word("a\\ b \"c\\d\""), "a b c\\d");
  EXPECT_EQ(word("C:\\dir `$X", '`'), "C:\\dir $X");
}

TEST(Expansion, SaysWhatIsUnfinished) {
  EXPECT_THAT(failure("${X"), HasSubstr("without \"}\""));
  EXPECT_THAT(failure("${NONE:-a"), HasSubstr("without \"}\""));
  EXPECT_THAT(failure("${X*a}"), HasSubstr("expected }"));
  EXPECT_THAT(failure("${}"), HasSubstr("without the name"));
  EXPECT_THAT(failure("'a"), HasSubstr("without a second"));
  EXPECT_THAT(failure("\"a"), HasSubstr("without a second"));
}

TEST(Expansion, BlanksOfVariablesPartWords) {
  const Expansion expansion(variable, '\\');
  EXPECT_THAT(must(expansion.words("a $TWO b")), ElementsAre("a", "one", "two", "b"));
  EXPECT_THAT(must(expansion.words("a \"$TWO\" '' b\\ c")), ElementsAre("a", "one two", "", "b c"));
  EXPECT_THAT(must(expansion.words("$EMPTY")), ElementsAre());
}

TEST(Expansion, DocumentsKeepQuotes) {
  EXPECT_EQ(must(Expansion(variable, '\\').document("\"$X\" '${X}' \\$X \\n \\\\\n")),
            "\"value\" 'value' $X \\n \\\n");
}

TEST(Expansion, IsBounded) {
  std::string nested;
  for (int i = 0; i < 100; ++i) nested += "${NONE:-";
  EXPECT_THAT(failure(nested), HasSubstr("32 deep"));
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "$LONG";
  EXPECT_THAT(failure(many), HasSubstr("longer"));
}

}  // namespace
}  // namespace varve::recipe
