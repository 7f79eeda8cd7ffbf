#include "imagetool/recipe/lexer.h"

#include <gmock/gmock.h>

#include "tests/unit/image/scratch_directory.h"

namespace varve::recipe {
namespace {

using image::must;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// "KEYWORD TEXT" of each instruction.
std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> found;
  for (const Instruction& one : must(lex(text, "F")).instructions) found.push_back(one.shown());
  return found;
}
std::string failure(std::string_view text) {
  const auto result = lex(text, "F");
  return result.ok() ? "no failure" : result.error().message;
}

TEST(Lexer, TakesCommentsAndEmptyLinesAway) {
  EXPECT_THAT(lines("# a comment\n\n  from  x \n\t# another\nRUN a # no comment\n"),
              ElementsAre("FROM x", "RUN a # no comment"));
  EXPECT_THAT(lines("\xEF\xBB\xBF"
                    "FROM x\r\nRUN a\r\n"),
              ElementsAre("FROM x", "RUN a"));
  EXPECT_THAT(lines(""), IsEmpty());
}

TEST(Lexer, JoinsContinuedLines) {
  EXPECT_THAT(lines("RUN a \\\n  b \\  \n# within\n\n  c\nRUN d"), ElementsAre("RUN a   b   c", "RUN d"));
  EXPECT_THAT(lines("RUN a\\\\\nRUN b"), ElementsAre("RUN a\\\\", "RUN b"))
      << "an escaped \\ continues nothing";
  EXPECT_THAT(lines("RUN a \\"), ElementsAre("RUN a"));
}

TEST(Lexer, ReadsTheEscapeDirective) {
  EXPECT_THAT(lines("# syntax=docker/dockerfile:1\n# escape=`\nRUN a\\\nRUN b `\n c"),
              ElementsAre("RUN a\\", "RUN b  c"));
  EXPECT_THAT(lines("# a comment\n# escape=`\nRUN b \\\n c"), ElementsAre("RUN b  c")) << "too late";
  EXPECT_THAT(failure("#escape=x\n"), HasSubstr("F:1: escape: expected"));
}

TEST(Lexer, FlagsStandBeforeTheText) {
  const auto file = must(lex("COPY --from=a --link  --chown=\"b c\" d e --no\n", "F"));
  const Instruction& copy = file.instructions.at(0);
  EXPECT_THAT(copy.flags, ElementsAre(Pair("from", "a"), Pair("link", ""), Pair("chown", "\"b c\"")));
  EXPECT_EQ(copy.text, "d e --no");
  EXPECT_EQ(copy.flag("from"), "a");
  EXPECT_FALSE(copy.flag("chmod").has_value());
}

TEST(Lexer, ReadsHereDocuments) {
  const auto file = must(lex("RUN <<EOF cat <<-'X' 3<<Y\na $A\nEOF\n\tb\n\tX\nc\nY\nRUN d\n", "F"));
  ASSERT_EQ(file.instructions.size(), 2U);
  const auto& documents = file.instructions[0].documents;
  ASSERT_EQ(documents.size(), 3U);
  EXPECT_EQ(documents[0].content, "a $A\n");
  EXPECT_TRUE(documents[0].expand);
  EXPECT_EQ(documents[1].content, "b\n");
  EXPECT_FALSE(documents[1].expand);
  EXPECT_EQ(documents[2].name, "Y");
  EXPECT_EQ(file.instructions[1].line, 8U);
  EXPECT_THAT(failure("FROM x\nRUN <<EOF\na\n"), HasSubstr("F:2: RUN: expected a line \"EOF\""));
}

TEST(Lexer, WhatOnlyLooksLikeADocumentIsNone) {
  for (const char* text : {"RUN echo $((1<<2))", "RUN cat <<<word", "RUN echo \"<<EOF\"", "RUN [\"<<EOF\"]",
                           "ENV A=<<EOF", "RUN a << EOF"}) {
    EXPECT_THAT(must(lex(text, "F")).instructions.at(0).documents, IsEmpty()) << text;
  }
}

TEST(Lexer, RefusesWhatIsNoText) {
  EXPECT_THAT(failure(std::string("FROM x\nRUN \0", 12)), HasSubstr("F:2: a byte of zeros"));
  EXPECT_THAT(failure(std::string(kMaxFileBytes + 1, 'a')), HasSubstr("4 MiB"));
  std::string many;
  for (std::size_t i = 0; i <= kMaxInstructions; ++i) many += "A\n";
  EXPECT_THAT(failure(many), HasSubstr("more than 10000"));
}

TEST(Words, ArePartedOutsideOfQuotes) {
  EXPECT_THAT(split_words(" a  'b c' \"d \\\" e\"f g\\ h ", '\\'),
              ElementsAre("a", "'b c'", "\"d \\\" e\"f", "g\\ h"));
}

TEST(ExecForm, IsAJsonArrayOfStrings) {
  EXPECT_THAT(exec_form(" [\"a\", \"b c\"] ").value(), ElementsAre("a", "b c"));
  EXPECT_THAT(exec_form("[]").value(), IsEmpty());
  for (const char* text : {"a", "['a']", "[1]", "[\"a\"", "[\"a\"] && b", "[\"a\"],\"b\":[\"c\"]"}) {
    EXPECT_FALSE(exec_form(text).has_value()) << text;
  }
}

TEST(Assignments, HaveTwoForms) {
  EXPECT_THAT(must(split_assignments("A=1 B=\"x y\" C=", '\\')),
              ElementsAre(Pair("A", "1"), Pair("B", "\"x y\""), Pair("C", "")));
  EXPECT_THAT(must(split_assignments("A  all = the rest ", '\\')), ElementsAre(Pair("A", "all = the rest")));
  for (const char* text : {"", "A", "A=1 B", "=1"}) EXPECT_FALSE(split_assignments(text, '\\').ok()) << text;
}

}  // namespace
}  // namespace varve::recipe
