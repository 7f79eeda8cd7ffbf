#pragma once

// The seam between nlohmann-json, which throws, and the rest, which does not: parsing of text that is not
// trusted, and typed look-ups that answer with a sentence. Included by .cc files only.

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fs/base/result.h"

namespace varve::image {

using Json = nlohmann::json;

inline Failure json_failure(const std::string& what) {
  return Failure{EINVAL, what};
}

// Returns: "not valid JSON ..." in one line when `text` is none.
// Nesting is bounded (the parser recurses when a deep value is destroyed): deeper is refused.
inline ResultOrFailure<Json> parse_json(std::string_view text) {
  constexpr int kMaxDepth = 64;
  const auto check_depth = [](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) throw std::length_error("nested too deeply");
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check_depth);
  } catch (const Json::parse_error& error) {
    return json_failure("not valid JSON at byte " + std::to_string(error.byte));
  } catch (const std::exception& error) {
    return json_failure(std::string("not usable JSON: ") + error.what());
  }
}

inline ResultOrFailure<Json> parse_json_object(std::string_view text) {
  auto value = parse_json(text);
  if (value.ok() && !value->is_object()) return json_failure("not a JSON object");
  return value;
}

// json.dump() that cannot throw: bytes that are no UTF-8 become U+FFFD.
inline std::string json_text(const Json& value, int indent = -1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// Reads fields of one object; the first that has another type than asked for is remembered and named by
// failure(). Absent and null fields leave the target as it is.
class JsonReader {
 public:
  JsonReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {}

  void read(const char* key, std::string& to) {
    if (const Json* value = find(key); value && check(key, value->is_string(), "a string")) {
      to = value->get<std::string>();
    }
  }
  void read(const char* key, bool& to) {
    if (const Json* value = find(key); value && check(key, value->is_boolean(), "true or false")) {
      to = value->get<bool>();
    }
  }
  // A non-negative whole number up to `limit`.
  void read(const char* key, std::uint64_t& to, std::uint64_t limit) {
    const Json* value = find(key);
    if (!value || !check(key, value->is_number_unsigned(), "a whole number")) return;
    if (check(key, value->get<std::uint64_t>() <= limit, "in range")) to = value->get<std::uint64_t>();
  }
  void read(const char* key, std::vector<std::string>& to) {
    const Json* value = find(key);
    if (!value || !check(key, value->is_array(), "an array of strings")) return;
    std::vector<std::string> items;
    for (const Json& item : *value) {
      if (!check(key, item.is_string(), "an array of strings")) return;
      items.push_back(item.get<std::string>());
    }
    to = std::move(items);
  }
  void read(const char* key, std::map<std::string, std::string>& to) {
    const Json* value = find(key);
    if (!value || !check(key, value->is_object(), "an object of strings")) return;
    for (const auto& [name, item] : value->items()) {
      if (!check(key, item.is_string(), "an object of strings")) return;
      to[name] = item.get<std::string>();
    }
  }
  // The keys of an object ({"80/tcp": {}}).
  void read_keys(const char* key, std::vector<std::string>& to) {
    const Json* value = find(key);
    if (!value || !check(key, value->is_object(), "an object")) return;
    to.clear();
    for (const auto& item : value->items()) to.push_back(item.key());
  }
  // Null when absent.
  const Json* array(const char* key) {
    const Json* value = find(key);
    return value && check(key, value->is_array(), "an array") ? value : nullptr;
  }
  const Json* object(const char* key) {
    const Json* value = find(key);
    return value && check(key, value->is_object(), "an object") ? value : nullptr;
  }

  // Notes a rule that does not fit a type.
  bool check(const char* key, bool good, const char* expected) {
    if (!good && failure_.empty()) failure_ = where_ + ": field \"" + key + "\" is not " + expected;
    return good;
  }
  StatusOrFailure status() const {
    if (failure_.empty()) return {};
    return json_failure(failure_);
  }

 private:
  const Json* find(const char* key) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  const Json& object_;
  std::string where_;
  std::string failure_;
};

}  // namespace varve::image
