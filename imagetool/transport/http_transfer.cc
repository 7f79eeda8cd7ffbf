#include "imagetool/transport/http_transfer.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

namespace varve::transport {
namespace {

constexpr std::size_t kMostIdle = 16;
constexpr std::size_t kMostReceived = 1 << 20;  // that wait to be read
constexpr auto kPollPeriod = std::chrono::milliseconds(200);

// Keeps SIGPIPE from the program while libcurl works: libcurl's TLS writes to sockets without MSG_NOSIGNAL.
class NoBrokenPipes {
 public:
  NoBrokenPipes() {
    sigset_t pending;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoBrokenPipes() {
    const timespec now{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoBrokenPipes(const NoBrokenPipes&) = delete;
  NoBrokenPipes& operator=(const NoBrokenPipes&) = delete;

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
};

// The authorities that libcurl was built to trust, as one text, so that more can be added to them. A directory of them,
// which it may know besides (CURLOPT_CAPATH), stays in force.
const std::string& system_authorities() {
  static const std::string text = [] {
    const curl_version_info_data* version = curl_version_info(CURLVERSION_NOW);
    if (!version->cainfo) return std::string();
    std::ifstream file(version->cainfo, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  return text;
}

void set_blob(CURL* easy, CURLoption option, const std::string& text) {
  // libcurl does not change what it is told not to copy.
  curl_blob blob{const_cast<char*>(text.data()), text.size(), CURL_BLOB_COPY};
  curl_easy_setopt(easy, option, &blob);
}

std::string_view trimmed(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

Multi HttpPool::take() {
  {
    const MutexLock lock(mutex_);
    if (!idle_.empty()) {
      Multi multi = std::move(idle_.back());
      idle_.pop_back();
      return multi;
    }
  }
  return Multi(curl_multi_init());
}

void HttpPool::give_back(Multi multi) {
  const MutexLock lock(mutex_);
  if (idle_.size() < kMostIdle) idle_.push_back(std::move(multi));
}

HttpTransfer::HttpTransfer(std::shared_ptr<const HttpOptions> options, std::shared_ptr<HttpPool> pool,
                           HttpUrl url)
    : options_(std::move(options)),
      pool_(std::move(pool)),
      url_(std::move(url)),
      multi_(pool_->take()),
      easy_(curl_easy_init()) {}

HttpTransfer::~HttpTransfer() {
  if (!multi_ || !easy_) return;
  {
    const NoBrokenPipes quiet;
    curl_multi_remove_handle(multi_.get(), easy_.get());
    easy_.reset();
  }
  pool_->give_back(std::move(multi_));
}

void HttpTransfer::set_up_connection() {
  CURL* easy = easy_.get();
  curl_easy_setopt(easy, CURLOPT_URL, url_.text().c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, url_.is_https() ? "https" : "http");
  // One request a connection at a time: more of HTTP/2 would be of no use, and a paused stream would hold up others.
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_->connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error_text_.data());
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "varve/" VARVE_VERSION);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options_->verify ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options_->verify ? 2L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (url_.is_loopback()) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  if (!options_->more_authorities.empty()) {
    set_blob(easy, CURLOPT_CAINFO_BLOB, system_authorities() + "\n" + options_->more_authorities);
  }
  if (!options_->client_certificate.empty() && url_.origin() == options_->client_origin) {
    set_blob(easy, CURLOPT_SSLCERT_BLOB, options_->client_certificate);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, options_->client_key);
  }
}

void HttpTransfer::set_up_request(const HttpRequest& request, const std::string& authorization) {
  CURL* easy = easy_.get();
  const auto add_header = [this](const std::string& line) {
    // libcurl gives the list back as it was, with one more at its end, or nothing for want of memory.
    if (curl_slist* list = curl_slist_append(header_list_.get(), line.c_str())) {
      static_cast<void>(header_list_.release());
      header_list_.reset(list);
    }
  };
  if (request.whole_timeout.count() > 0) {
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.whole_timeout.count()));
  }
  for (const std::string& header : request.headers) add_header(header);
  if (!authorization.empty()) add_header("Authorization: " + authorization);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, header_list_.get());
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method == "GET") {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  } else {
    body_ = request.body;
    stream_ = request.stream;
    body_bytes_ = stream_ ? request.stream_bytes : body_.size();
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(body_bytes_));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &HttpTransfer::on_upload);
    curl_easy_setopt(easy, CURLOPT_READDATA, this);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &HttpTransfer::on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, this);
  }
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &HttpTransfer::on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &HttpTransfer::on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
}

StatusOrFailure HttpTransfer::start(const HttpRequest& request, const std::string& authorization) {
  if (!multi_ || !easy_) return Failure{ENOMEM, "no memory for a connection"};
  set_up_connection();
  set_up_request(request, authorization);
  if (curl_multi_add_handle(multi_.get(), easy_.get()) != CURLM_OK) {
    return Failure{ENOMEM, "no memory for a connection"};
  }
  VARVE_RETURN_IF_ERROR(pump([this] { return head_complete_; }));
  if (!head_complete_) return failure_of(outcome_);
  return {};
}

std::size_t HttpTransfer::on_header(char* bytes, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  const std::string_view line(bytes, size * count);
  transfer.moved_bytes_ += line.size();
  transfer.header_bytes_ += line.size();
  if (transfer.header_bytes_ > kMostHeaderBytes) {
    transfer.what_is_wrong_ = "its header has more than 64 KiB";
    return 0;
  }
  if (line.starts_with("HTTP/")) {  // a new head: what came before was "100 Continue"
    transfer.headers_.clear();
    transfer.status_ = 0;
    const std::size_t space = line.find(' ');
    if (space != std::string_view::npos)
      transfer.status_ = std::atoi(std::string(line.substr(space + 1, 3)).c_str());
    return line.size();
  }
  if (trimmed(line).empty()) {
    // What comes after the head of a chunked body is trailers.
    if (transfer.status_ >= 200) transfer.head_complete_ = true;
    return line.size();
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || transfer.head_complete_) return line.size();
  std::string name(trimmed(line.substr(0, colon)));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  transfer.headers_.emplace_back(std::move(name), std::string(trimmed(line.substr(colon + 1))));
  return line.size();
}

std::size_t HttpTransfer::on_body(char* bytes, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  if (transfer.received_.size() - transfer.read_bytes_ >= kMostReceived) {
    transfer.paused_ = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  const auto* begin = reinterpret_cast<const std::byte*>(bytes);
  transfer.received_.insert(transfer.received_.end(), begin, begin + size * count);
  transfer.moved_bytes_ += size * count;
  return size * count;
}

std::size_t HttpTransfer::on_upload(char* bytes, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  const std::uint64_t room =
      std::min<std::uint64_t>(size * count, transfer.body_bytes_ - transfer.body_taken_);
  if (room == 0) return 0;
  std::size_t got = static_cast<std::size_t>(room);
  if (transfer.stream_) {
    const auto read = transfer.stream_->read({reinterpret_cast<std::byte*>(bytes), got});
    if (!read.ok() || *read == 0) {
      transfer.body_failure_ = read.ok() ? "what is uploaded is shorter than was said" : read.error().message;
      return CURL_READFUNC_ABORT;
    }
    got = *read;
  } else {
    std::memcpy(bytes, transfer.body_.data() + transfer.body_taken_, got);
  }
  transfer.body_taken_ += got;
  transfer.moved_bytes_ += got;
  return got;
}

int HttpTransfer::on_seek(void* self, curl_off_t offset, int origin) {
  auto& transfer = *static_cast<HttpTransfer*>(self);
  if (origin != SEEK_SET ||
      (transfer.stream_ && transfer.body_taken_ != static_cast<std::uint64_t>(offset))) {
    return CURL_SEEKFUNC_FAIL;
  }
  transfer.body_taken_ = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

void HttpTransfer::take_messages() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    finished_ = true;
    outcome_ = message->data.result;
  }
}

StatusOrFailure HttpTransfer::check_patience() {
  const bool answer_is_due = !head_complete_ && body_bytes_ > 0 && body_taken_ == body_bytes_;
  const auto limit = answer_is_due ? options_->answer_timeout : options_->stall_timeout;
  if (waited_ < limit) return {};
  const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(1, limit.count() / 1000));
  if (moved_bytes_ - moved_at_mark_ < seconds) {
    return Failure{ETIMEDOUT, url_.shown() + ": nothing came for " + std::to_string(seconds) +
                                  " s (is the network up? try again)"};
  }
  waited_ = std::chrono::milliseconds(0);
  moved_at_mark_ = moved_bytes_;
  return {};
}

StatusOrFailure HttpTransfer::pump(const std::function<bool()>& ready) {
  using Clock = std::chrono::steady_clock;
  const NoBrokenPipes quiet;
  while (!ready() && !finished_) {
    int running = 0;
    if (curl_multi_perform(multi_.get(), &running) != CURLM_OK) return Failure{EIO, "libcurl failed"};
    take_messages();
    if (ready() || finished_) break;
    if (options_->cancelled()) return Failure{ECANCELED, "interrupted"};
    VARVE_RETURN_IF_ERROR(check_patience());
    const auto before = Clock::now();
    curl_multi_poll(multi_.get(), nullptr, 0, static_cast<int>(kPollPeriod.count()), nullptr);
    waited_ += std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - before);
  }
  return {};
}

ResultOrFailure<std::size_t> HttpTransfer::read(std::span<std::byte> into) {
  if (read_bytes_ == received_.size()) {
    received_.clear();
    read_bytes_ = 0;
    if (paused_) {
      paused_ = false;
      const NoBrokenPipes quiet;
      curl_easy_pause(easy_.get(), CURLPAUSE_CONT);
    }
    VARVE_RETURN_IF_ERROR(pump([this] { return !received_.empty(); }));
    if (received_.empty()) {
      if (outcome_ != CURLE_OK) return failure_of(outcome_);
      return std::size_t{0};
    }
  }
  const std::size_t count = std::min(into.size(), received_.size() - read_bytes_);
  std::memcpy(into.data(), received_.data() + read_bytes_, count);
  read_bytes_ += count;
  return count;
}

bool HttpTransfer::is_connected() const {
  // When TLS, if any, stood (CURLINFO_PRETRANSFER_TIME_T(3)).
  curl_off_t microseconds = 0;
  return curl_easy_getinfo(easy_.get(), CURLINFO_PRETRANSFER_TIME_T, &microseconds) == CURLE_OK &&
         microseconds > 0;
}

Failure HttpTransfer::failure_of(CURLcode code) const {
  const std::string where = url_.shown() + ": ";
  if (!what_is_wrong_.empty()) return Failure{EBADMSG, where + what_is_wrong_};
  if (!body_failure_.empty()) return Failure{EBADMSG, body_failure_};
  const std::string detail =
      shown_text(error_text_[0] != '\0' ? std::string(error_text_.data()) : curl_easy_strerror(code));
  switch (code) {
    case CURLE_OK:
      return Failure{EPROTO, where + "no answer that is HTTP"};
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Failure{ECONNREFUSED, where + detail};
    case CURLE_SSL_CONNECT_ERROR:
      return Failure{EPROTO, where + detail};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
      return Failure{EACCES, where + detail +
                                 " (give its authority with --cert-dir; --tls-verify=false trusts anybody)"};
    case CURLE_SSL_CACERT_BADFILE:
      return Failure{EINVAL, where + detail + " (look at --cert-dir)"};
    case CURLE_OPERATION_TIMEDOUT:
      if (!is_connected()) return Failure{ECONNREFUSED, where + detail};
      return Failure{ETIMEDOUT, where + detail};
    default:
      return Failure{EIO, where + detail};
  }
}

}  // namespace varve::transport
