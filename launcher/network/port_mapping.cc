#include "launcher/network/port_mapping.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "launcher/explain.h"

namespace varve::launcher {
namespace {

constexpr const char* kForm = "write [IP:][HOSTPORT:]CONTAINERPORT[/tcp|udp]";
// Each takes a socket and a rule.
constexpr std::size_t kMaxPorts = 1000;

struct PortRange {
  unsigned first = 0;
  unsigned last = 0;
  unsigned count() const { return last - first + 1; }
};

std::optional<unsigned> parse_port(const std::string& text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0 || port > 65535) return {};
  return port;
}

std::optional<PortRange> parse_range(const std::string& text) {
  const std::size_t dash = text.find('-');
  const std::optional<unsigned> first = parse_port(text.substr(0, dash));
  const std::optional<unsigned> last = dash == std::string::npos ? first : parse_port(text.substr(dash + 1));
  if (!first || !last || *first > *last) return {};
  return PortRange{*first, *last};
}

// Takes "/tcp" or "/udp" off the end. Empty for another word.
std::optional<Protocol> take_protocol(std::string& text) {
  const std::size_t slash = text.rfind('/');
  const std::string word = slash == std::string::npos ? "tcp" : text.substr(slash + 1);
  text = text.substr(0, slash);
  if (word == "tcp") return Protocol::kTcp;
  if (word == "udp") return Protocol::kUdp;
  return {};
}

// Takes what stands behind the last colon off the end, or all.
std::string take_last(std::string& text) {
  const std::size_t colon = text.rfind(':');
  const std::string last = colon == std::string::npos ? text : text.substr(colon + 1);
  text = colon == std::string::npos ? std::string() : text.substr(0, colon);
  return last;
}

bool overlap(const PublishedPort& one, const PublishedPort& other) {
  const bool same_address =
      one.host_address == other.host_address || one.host_address.value == 0 || other.host_address.value == 0;
  return one.host_port != 0 && one.host_port == other.host_port && one.protocol == other.protocol &&
         same_address;
}

}  // namespace

const char* to_text(Protocol protocol) {
  return protocol == Protocol::kTcp ? "tcp" : "udp";
}

std::string to_text(const PublishedPort& port) {
  const std::string host = port.host_port == 0 ? "a free port" : std::to_string(port.host_port);
  return fmt::format("{}:{}->{}/{}", port.host_address.text(), host, port.container_port,
                     to_text(port.protocol));
}

ResultOrFailure<std::vector<PublishedPort>> parse_published_port(const std::string& text) {
  constexpr const char* kReading = "reading --publish";
  std::string rest = text;
  const std::optional<Protocol> protocol = take_protocol(rest);
  if (!protocol) return refuse(kReading, text, "the protocol is neither tcp nor udp", kForm);
  if (rest.find('[') != std::string::npos) {
    return refuse(kReading, text, "ports are published on IPv4 addresses alone", kForm);
  }
  const bool has_host_part = rest.find(':') != std::string::npos;
  const std::optional<PortRange> container = parse_range(take_last(rest));
  if (!container) return refuse(kReading, text, "the container's port is no number from 1 to 65535", kForm);
  const std::string host_word = take_last(rest);
  std::optional<PortRange> host;
  if (!host_word.empty()) {
    host = parse_range(host_word);
    if (!host) return refuse(kReading, text, "the host's port is no number from 1 to 65535", kForm);
  } else if (has_host_part && rest.empty()) {
    return refuse(kReading, text, "nothing stands before the colon", kForm);
  }
  if (host && host->count() != container->count()) {
    return refuse(kReading, text, "the two ranges have different lengths", kForm);
  }
  Ipv4Address address;
  if (!rest.empty()) {
    const std::optional<Ipv4Address> parsed = Ipv4Address::parse(rest);
    if (!parsed) return refuse(kReading, text, fmt::format("\"{}\" is no IPv4 address", rest), kForm);
    address = *parsed;
  }
  std::vector<PublishedPort> ports;
  for (unsigned index = 0; index < container->count(); ++index) {
    const unsigned host_port = host ? host->first + index : 0;
    ports.push_back({address, static_cast<std::uint16_t>(host_port),
                     static_cast<std::uint16_t>(container->first + index), *protocol});
  }
  return ports;
}

ResultOrFailure<std::vector<PublishedPort>> parse_exposed_port(const std::string& text) {
  if (text.find(':') == std::string::npos) {
    ResultOrFailure<std::vector<PublishedPort>> ports = parse_published_port(text);
    if (ports.ok()) return ports;
  }
  return refuse("publishing the image's ports (-P)", text,
                "the image names a port that is none of PORT[/tcp|udp]", "publish what you need with -p");
}

StatusOrFailure check_published_ports(const std::vector<PublishedPort>& ports) {
  if (ports.size() > kMaxPorts) {
    return refuse("publishing ports", std::to_string(ports.size()),
                  fmt::format("a container may have at most {}", kMaxPorts),
                  "--network host shares all of them");
  }
  for (std::size_t index = 0; index < ports.size(); ++index) {
    for (std::size_t before = 0; before < index; ++before) {
      if (!overlap(ports[before], ports[index])) continue;
      return refuse("publishing ports", to_text(ports[index]),
                    "the same port of the host is given to " + to_text(ports[before]));
    }
  }
  return {};
}

}  // namespace varve::launcher
