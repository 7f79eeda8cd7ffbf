// Fuzz target: the union of three layers made up from the input, compared name by name with a plain model that lays one
// tree over the other. Input: 3 bytes an object: u8 layer and kind, u8 path, u8 more of it (the path of a redirect).

#include <sys/stat.h>

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "fs/base/check.h"
#include "fs/view/lower_stack.h"
#include "tests/unit/view/memory_layer.h"

namespace varve::view {
namespace {

constexpr std::size_t kLayers = 3;
constexpr std::size_t kMaxObjects = 40;
constexpr std::size_t kMaxRedirects = 6;  // each copies a tree: the model would grow without bound
constexpr std::array<std::string_view, 4> kNames = {"a", "b", "c", "long name"};

// What one layer says of one path.
struct Object {
  enum class Kind : std::uint8_t {
    kFile,
    kSymlink,
    kDirectory,
    kOpaque,
    kRedirect,
    kWhiteout
  } kind = Kind::kFile;
  std::string redirect;
  bool is_directory() const {
    return kind == Kind::kDirectory || kind == Kind::kOpaque || kind == Kind::kRedirect;
  }
};
using LayerModel = std::map<std::string, Object>;  // ascending: a directory comes before what is in it

// 2 bits for each name, from the low end; `depth` 1..3.
std::string path_of(std::uint8_t bits, std::size_t depth) {
  std::string path;
  for (std::size_t i = 0; i < depth; ++i) path.append("/").append(kNames[bits >> (2 * i) & 3]);
  return path;
}

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

// Enters the directories above it, too; nothing when one of them is something else in this layer.
void enter(LayerModel& layer, const std::string& path, const Object& object) {
  std::string parent = parent_of(path);
  for (; !parent.empty(); parent = parent_of(parent)) {
    const auto found = layer.find(parent);
    if (found != layer.end() && !found->second.is_directory()) return;
  }
  if (!layer.emplace(path, object).second) return;
  for (parent = parent_of(path); !parent.empty(); parent = parent_of(parent)) {
    layer.emplace(parent, Object{Object::Kind::kDirectory, ""});
  }
}

std::array<LayerModel, kLayers> layers_from(std::span<const std::uint8_t> input) {
  std::array<LayerModel, kLayers> layers;
  std::size_t redirects = 0;
  for (std::size_t i = 0; i < kMaxObjects && input.size() >= 3; ++i, input = input.subspan(3)) {
    const std::uint8_t what = input[0];
    Object object{static_cast<Object::Kind>((what >> 2) % 6), ""};
    if (object.kind == Object::Kind::kRedirect) {
      if (++redirects > kMaxRedirects) continue;
      object.redirect = path_of(input[2], 1 + (input[2] >> 6) % 3);
    }
    const std::size_t depth = 1 + (input[1] >> 6) % 3;
    enter(layers[what % kLayers], path_of(input[1], depth), object);
  }
  return layers;
}

struct BuiltLayer {
  std::shared_ptr<MemoryLayer> layer;
  std::map<std::string, LowerId> ids;
};

BuiltLayer build(const LayerModel& model) {
  BuiltLayer built{std::make_shared<MemoryLayer>("fuzz"), {{"", LowerId(1)}}};
  for (const auto& [path, object] : model) {
    if (object.kind == Object::Kind::kWhiteout) {
      built.layer->add_whiteout(path);
      continue;
    }
    std::uint64_t number = 0;
    if (object.is_directory()) {
      number = built.layer->add_directory(path);
      if (object.kind == Object::Kind::kOpaque) built.layer->mark_opaque(number);
      if (object.kind == Object::Kind::kRedirect) built.layer->mark_redirect(number, object.redirect);
    } else {
      number = object.kind == Object::Kind::kFile ? built.layer->add_file(path, "x")
                                                  : built.layer->add_symlink(path, "x");
    }
    built.ids.emplace(path, LowerId(number));
  }
  return built;
}

// The union as a tree without layers.
struct Seen {
  LowerRef top;
  bool is_directory = false;
  std::map<std::string, std::shared_ptr<const Seen>> children;
};
using SeenPtr = std::shared_ptr<const Seen>;

SeenPtr find(SeenPtr at, std::string_view path) {
  while (at != nullptr && !path.empty()) {
    path.remove_prefix(1);
    const std::size_t slash = std::min(path.find('/'), path.size());
    const auto child = at->children.find(std::string(path.substr(0, slash)));
    at = child == at->children.end() ? nullptr : child->second;
    path.remove_prefix(slash);
  }
  return at;
}

// Lays layers over what lies below them, one at a time, from the bottom.
class Union {
 public:
  void lay(const LayerModel& model, const BuiltLayer& built, LayerSlot slot) {
    root_ = merge(model, built, slot, "", root_);
  }
  const SeenPtr& root() const { return root_; }

 private:
  SeenPtr merge(const LayerModel& model, const BuiltLayer& built, LayerSlot slot,
                const std::string& directory, const SeenPtr& below) const {
    auto seen = std::make_shared<Seen>();
    seen->top = LowerRef{slot, built.ids.at(directory)};
    seen->is_directory = true;
    if (below != nullptr && below->is_directory) seen->children = below->children;
    for (const auto& name : kNames) {
      const std::string path = directory + "/" + std::string(name);
      const auto found = model.find(path);
      if (found == model.end()) continue;
      const SeenPtr under =
          seen->children.contains(std::string(name)) ? seen->children[std::string(name)] : nullptr;
      seen->children.erase(std::string(name));
      const Object& object = found->second;
      if (object.kind == Object::Kind::kWhiteout) continue;
      if (!object.is_directory()) {
        seen->children[std::string(name)] =
            std::make_shared<Seen>(Seen{{slot, built.ids.at(path)}, false, {}});
        continue;
      }
      SeenPtr continues = under;
      if (object.kind == Object::Kind::kOpaque) continues = nullptr;
      if (object.kind == Object::Kind::kRedirect) continues = find(root_, object.redirect);
      seen->children[std::string(name)] = merge(model, built, slot, path, continues);
    }
    return seen;
  }

  SeenPtr root_;
};

void compare(const LowerStack& stack, const MergedDirectoryPtr& directory, const Seen& wanted) {
  std::set<std::string> listed;
  const Status status =
      stack.for_each(directory, [&](std::string_view name, LowerRef top, std::uint32_t type) {
        VARVE_CHECK(listed.emplace(name).second);  // each name once
        const auto child = wanted.children.find(std::string(name));
        VARVE_CHECK(child != wanted.children.end());
        VARVE_CHECK(child->second->top == top && child->second->is_directory == (type == S_IFDIR));
        return true;
      });
  VARVE_CHECK(status.ok() && listed.size() == wanted.children.size());
  for (const std::string_view name : kNames) {
    const auto found = stack.look_up(directory, *Name::parse(name));
    VARVE_CHECK(found.ok());
    const auto child = wanted.children.find(std::string(name));
    VARVE_CHECK(found->has_value() == (child != wanted.children.end()));
    if (!found->has_value()) continue;
    VARVE_CHECK((*found)->top == child->second->top);
    VARVE_CHECK(((*found)->directory != nullptr) == child->second->is_directory);
    if (child->second->is_directory) compare(stack, (*found)->directory, *child->second);
  }
}

}  // namespace
}  // namespace varve::view

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace varve;
  const auto models = view::layers_from({data, size});
  std::vector<std::shared_ptr<layer::Layer>> layers;  // top first
  view::Union all;
  for (std::size_t i = 0; i < models.size(); ++i) {
    const view::BuiltLayer built = view::build(models[i]);
    layers.insert(layers.begin(), built.layer);
    all.lay(models[i], built, LayerSlot(static_cast<std::uint16_t>(i + 1)));
  }
  const view::LowerStack stack(std::move(layers));
  view::compare(stack, stack.root(), *all.root());
  return 0;
}
