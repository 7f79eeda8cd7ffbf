#include "launcher/seccomp/range_tree.h"

#include <linux/seccomp.h>

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "launcher/seccomp/bpf_steps.h"

namespace varve::launcher {
namespace {

using Program = std::span<const struct sock_filter>;

constexpr std::uint32_t kAllBits = UINT32_MAX;
constexpr std::size_t kReach = UINT8_MAX;  // of a conditional jump, in steps
// In a search, comparisons for equality at one end, one after the other: fewer steps, but deeper.
constexpr int kMaxEqualities = 3;

// What the accumulator holds: a word of struct seccomp_data, the bits of `mask`.
struct Word {
  std::uint32_t offset = UINT32_MAX;  // none
  std::uint32_t mask = 0;
  friend auto operator<=>(const Word&, const Word&) = default;
};
constexpr Word kNumber = {offsetof(struct seccomp_data, nr), kAllBits};
constexpr Word kArchitecture = {offsetof(struct seccomp_data, arch), kAllBits};

using NodeId = std::size_t;

// A decision (k), or a comparison of `word` with k and where it leads to.
struct Node {
  std::uint16_t code = kDecide;
  std::uint32_t k = 0;
  Word word;
  NodeId yes = 0;
  NodeId no = 0;
  friend auto operator<=>(const Node&, const Node&) = default;
};

// Nodes by id. The ends of a comparison have lower ids than itself.
class Graph {
 public:
  NodeId add(const Node& node) {
    if (node.code != kDecide && node.yes == node.no) return node.yes;
    const auto [place, is_new] = ids_.try_emplace(node, nodes_.size());
    if (is_new) nodes_.push_back(node);
    return place->second;
  }
  const std::vector<Node>& nodes() const { return nodes_; }

 private:
  std::map<Node, NodeId> ids_;
  std::vector<Node> nodes_;
};

// A number or an architecture: what is found for `value` holds up to `last`.
class Known {
 public:
  explicit Known(std::uint32_t value) : value_(value) {}
  std::uint32_t last() const { return last_; }
  // Whether the comparison holds.
  bool compare(std::uint16_t code, std::uint32_t k) {
    if (value_ < k) last_ = std::min(last_, k - 1);
    if (value_ == k && code != kIfNotLess) last_ = k;
    return code == kIfEqual ? value_ == k : code == kIfGreater ? value_ > k : value_ >= k;
  }

 private:
  std::uint32_t value_;
  std::uint32_t last_ = UINT32_MAX;
};

// A program, run with one architecture and number and all arguments.
class Run {
 public:
  Run(Program program, Graph& graph, Known& architecture, Known& number)
      : program_(program), graph_(graph), architecture_(architecture), number_(number) {}

  // Runs from a step on. Returns: the node that decides as the program does; nothing when it is not understood.
  std::optional<NodeId> from(std::size_t step, Word word) {
    while (step < program_.size()) {
      const struct sock_filter& now = program_[step++];
      switch (now.code) {
        case kLoad:
          word = {now.k, kAllBits};
          break;
        case kMask:
          if (word == kNumber || word == kArchitecture) return std::nullopt;
          word.mask &= now.k;
          break;
        case kJump:
          step += now.k;
          break;
        case kDecide:
          return graph_.add({.code = kDecide, .k = now.k});
        case kIfEqual:
        case kIfGreater:
        case kIfNotLess:
          if (word != kNumber && word != kArchitecture) return both_ends(step, word);
          step += (word == kNumber ? number_ : architecture_).compare(now.code, now.k) ? now.jt : now.jf;
          break;
        default:
          return std::nullopt;
      }
    }
    return std::nullopt;
  }

 private:
  // `behind`: the step behind a comparison.
  std::optional<NodeId> both_ends(std::size_t behind, Word word) {
    const auto [place, is_new] = seen_.try_emplace({behind, word});
    if (!is_new) return place->second;
    const struct sock_filter& comparison = program_[behind - 1];
    const std::optional<NodeId> yes = from(behind + comparison.jt, word);
    const std::optional<NodeId> no = from(behind + comparison.jf, word);
    if (word == Word() || !yes || !no) return std::nullopt;
    place->second =
        graph_.add({.code = comparison.code, .k = comparison.k, .word = word, .yes = *yes, .no = *no});
    return place->second;
  }

  Program program_;
  Graph& graph_;
  Known& architecture_;
  Known& number_;
  std::map<std::pair<std::size_t, Word>, std::optional<NodeId>> seen_;
};

struct Range {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  NodeId node = 0;
};

// All values of a word, in order. `node_for(Known&)`: std::optional<NodeId>.
template <class NodeFor>
std::optional<std::vector<Range>> ranges_of(NodeFor node_for) {
  std::vector<Range> ranges;
  for (std::uint32_t first = 0;; first = ranges.back().last + 1) {
    Known known(first);
    const std::optional<NodeId> node = node_for(known);
    if (!node) return std::nullopt;
    if (ranges.empty() || ranges.back().node != *node) ranges.push_back({first, known.last(), *node});
    ranges.back().last = known.last();
    if (known.last() == UINT32_MAX) return ranges;
  }
}

NodeId halve(Graph& graph, Word word, std::span<const Range> ranges) {
  if (ranges.size() == 1) return ranges[0].node;
  const std::size_t middle = ranges.size() / 2;
  const NodeId no = halve(graph, word, ranges.first(middle));
  const NodeId yes = halve(graph, word, ranges.subspan(middle));
  return graph.add({.code = kIfNotLess, .k = ranges[middle].first, .word = word, .yes = yes, .no = no});
}

NodeId search(Graph& graph, Word word, const std::vector<Range>& ranges) {
  // Of A b A c A, where b and c are single values, comparisons for equality make one range.
  std::vector<Range> fewer;
  std::size_t next = 0;
  while (next < ranges.size()) {
    const Range& around = ranges[next++];
    fewer.push_back(around);
    for (int equalities = 0; equalities < kMaxEqualities && next + 1 < ranges.size(); ++equalities) {
      const Range& single = ranges[next];
      if (single.first != single.last || ranges[next + 1].node != around.node) break;
      fewer.back().node = graph.add(
          {.code = kIfEqual, .k = single.first, .word = word, .yes = single.node, .no = fewer.back().node});
      next += 2;
    }
  }
  return halve(graph, word, fewer);
}

std::optional<NodeId> understand(Program program, Graph& graph) {
  const auto for_architecture = [&](Known& architecture) -> std::optional<NodeId> {
    const auto numbers =
        ranges_of([&](Known& number) { return Run(program, graph, architecture, number).from(0, Word()); });
    if (!numbers) return std::nullopt;
    return search(graph, kNumber, *numbers);
  };
  const auto architectures = ranges_of(for_architecture);
  if (!architectures) return std::nullopt;
  return search(graph, kArchitecture, *architectures);
}

// Writes nodes from the last step to the first, so that the places of what a jump leads to are known.
class Writer {
 public:
  explicit Writer(const std::vector<Node>& nodes)
      : nodes_(nodes), held_(nodes.size()), places_(nodes.size()) {}

  std::vector<struct sock_filter> write(NodeId root) {
    find_held(root);
    for (NodeId id = 0; id <= root; ++id) {
      if (held_[id]) write_node(id);
    }
    std::reverse(steps_.begin(), steps_.end());
    return std::move(steps_);
  }

 private:
  // For each node that is reached: what the accumulator holds there, whichever way was taken.
  void find_held(NodeId root) {
    held_[root] = Word();
    for (NodeId id = root + 1; id-- > 0;) {
      const Node& node = nodes_[id];
      if (!held_[id] || node.code == kDecide) continue;
      for (const NodeId end : {node.yes, node.no}) {
        held_[end] = !held_[end] || held_[end] == node.word ? node.word : Word();
      }
    }
  }

  void push(const struct sock_filter& step) { steps_.push_back(step); }

  void write_node(NodeId id) {
    const Node& node = nodes_[id];
    if (node.code == kDecide) {
      push(BPF_STMT(kDecide, node.k));
    } else {
      bring_near(node.yes);
      bring_near(node.no);
      push(BPF_JUMP(node.code, node.k, static_cast<std::uint8_t>(distance(node.yes)),
                    static_cast<std::uint8_t>(distance(node.no))));
      if (held_[id] != node.word) {
        if (node.word.mask != kAllBits) push(BPF_STMT(kMask, node.word.mask));
        push(BPF_STMT(kLoad, node.word.offset));
      }
    }
    places_[id] = steps_.size() - 1;
  }

  // How many steps a jump that is written next leaves out.
  std::size_t distance(NodeId id) const { return steps_.size() - places_[id] - 1; }

  void bring_near(NodeId id) {
    // One step more may come between, for the other end.
    if (distance(id) + 1 <= kReach) return;
    const Node& node = nodes_[id];
    if (node.code == kDecide) {
      push(BPF_STMT(kDecide, node.k));
    } else {
      push(BPF_STMT(kJump, static_cast<std::uint32_t>(distance(id))));
    }
    places_[id] = steps_.size() - 1;
  }

  const std::vector<Node>& nodes_;
  std::vector<std::optional<Word>> held_;  // nothing: not reached
  std::vector<std::size_t> places_;        // of the first step of each node, counted from the end
  std::vector<struct sock_filter> steps_;  // the last one first
};

}  // namespace

std::vector<struct sock_filter> as_range_tree(std::span<const struct sock_filter> program) {
  Graph graph;
  if (const std::optional<NodeId> root = understand(program, graph)) {
    std::vector<struct sock_filter> tree = Writer(graph.nodes()).write(*root);
    if (tree.size() <= BPF_MAXINSNS) return tree;
  }
  return {program.begin(), program.end()};
}

}  // namespace varve::launcher
