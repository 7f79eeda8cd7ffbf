#include "launcher/network/name_files.h"

#include <arpa/inet.h>

#include <algorithm>
#include <sstream>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

bool is_address(const std::string& text) {
  struct in6_addr address = {};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool is_loopback(const std::string& server) {
  const std::string address = server.substr(0, server.find('%'));
  struct in6_addr v6 = {};
  if (::inet_pton(AF_INET6, address.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return address.rfind("127.", 0) == 0 || address == "0.0.0.0";
}

bool is_plain_word(const std::string& word) {
  return !word.empty() && std::all_of(word.begin(), word.end(),
                                      [](char c) { return c > ' ' && c < 127 && c != '#' && c != ';'; });
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += " " + word;
  return text;
}

std::vector<std::string> words_of(std::istringstream& line) {
  std::vector<std::string> words;
  for (std::string word; line >> word;) words.push_back(word);
  return words;
}

// What of a resolv.conf matters here. The last search or domain line wins (resolv.conf(5)).
ResolverOptions parse_resolver_file(const std::string& text) {
  ResolverOptions found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream rest(line.substr(0, line.find_first_of("#;")));
    std::string key;
    rest >> key;
    std::vector<std::string> words = words_of(rest);
    if (key == "nameserver" && !words.empty()) found.servers.push_back(words[0]);
    if (key == "search" || key == "domain") found.search = words;
    if (key == "options") found.options.insert(found.options.end(), words.begin(), words.end());
  }
  return found;
}

}  // namespace

ResultOrFailure<HostEntry> parse_host_entry(const std::string& text) {
  constexpr const char* kReading = "reading --add-host";
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) {
    return refuse(kReading, text, "there is no colon in it", "write NAME:IP or NAME:host-gateway");
  }
  HostEntry entry{text.substr(0, colon), text.substr(colon + 1)};
  if (!is_plain_word(entry.name)) return refuse(kReading, text, "the name is empty or holds odd characters");
  if (entry.address.size() > 2 && entry.address.front() == '[' && entry.address.back() == ']') {
    entry.address = entry.address.substr(1, entry.address.size() - 2);
  }
  if (entry.address == "host-gateway") {
    entry.address.clear();
  } else if (!is_address(entry.address)) {
    return refuse(kReading, text, "what follows the colon is no address",
                  "write NAME:IP or NAME:host-gateway");
  }
  return entry;
}

std::string hosts_text(const HostsFile& file) {
  const bool own_line = !file.hostname.empty() && !file.address.empty();
  const std::string here = file.hostname.empty() || own_line ? "" : " " + file.hostname;
  std::string text;
  // First, so that a name that is given here counts before all others (hosts(5)).
  for (const HostEntry& entry : file.added) {
    text += (entry.address.empty() ? file.gateway : entry.address) + "\t" + entry.name + "\n";
  }
  text += "127.0.0.1\tlocalhost" + here + "\n::1\tlocalhost ip6-localhost ip6-loopback" + here + "\n";
  if (own_line) text += file.address + "\t" + file.hostname + "\n";
  return text;
}

StatusOrFailure check_resolver_options(const ResolverOptions& options) {
  for (const std::string& server : options.servers) {
    if (!is_address(server)) return refuse("reading --dns", server, "it is no IPv4 or IPv6 address");
  }
  for (const std::string& word : options.search) {
    if (!is_plain_word(word)) return refuse("reading --dns-search", word, "it is no domain name");
  }
  for (const std::string& word : options.options) {
    if (!is_plain_word(word)) {
      return refuse("reading --dns-option", word, "it is no option of resolv.conf(5)");
    }
  }
  return {};
}

ResolverFile resolver_file(const std::string& host_text, const ResolverOptions& options, bool own_loopback) {
  ResolverFile file;
  ResolverOptions chosen = parse_resolver_file(host_text);
  if (options.servers.empty() && own_loopback) {
    const auto unreachable = std::remove_if(chosen.servers.begin(), chosen.servers.end(), is_loopback);
    file.dropped_loopback = unreachable != chosen.servers.end();
    chosen.servers.erase(unreachable, chosen.servers.end());
  }
  if (!options.servers.empty()) chosen.servers = options.servers;
  if (!options.search.empty()) chosen.search = options.search;
  if (!options.options.empty()) chosen.options = options.options;
  if (chosen.search == std::vector<std::string>{"."}) chosen.search.clear();

  for (const std::string& server : chosen.servers) file.text += "nameserver " + server + "\n";
  if (!chosen.search.empty()) file.text += "search" + joined(chosen.search) + "\n";
  if (!chosen.options.empty()) file.text += "options" + joined(chosen.options) + "\n";
  file.has_servers = !chosen.servers.empty();
  return file;
}

}  // namespace varve::launcher
