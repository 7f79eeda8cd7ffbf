#include "tests/mounted/faults/file_history.h"

#include <fmt/format.h>

#include <algorithm>

namespace varve::test {
namespace {

constexpr std::size_t kSectorBytes = 512;

}  // namespace

FileHistory::FileId FileHistory::add(const std::string& path, std::string content) {
  const FileId id = static_cast<FileId>(files_.size());
  const std::size_t size_bytes = content.size();
  files_[id] = {Version{std::move(content), size_bytes}};
  Names names = moments_.back();
  names[path] = id;
  change(names);
  return id;
}

void FileHistory::write(FileId file, std::size_t offset, const std::string& bytes) {
  std::string next = content(file);
  const std::size_t old_size_bytes = next.size();
  // A write behind the end makes the file longer first.
  if (offset > next.size()) next.resize(offset, '\0');
  next.replace(offset, std::min(bytes.size(), next.size() - offset), bytes);
  files_[file].push_back(Version{std::move(next), old_size_bytes});
}

void FileHistory::resize(FileId file, std::size_t size_bytes) {
  std::string next = content(file);
  next.resize(size_bytes, '\0');
  files_[file].push_back(Version{std::move(next), size_bytes});
}

void FileHistory::rename(const std::string& from, const std::string& to) {
  Names names;
  for (const auto& [path, id] : moments_.back()) {
    if (path == to) continue;
    const bool moves = path == from || path.starts_with(from + "/");
    names[moves ? to + path.substr(from.size()) : path] = id;
  }
  change(names);
}

void FileHistory::link(const std::string& from, const std::string& to) {
  Names names = moments_.back();
  names[to] = names.at(from);
  change(names);
}

void FileHistory::remove(const std::string& path) {
  Names names = moments_.back();
  names.erase(path);
  change(names);
}

void FileHistory::settle(std::vector<Version>& versions) {
  Version last = std::move(versions.back());
  last.least_size_bytes = last.content.size();
  versions = {std::move(last)};
}

void FileHistory::synced(FileId file) {
  settle(files_[file]);
  moments_ = {moments_.back()};
}

void FileHistory::all_synced() {
  for (auto& [id, versions] : files_) settle(versions);
  moments_ = {moments_.back()};
}

std::string FileHistory::fault_of_content(const std::string& path, FileId file,
                                          const std::string& found) const {
  const std::vector<Version>& versions = files_.at(file);
  const bool size_known = std::any_of(versions.begin(), versions.end(), [&](const Version& version) {
    return version.least_size_bytes <= found.size() && found.size() <= version.content.size();
  });
  if (!size_known)
    return fmt::format("{} has {} bytes, as in no version since its last sync", path, found.size());
  for (std::size_t at = 0; at < found.size(); at += kSectorBytes) {
    const std::string sector = found.substr(at, kSectorBytes);
    const bool known = std::any_of(versions.begin(), versions.end(), [&](const Version& version) {
      return version.content.size() >= at + sector.size() &&
             version.content.compare(at, sector.size(), sector) == 0;
    });
    if (known) continue;
    const bool zeros = sector.find_first_not_of('\0') == std::string::npos;
    return fmt::format("{}: the sector at {} of {} is of no version since its last sync{}", path, at,
                       found.size(), zeros ? ": zeros" : "");
  }
  return {};
}

std::string FileHistory::fault_of(const std::map<std::string, std::string>& found) const {
  std::vector<std::string> paths;
  for (const auto& [path, content] : found) paths.push_back(path);
  std::string faults;
  for (const Names& names : moments_) {
    std::vector<std::string> expected;
    for (const auto& [path, id] : names) expected.push_back(path);
    if (expected != paths) continue;
    std::string fault;
    for (const auto& [path, content] : found) {
      if (fault.empty()) fault = fault_of_content(path, names.at(path), content);
    }
    if (fault.empty()) return {};
    faults += fault + "\n";
  }
  if (!faults.empty()) return faults;
  return fmt::format("the names are those of no moment since the last sync: {}", fmt::join(paths, " "));
}

}  // namespace varve::test
