#include "imagetool/recipe/copy_plan.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <charconv>

#include "imagetool/image/source/tar_source.h"

namespace varve::recipe {
namespace {

constexpr std::uint64_t kAccountsLimitBytes = 1 << 20;

std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

bool is_remote(std::string_view source) {
  for (const std::string_view prefix : {"http://", "https://", "ftp://", "git://", "git@", "ssh://"}) {
    if (source.starts_with(prefix)) return true;
  }
  return false;
}

// Whether libarchive finds a first member: a compressed file that is no archive has none.
bool is_archive(const std::string& path) {
  const std::unique_ptr<archive, decltype(&::archive_read_free)> reader(::archive_read_new(),
                                                                        &::archive_read_free);
  if (reader == nullptr) return false;
  for (const auto enable : {::archive_read_support_filter_gzip, ::archive_read_support_filter_bzip2,
                            ::archive_read_support_filter_xz, ::archive_read_support_filter_zstd,
                            ::archive_read_support_format_tar}) {
    enable(reader.get());
  }
  archive_entry* entry = nullptr;
  return ::archive_read_open_filename(reader.get(), path.c_str(), 64 << 10) == ARCHIVE_OK &&
         ::archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK &&
         (::archive_format(reader.get()) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
}

std::optional<std::uint32_t> number(std::string_view text, int base = 10) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

// The numbers behind a name in passwd(5) or group(5): fields 2 and 3 of "NAME:PASSWORD:ID:ID2".
struct Account {
  std::uint32_t id = 0;
  std::uint32_t group = 0;  // of a passwd file
};
std::optional<Account> find_account(std::string_view file, std::string_view name) {
  for (std::size_t begin = 0; begin < file.size();) {
    const std::size_t end = std::min(file.find('\n', begin), file.size());
    const std::string_view line = file.substr(begin, end - begin);
    begin = end + 1;
    if (line.size() <= name.size() || line[name.size()] != ':' || !line.starts_with(name)) continue;
    std::vector<std::string_view> fields;
    for (std::size_t at = 0; at <= line.size();) {
      const std::size_t colon = std::min(line.find(':', at), line.size());
      fields.push_back(line.substr(at, colon - at));
      at = colon + 1;
    }
    const std::optional<std::uint32_t> id = fields.size() > 2 ? number(fields[2]) : std::nullopt;
    if (!id) continue;
    return Account{*id, fields.size() > 3 ? number(fields[3]).value_or(0) : 0};
  }
  return std::nullopt;
}

ResultOrFailure<std::string> read_accounts(LayeredTree& stage, const char* path) {
  VARVE_ASSIGN(const std::string resolved, stage.resolve(path));
  return stage.read_file(resolved, kAccountsLimitBytes);
}

// Collects the items of one CopyRequest.
class Planner {
 public:
  Planner(const CopyRequest& request, const CopyOrigin& origin, LayeredTree& stage, image::Monitor& monitor)
      : request_(request), origin_(origin), stage_(stage), monitor_(monitor) {}

  ResultOrFailure<std::unique_ptr<CopySource>> run() {
    CopyTarget target;
    target.below = &stage_;
    target.now = request_.now;
    if (!request_.chown.empty()) {
      VARVE_ASSIGN(target.owner, parse_chown(request_.chown, stage_));
    }
    if (!request_.chmod.empty()) {
      VARVE_ASSIGN(target.mode, parse_chmod(request_.chmod));
    }
    VARVE_RETURN_IF_ERROR(find_sources());
    VARVE_RETURN_IF_ERROR(find_destination(target));
    VARVE_RETURN_IF_ERROR(add_items());
    return CopySource::make(std::move(parts_), std::move(target), monitor_);
  }

 private:
  struct Found {
    std::string named;     // whose last component names the copy
    std::string resolved;  // where its links lead
    bool is_directory = false;
  };

  StatusOrFailure find_sources() {
    for (const std::string& source : request_.sources) {
      if (is_remote(source)) {
        return Failure{ENOTSUP, source +
                                    ": nothing is fetched from the network here (RUN a program that does it, "
                                    "or put the file into the context)"};
      }
      const std::size_t before = found_.size();
      VARVE_ASSIGN(const std::vector<std::string> matches, origin_.tree->expand(source));
      for (const std::string& match : matches) {
        VARVE_ASSIGN(std::string resolved, origin_.tree->resolve(match));
        VARVE_ASSIGN(const std::optional<TreeObject> object, origin_.tree->look_up(resolved));
        if (!object) continue;  // a link that leads nowhere
        found_.push_back({match, std::move(resolved), object->is_directory()});
      }
      if (found_.size() == before) {
        return Failure{ENOENT, origin_.tree->shown(
                                   source.substr(std::min(source.find_first_not_of('/'), source.size()))) +
                                   ": expected a file or directory there" +
                                   (origin_.ignored != nullptr && !origin_.ignored->empty()
                                        ? " that the ignore file does not leave out"
                                        : "")};
      }
    }
    return {};
  }

  StatusOrFailure find_destination(CopyTarget& target) {
    const std::string& text = request_.destination;
    if (text.empty()) return Failure{EINVAL, "the destination is empty"};
    const std::string last = name_of(text);
    VARVE_ASSIGN(destination_,
                 stage_.resolve(text.starts_with('/') ? text : request_.working_directory + "/" + text));
    VARVE_ASSIGN(const std::optional<TreeObject> there, stage_.look_up(destination_));
    into_directory_ = last.empty() || last == "." || last == ".." || (there && there->is_directory());
    if (!into_directory_ && found_.size() + request_.documents.size() > 1) {
      return Failure{EINVAL,
                     text + ": expected a directory with '/' at its end, since there are several sources"};
    }
    if (into_directory_) target.directories.push_back(destination_);
    return {};
  }

  std::string place_of(const std::string& name) const {
    return into_directory_ ? image::join_path(destination_, name) : destination_;
  }

  StatusOrFailure add_items() {
    CopyPart part;
    part.keep_owners = origin_.keep_owners;
    part.ignored = origin_.ignored;
    for (const Found& found : found_) {
      if (found.is_directory) {
        part.items.push_back({found.resolved, destination_});
      } else if (request_.unpacks && is_archive(origin_.tree->shown(found.resolved))) {
        VARVE_RETURN_IF_ERROR(add_archive(origin_.tree->shown(found.resolved)));
      } else {
        part.items.push_back({found.resolved, place_of(name_of(found.named))});
      }
    }
    if (!part.items.empty()) {
      VARVE_ASSIGN(part.source, origin_.tree->open(filter_for(part.items), monitor_));
      parts_.push_back(std::move(part));
    }
    return request_.documents.empty() ? StatusOrFailure() : add_documents();
  }

  StatusOrFailure add_archive(const std::string& path) {
    CopyPart part;
    VARVE_ASSIGN(
        part.source,
        image::TarSource::open(path, {.filter = {}, .spool_directory = request_.spool_directory}, monitor_));
    part.items.push_back({"", destination_});
    part.keep_owners = true;
    parts_.push_back(std::move(part));
    return {};
  }

  StatusOrFailure add_documents() {
    CopyPart part;
    std::vector<std::pair<std::string, std::string>> files;
    for (const HereDocument& document : request_.documents) {
      const std::string name = name_of(document.name);
      if (name.empty() || name == "." || name == "..") {
        return Failure{EINVAL, document.word + ": expected the name of a file"};
      }
      const std::string number = std::to_string(files.size());
      files.emplace_back(number, document.content);
      part.items.push_back({number, place_of(name)});
    }
    part.source = std::make_unique<TextSource>(std::move(files), request_.now);
    parts_.push_back(std::move(part));
    return {};
  }

  // Only what is copied is looked at.
  image::PathFilter filter_for(const std::vector<CopyItem>& items) const {
    std::vector<std::string> roots;
    for (const CopyItem& item : items) roots.push_back(item.from);
    return image::PathFilter([roots = std::move(roots), ignored = origin_.ignored](std::string_view path) {
      const auto leads_to = [&](const std::string& root) {
        if (root.empty()) return true;
        const std::string_view shorter = path.size() < root.size() ? path : std::string_view(root);
        const std::string_view longer = path.size() < root.size() ? std::string_view(root) : path;
        return longer.starts_with(shorter) &&
               (longer.size() == shorter.size() || longer[shorter.size()] == '/');
      };
      if (std::none_of(roots.begin(), roots.end(), leads_to)) return true;
      return ignored != nullptr && ignored->ignores(path) && !ignored->may_take_below(path);
    });
  }

  const CopyRequest& request_;
  const CopyOrigin& origin_;
  LayeredTree& stage_;
  image::Monitor& monitor_;
  std::vector<Found> found_;
  std::string destination_;
  bool into_directory_ = false;
  std::vector<CopyPart> parts_;
};

}  // namespace

ResultOrFailure<std::unique_ptr<CopySource>> plan_copy(const CopyRequest& request, const CopyOrigin& origin,
                                                       LayeredTree& stage, image::Monitor& monitor) {
  return Planner(request, origin, stage, monitor).run();
}

ResultOrFailure<std::unique_ptr<CopySource>> plan_directory(const std::string& path, Timestamp now,
                                                            LayeredTree& stage, image::Monitor& monitor) {
  CopyTarget target;
  target.below = &stage;
  target.now = now;
  VARVE_ASSIGN(std::string resolved, stage.resolve(path));
  target.directories.push_back(std::move(resolved));
  return CopySource::make({}, std::move(target), monitor);
}

ResultOrFailure<image::Owner> parse_chown(std::string_view text, LayeredTree& stage) {
  const std::size_t colon = std::min(text.find(':'), text.size());
  const std::string_view user = text.substr(0, colon);
  const std::string_view group = colon < text.size() ? text.substr(colon + 1) : std::string_view();
  image::Owner owner;
  if (const auto id = number(user)) {
    owner = {*id, *id};
  } else if (!user.empty()) {
    VARVE_ASSIGN(const std::string passwd, read_accounts(stage, "etc/passwd"));
    const std::optional<Account> account = find_account(passwd, user);
    if (!account) {
      return Failure{ENOENT, "--chown=" + std::string(text) +
                                 ": expected a number or a user of the image's /etc/passwd"};
    }
    owner = {account->id, account->group};
  }
  if (group.empty()) return owner;
  if (const auto id = number(group)) {
    owner.gid = *id;
    return owner;
  }
  VARVE_ASSIGN(const std::string groups, read_accounts(stage, "etc/group"));
  const std::optional<Account> account = find_account(groups, group);
  if (!account) {
    return Failure{
        ENOENT, "--chown=" + std::string(text) + ": expected a number or a group of the image's /etc/group"};
  }
  owner.gid = account->id;
  return owner;
}

ResultOrFailure<std::uint32_t> parse_chmod(std::string_view text) {
  const std::optional<std::uint32_t> mode = number(text, 8);
  if (!mode || *mode > 07777) {
    return Failure{EINVAL, "--chmod=" + std::string(text) + ": expected an octal number, as 755 or 0644"};
  }
  return *mode;
}

}  // namespace varve::recipe
