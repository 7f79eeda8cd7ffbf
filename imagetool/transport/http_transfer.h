#pragma once

// HttpTransfer: one request and its answer, by libcurl, in the thread that reads it: nothing happens between reads, and a body that nobody
// reads waits in the network. HttpPool: connections that are open still. Private to http_client.
// Thread rule: a transfer belongs to one thread at a time, the pool to all.

#include <curl/curl.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fs/base/mutex.h"
#include "imagetool/transport/http_client.h"

namespace varve::transport {

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeMulti {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, FreeEasy>;
using Multi = std::unique_ptr<CURLM, FreeMulti>;

class HttpPool {
 public:
  Multi take() EXCLUDES(mutex_);
  void give_back(Multi multi) EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  std::vector<Multi> idle_ GUARDED_BY(mutex_);
};

class HttpTransfer {
 public:
  HttpTransfer(std::shared_ptr<const HttpOptions> options, std::shared_ptr<HttpPool> pool, HttpUrl url);
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // Sends `request` to the transfer's URL, which a redirect may have changed, and waits for the head of the answer.
  StatusOrFailure start(const HttpRequest& request, const std::string& authorization);
  ResultOrFailure<std::size_t> read(std::span<std::byte> into);

  int status() const { return status_; }
  const HttpUrl& url() const { return url_; }
  const std::vector<std::pair<std::string, std::string>>& headers() const {
    return headers_;
  }  // names in lower case
  // Whether none of the request's stream was taken, so that it can be sent again.
  bool body_untouched() const { return body_taken_ == 0; }

 private:
  static std::size_t on_header(char* bytes, std::size_t size, std::size_t count, void* self);
  static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* self);
  static std::size_t on_upload(char* bytes, std::size_t size, std::size_t count, void* self);
  static int on_seek(void* self, curl_off_t offset, int origin);

  void set_up_connection();
  void set_up_request(const HttpRequest& request, const std::string& authorization);
  // Lets libcurl work until `ready`, the end or a failure.
  StatusOrFailure pump(const std::function<bool()>& ready);
  StatusOrFailure check_patience();
  void take_messages();
  bool is_connected() const;
  Failure failure_of(CURLcode code) const;

  std::shared_ptr<const HttpOptions> options_;
  std::shared_ptr<HttpPool> pool_;
  HttpUrl url_;
  Multi multi_;
  Easy easy_;
  std::unique_ptr<curl_slist, FreeList> header_list_;
  std::array<char, CURL_ERROR_SIZE> error_text_{};

  // The request's body. A server may answer before it has all of it, so that it is taken by reads, too.
  std::string body_;
  ByteStream* stream_ = nullptr;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t body_taken_ = 0;
  std::string body_failure_;

  int status_ = 0;
  bool head_complete_ = false;
  std::size_t header_bytes_ = 0;
  std::vector<std::pair<std::string, std::string>> headers_;
  std::string what_is_wrong_;  // with the answer, where libcurl was told to stop

  std::vector<std::byte> received_;
  std::size_t read_bytes_ = 0;  // of received_
  bool paused_ = false;
  bool finished_ = false;
  CURLcode outcome_ = CURLE_OK;

  // Patience: how much came and went in the time that was spent waiting.
  std::uint64_t moved_bytes_ = 0;
  std::uint64_t moved_at_mark_ = 0;
  std::chrono::milliseconds waited_{0};
};

}  // namespace varve::transport
