#include "imagetool/image/source/tar_input.h"

#include <archive.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace varve::image {
namespace {

constexpr int kPollMs = 200;  // how long a silent pipe keeps us from noticing a cancellation

StatusOrFailure check(int result, archive* reader, const std::string& name) {
  if (result == ARCHIVE_OK || result == ARCHIVE_WARN) return {};
  const char* why = archive_error_string(reader);
  return Failure{EINVAL, name + ": " + (why ? why : "cannot be read as a tar archive")};
}

}  // namespace

void CloseArchive::operator()(archive* open) const {
  archive_free(open);
}

ResultOrFailure<std::unique_ptr<TarInput>> TarInput::open(const std::string& path,
                                                          const std::string& shown_name,
                                                          const std::string& spool_directory,
                                                          Monitor& monitor) {
  const bool standard_input = path == "-";
  UniqueFd file(standard_input ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                               : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const std::string name = !shown_name.empty() ? shown_name : standard_input ? "standard input" : path;
  if (!file.valid()) return failure_from(Errno::last(), name);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return failure_from(Errno::last(), name);
  if (S_ISDIR(status.st_mode)) return failure_from(Errno{EISDIR}, name);
  if (standard_input && ::isatty(file.get()) == 1) {
    return Failure{EINVAL, "standard input is a terminal (pipe a tar archive into it)"};
  }
  std::unique_ptr<TarInput> input(new TarInput(name, std::move(file), monitor));
  const off_t here = ::lseek(input->file_.get(), 0, SEEK_CUR);
  input->seekable_ = S_ISREG(status.st_mode) && here >= 0;
  if (input->seekable_) {
    input->begin_ = here;
    input->opened_ = status;
    return input;
  }
  input->spool_.reset(::open(spool_directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!input->spool_.valid()) {
    return failure_from(Errno::last(), spool_directory + ": cannot make a file without a name there");
  }
  return input;
}

Result<std::size_t> TarInput::fill() {
  if (!seekable_) return fill_from_pipe();
  for (;;) {
    const ssize_t got = ::pread(file_.get(), buffer_.data(), buffer_.size(), offset_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Errno::last();
    offset_ += got;
    return static_cast<std::size_t>(got);
  }
}

Result<std::size_t> TarInput::fill_from_pipe() {
  for (;;) {
    if (monitor_.cancelled()) return Errno{ECANCELED};
    struct pollfd waiting {
      file_.get(), POLLIN, 0
    };
    const int ready = ::poll(&waiting, 1, kPollMs);
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    if (ready < 0) return Errno::last();
    const ssize_t got = ::read(file_.get(), buffer_.data(), buffer_.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return Errno::last();
    std::size_t kept = 0;
    while (kept < static_cast<std::size_t>(got)) {
      const ssize_t put = ::write(spool_.get(), buffer_.data() + kept, static_cast<std::size_t>(got) - kept);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return Errno::last();
      kept += static_cast<std::size_t>(put);
    }
    return static_cast<std::size_t>(got);
  }
}

ssize_t TarInput::on_read(archive* reader, void* self, const void** buffer) {
  TarInput& input = *static_cast<TarInput*>(self);
  *buffer = input.buffer_.data();
  const Result<std::size_t> got = input.fill();
  if (got.ok()) return static_cast<ssize_t>(*got);
  archive_set_error(reader, got.error().value, "%s", std::strerror(got.error().value));
  return ARCHIVE_FATAL;
}

std::int64_t TarInput::on_skip(archive*, void* self, std::int64_t request) {
  TarInput& input = *static_cast<TarInput*>(self);
  struct stat status {};
  if (!input.seekable_ || ::fstat(input.file_.get(), &status) != 0) return 0;
  // Never past the end: that would look like a whole archive where it is a truncated one.
  const std::int64_t left = status.st_size - input.offset_;
  const std::int64_t skipped = request < left ? request : left;
  if (skipped <= 0) return 0;
  input.offset_ += skipped;
  return skipped;
}

ResultOrFailure<ArchivePtr> TarInput::start(Until until) {
  if (!seekable_ && ::lseek(spool_.get(), 0, SEEK_CUR) > 0) {  // the second time: the spool holds all of it
    file_ = std::move(spool_);
    seekable_ = true;
    begin_ = 0;
  }
  offset_ = begin_;
  ArchivePtr reader(archive_read_new());
  if (!reader) return Failure{ENOMEM, name_ + ": out of memory"};
  // Named one by one: "all" would run programs to decompress what somebody else sent.
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_bzip2(reader.get());
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_lzma(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_filter_lz4(reader.get());
  archive_read_support_filter_compress(reader.get());
  archive_read_support_format_tar(reader.get());
  if (until == Until::kEndOfFile) {
    VARVE_RETURN_IF_ERROR(
        check(archive_read_set_format_option(reader.get(), "tar", "read_concatenated_archives", "1"),
              reader.get(), name_));
  }
  VARVE_RETURN_IF_ERROR(check(archive_read_set_callback_data(reader.get(), this), reader.get(), name_));
  archive_read_set_read_callback(reader.get(), &TarInput::on_read);
  archive_read_set_skip_callback(reader.get(), &TarInput::on_skip);
  if (archive_read_open1(reader.get()) != ARCHIVE_OK) return failure(reader.get());
  return reader;
}

StatusOrFailure TarInput::drain() {
  if (seekable_) return {};
  for (;;) {
    const Result<std::size_t> got = fill_from_pipe();
    if (!got.ok()) return failure_from(got.error(), name_);
    if (*got == 0) return {};
  }
}

StatusOrFailure TarInput::check_unchanged() const {
  if (opened_.st_ino == 0) return {};  // a spool, which is ours
  struct stat now {};
  if (::fstat(file_.get(), &now) != 0) return failure_from(Errno::last(), name_);
  const auto same_time = [](const struct timespec& a, const struct timespec& b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
  };
  if (now.st_size == opened_.st_size && same_time(now.st_mtim, opened_.st_mtim)) return {};
  return Failure{EIO, name_ + ": changed while it was read (try again when nobody writes to it)"};
}

Failure TarInput::failure(archive* reader) const {
  if (monitor_.cancelled()) return cancelled_failure();
  const char* why = archive_error_string(reader);
  const std::string text = why ? why : "unknown error";
  if (text == "Unrecognized archive format") {
    return Failure{EINVAL,
                   name_ + ": not a tar archive, plain or compressed (gzip, bzip2, xz, lzma, zstd, lz4)"};
  }
  return Failure{EINVAL, name_ + ": cannot be read as a tar archive: " + text};
}

}  // namespace varve::image
