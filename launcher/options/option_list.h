#pragma once

// OptionList: declares options on CLI11, but only those that a command line may hold. CLI11 compares each new one with all before, name
// by name; for the hundred of `varve run` that took longer than all the rest of a plan. A command line that asks for help gets all.
// Thread rule: one thread. Borrows the CLI::App and the arguments.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <bitset>
#include <string>
#include <string_view>
#include <vector>

namespace varve::launcher {

// How an option looks in --help.
struct OptionLook {
  const char* type = nullptr;   // of its value, in place of TEXT
  const char* group = nullptr;  // its heading; empty: it is not shown
};

class OptionList {
 public:
  OptionList(CLI::App& app, const std::vector<std::string>& arguments) : app_(app) {
    for (const std::string_view word : arguments) {
      if (word.starts_with("--")) {
        long_names_.push_back(word.substr(0, word.find('=')));
      } else if (word.starts_with('-')) {
        for (const char letter : word.substr(1)) letters_.set(static_cast<unsigned char>(letter));
      }
    }
    all_ = may_hold("-h,--help");
  }

  // `names`: "-m,--memory".
  template <class Target>
  void add_option(const char* names, Target& to, const char* help, OptionLook look = {}) {
    if (may_hold(names)) show(app_.add_option(names, to, help), look);
  }
  void add_flag(const char* names, bool& to, const char* help, OptionLook look = {}) {
    if (may_hold(names)) show(app_.add_flag(names, to, help), look);
  }
  // An option that may be given several times. CLI11 lets such a one swallow words up to the next option; ours take one each time.
  void add_repeated(const char* names, std::vector<std::string>& to, const char* help, OptionLook look = {}) {
    if (!may_hold(names)) return;
    CLI::Option* const option = app_.add_option(names, to, help);
    option->allow_extra_args(false)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    show(option, look);
  }
  // After parsing.
  bool is_given(const char* name) const {
    const CLI::Option* const option = app_.get_option_no_throw(name);
    return option != nullptr && option->count() > 0;
  }

 private:
  bool may_hold(std::string_view names) const {
    for (std::size_t begin = 0; begin <= names.size();) {
      const std::size_t end = std::min(names.find(',', begin), names.size());
      const std::string_view name = names.substr(begin, end - begin);
      const bool is_long = name.starts_with("--");
      if (is_long && std::find(long_names_.begin(), long_names_.end(), name) != long_names_.end())
        return true;
      if (!is_long && letters_.test(static_cast<unsigned char>(name.back()))) return true;
      begin = end + 1;
    }
    return all_;
  }
  static void show(CLI::Option* option, OptionLook look) {
    if (look.type != nullptr) option->type_name(look.type);
    if (look.group != nullptr) option->group(look.group);
  }

  CLI::App& app_;
  std::vector<std::string_view> long_names_;
  std::bitset<256> letters_;
  bool all_ = false;
};

}  // namespace varve::launcher
