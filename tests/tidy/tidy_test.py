#!/usr/bin/env python3
"""Shows that tidy.py finds what it is for: each test plants one violation in a tree that has none."""

import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cpp_shape  # noqa: E402
import tidy  # noqa: E402

HEADER = "#pragma once\n\n// A thing. Thread rule: none.\n"


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="varve-tidy.")
        self.addCleanup(shutil.rmtree, self.root)
        self.plant("fs/base/good.h", HEADER + "int good();\n")

    def plant(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def found(self):
        return list(tidy.violations(self.root))

    def assert_one(self, path, words):
        found = self.found()
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(path + ":"), found)
        self.assertIn(words, found[0])

    def assert_none(self):
        self.assertEqual(self.found(), [])

    def test_a_tree_without_violations_passes(self):
        self.plant("fs/view/a.cc", '#include "fs/upper/upper_store.h"\n#include "fs/base/good.h"\n#include <vector>\n')
        self.plant("fs/fuse/a.cc", "#include <fuse_lowlevel.h>\n")
        self.plant("launcher/a.cc", '#include "imagetool/image/store/store.h"\n')
        self.assert_none()

    def test_an_include_against_the_arrows_is_found(self):
        self.plant("fs/base/a.cc", '#include "fs/layer/layer.h"\n')
        self.assert_one("fs/base/a.cc:1", "base includes")

    def test_layer_and_upper_do_not_know_each_other(self):
        self.plant("fs/layer/a.cc", '#include "fs/upper/upper_store.h"\n')
        self.assert_one("fs/layer/a.cc:1", "layer includes")

    def test_upper_may_include_the_interface_of_a_layer_only(self):
        self.plant("fs/upper/a.cc", '#include "fs/layer/layer.h"\n#include "fs/layer/layer_file.h"\n')
        self.assert_one("fs/upper/a.cc:2", "layer_file.h")

    def test_the_launcher_reaches_only_the_store_library(self):
        self.plant("launcher/a.cc", '#include "imagetool/image/store/store.h"\n#include "imagetool/image/writer/layer_writer.h"\n')
        self.assert_one("launcher/a.cc:2", "layer_writer.h")

    def test_the_store_library_does_not_include_the_rest_of_image(self):
        self.plant("imagetool/image/store/store.cc", '#include "imagetool/image/writer/layer_writer.h"\n')
        self.assert_one("imagetool/image/store/store.cc:1", "store includes")

    def test_libfuse_outside_its_room_is_found(self):
        self.plant("fs/view/a.cc", "#include <fuse_lowlevel.h>\n")
        self.assert_one("fs/view/a.cc:1", "libfuse")

    def test_a_libfuse_that_may_be_another_than_the_linked_one_is_found(self):
        self.plant("fs/fuse/a.cc", "#include <fuse3/fuse_lowlevel.h>\n")
        self.assert_one("fs/fuse/a.cc:1", "whichever libfuse")

    def test_a_relative_include_is_found(self):
        self.plant("fs/view/a.cc", '#include "view.h"\n')
        self.assert_one("fs/view/a.cc:1", "no path from the root")

    def test_the_product_does_not_include_tests(self):
        self.plant("fs/view/a.cc", '#include "tests/support/x.h"\n')
        self.assert_one("fs/view/a.cc:1", "belongs to the tests")

    def test_a_header_without_pragma_once_is_found(self):
        self.plant("fs/base/bad.h", "// A thing.\nint bad();\n")
        self.assert_one("fs/base/bad.h:1", "#pragma once")

    def test_a_header_without_comment_is_found(self):
        self.plant("fs/base/bad.h", "#pragma once\nint bad();\n")
        self.assert_one("fs/base/bad.h:1", "no comment")

    def test_using_namespace_in_a_header_is_found(self):
        self.plant("fs/base/bad.h", HEADER + "using namespace std;\n")
        self.assert_one("fs/base/bad.h:4", "using namespace")

    def test_a_long_file_is_found(self):
        self.plant("fs/base/long.cc", "int x;\n" * 801)
        self.assert_one("fs/base/long.cc:800", "801 lines")

    def test_a_file_of_the_greatest_length_passes(self):
        self.plant("fs/base/long.cc", "int x;\n" * 800)
        self.assert_none()

    def test_a_long_function_is_found(self):
        self.plant("fs/base/a.cc", "namespace a {\nint f(int x)\n{\n" + "  x++;\n" * 68 + "}\n}\n")
        self.assert_one("fs/base/a.cc:2", "function f has 71 lines")

    def test_a_function_of_the_greatest_length_passes(self):
        self.plant("fs/base/a.cc", "namespace a {\nint f(int x) {\n" + "  x++;\n" * 68 + "}\n}\n")
        self.assert_none()

    def test_a_mark_of_unfinished_work_is_found_in_sources_and_scripts(self):
        self.plant("fs/base/a.cc", "// " + "TO" + "DO: later\n")
        self.plant("scripts/do-it", "# " + "FIX" + "ME\n")
        self.assertEqual(len(self.found()), 2, self.found())


class ShapeTest(unittest.TestCase):
    def names(self, text):
        return [(function.name, function.first_line, function.last_line) for function in cpp_shape.functions(text)]

    def test_functions_methods_and_tests_are_told_from_other_braces(self):
        text = """namespace a::b {
struct S {
  int x{0};
  int y = {1};
  S(int a) : x{a}, y(a) {
    y = 2;
  }
  int get() const noexcept { return x; }
  bool operator==(const S&) const = default;
};
enum class E : int { kA, kB };
const char* text = "{ ( ";  // {
const int list[] = {1, 2};
template <class T>
auto f(T x) -> std::vector<T> {
  auto lambda = [&](int a) { return a; };
  if (x) { return {}; }
}
TEST(Noun, Promise) {
  EXPECT_EQ('{', R"x({{)x"[0]);
}
}  // namespace a::b
"""
        self.assertEqual(
            self.names(text), [("S", 5, 7), ("get", 8, 8), ("f", 14, 18), ("TEST", 19, 21)]
        )

    def test_a_default_argument_with_braces_does_not_hide_the_body(self):
        self.assertEqual(self.names("int f(S s = {}, int n = 1'000) {\n}\n"), [("f", 1, 2)])


if __name__ == "__main__":
    unittest.main()
