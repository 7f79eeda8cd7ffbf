#include "imagetool/image/source/similarity.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace varve::image {
namespace {

constexpr std::size_t kHashes = std::tuple_size_v<Sketch>;
// Fewer equal hashes than this are chance, or a header that all of a kind have.
constexpr unsigned kLeastEqual = 6;
// On each side of a file, among those with the same hash.
constexpr std::ptrdiff_t kNeighbours = 32;

// What similarity to an earlier file counts: an eighth less with each file between. Instead of lessening all, later ones are
// raised: 256 * log2(equal hashes) + kStep * (number of the earlier file), in whole numbers so that it is the same everywhere.
constexpr std::uint64_t kStep = 49;  // 256 * log2(8 / 7)

constexpr std::uint64_t log2_times_256(std::uint64_t value) {
  std::uint64_t mantissa = value << 24;
  std::uint64_t log = 0;
  for (; mantissa >= 2ULL << 24; mantissa /= 2) log += 256;
  for (std::uint64_t bit = 128; bit > 0; bit /= 2) {
    mantissa = mantissa * mantissa >> 24;
    if (mantissa < 2ULL << 24) continue;
    mantissa /= 2;
    log += bit;
  }
  return log;
}
static_assert(log2_times_256(1) == 0 && log2_times_256(64) == 6 * 256 && log2_times_256(6) == 661);

class Ordering {
 public:
  Ordering(std::span<const Sketch> sketches, const Monitor& monitor)
      : sketches_(sketches),
        monitor_(monitor),
        used_(sketches.size()),
        score_(sketches.size()),
        equal_(sketches.size()) {}

  ResultOrFailure<std::vector<std::uint32_t>> run() {
    VARVE_RETURN_IF_ERROR(index_hashes());
    std::vector<std::uint32_t> order;
    order.reserve(sketches_.size());
    candidates_.reserve(most_candidates());
    std::uint32_t first_left = 0;
    while (order.size() < sketches_.size()) {
      if (monitor_.cancelled()) return cancelled_failure();
      std::uint32_t file = most_alike(order.size());
      if (file == kNone) {
        while (used_[first_left]) ++first_left;
        file = first_left;
      }
      used_[file] = true;
      order.push_back(file);
      rate_others(file, order.size());
    }
    return order;
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  struct Candidate {
    std::uint64_t score = 0;
    std::uint32_t file = 0;
    // The best is the greatest: of equal ones the first.
    friend bool operator<(const Candidate& a, const Candidate& b) {
      return std::tuple(a.score, b.file) < std::tuple(b.score, a.file);
    }
  };

  StatusOrFailure index_hashes() {
    for (std::size_t hash = 0; hash < kHashes; ++hash) {
      if (monitor_.cancelled()) return cancelled_failure();
      std::vector<std::uint32_t>& files = by_hash_[hash];
      files.reserve(sketches_.size());
      for (std::uint32_t file = 0; file < sketches_.size(); ++file) {
        if (sketches_[file][hash] != kNoHash) files.push_back(file);
      }
      std::sort(files.begin(), files.end(), [&](std::uint32_t a, std::uint32_t b) {
        return std::pair(sketches_[a][hash], a) < std::pair(sketches_[b][hash], b);
      });
    }
    return {};
  }

  static std::uint64_t least_score(std::uint64_t now) { return log2_times_256(kLeastEqual) + kStep * now; }

  std::uint32_t most_alike(std::uint64_t now) {
    while (!candidates_.empty()) {
      const Candidate best = candidates_.front();
      if (best.score < least_score(now)) {
        candidates_.clear();  // the others are no better, and what is too low stays so
        return kNone;
      }
      std::pop_heap(candidates_.begin(), candidates_.end());
      candidates_.pop_back();
      if (is_valid(best)) return best.file;
    }
    return kNone;
  }

  // False once the file has its place or a greater score.
  bool is_valid(const Candidate& candidate) const {
    return !used_[candidate.file] && candidate.score == score_[candidate.file];
  }

  // A file is here again each time its score rises.
  std::size_t most_candidates() const { return 4 * sketches_.size(); }

  void push(const Candidate& candidate, std::uint64_t now) {
    if (candidates_.size() == most_candidates()) {
      // One a file at most stays, so that this is seldom.
      std::erase_if(candidates_,
                    [&](const Candidate& old) { return !is_valid(old) || old.score < least_score(now); });
      std::make_heap(candidates_.begin(), candidates_.end());
    }
    candidates_.push_back(candidate);
    std::push_heap(candidates_.begin(), candidates_.end());
  }

  void rate_others(std::uint32_t file, std::uint64_t now) {
    touched_.clear();
    for (std::size_t hash = 0; hash < kHashes; ++hash) {
      const std::uint32_t value = sketches_[file][hash];
      if (value == kNoHash) continue;
      const std::vector<std::uint32_t>& files = by_hash_[hash];
      const auto before = [&](std::uint32_t a, std::uint32_t b) {
        return std::pair(sketches_[a][hash], a) < std::pair(sketches_[b][hash], b);
      };
      const auto own = std::lower_bound(files.begin(), files.end(), file, before);
      const auto first = own - std::min(kNeighbours, own - files.begin());
      const auto last = own + std::min(kNeighbours + 1, files.end() - own);
      for (auto other = first; other != last; ++other) {
        if (used_[*other] || sketches_[*other][hash] != value) continue;
        if (equal_[*other]++ == 0) touched_.push_back(*other);
      }
    }
    for (const std::uint32_t other : touched_) {
      const unsigned equal = equal_[other];
      equal_[other] = 0;
      const std::uint64_t score = log2_times_256(equal) + kStep * now;
      if (equal < kLeastEqual || score <= score_[other]) continue;
      score_[other] = score;
      push({score, other}, now);
    }
  }

  const std::span<const Sketch> sketches_;
  const Monitor& monitor_;
  std::array<std::vector<std::uint32_t>, kHashes> by_hash_;  // files that have one, by hash and number
  std::vector<bool> used_;
  std::vector<std::uint64_t> score_;
  std::vector<std::uint8_t> equal_;
  std::vector<std::uint32_t> touched_;
  std::vector<Candidate> candidates_;  // a heap
};

}  // namespace

Sketch sketch_of(std::span<const std::byte> content) {
  Sketch sketch;
  sketch.fill(kNoHash);
  for (std::size_t i = 0; i + sizeof(std::uint64_t) <= content.size(); ++i) {
    std::uint64_t run = 0;
    std::memcpy(&run, content.data() + i, sizeof run);
    // The finish of MurmurHash3: two multiplications spread each bit over all.
    run = (run ^ run >> 33) * 0xff51afd7ed558ccd;
    run = (run ^ run >> 33) * 0xc4ceb9fe1a85ec53;
    std::uint32_t& least = sketch[run >> 58];
    least = std::min(least, static_cast<std::uint32_t>(run));
  }
  return sketch;
}

ResultOrFailure<std::vector<std::uint32_t>> order_by_similarity(std::span<const Sketch> sketches,
                                                                const Monitor& monitor) {
  return Ordering(sketches, monitor).run();
}

}  // namespace varve::image
