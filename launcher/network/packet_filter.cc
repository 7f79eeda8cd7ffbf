#include "launcher/network/packet_filter.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>

#include "launcher/explain.h"
#include "launcher/network/bridge.h"

namespace varve::launcher {
namespace {

constexpr const char* kMaking = "making packet filter rules";
constexpr const char* kLibrary = "libnftables.so.1";

struct Library {
  decltype(&nft_ctx_new) make_context = nullptr;
  decltype(&nft_ctx_free) free_context = nullptr;
  decltype(&nft_ctx_buffer_error) buffer_error = nullptr;
  decltype(&nft_ctx_get_error_buffer) error_buffer = nullptr;
  decltype(&nft_run_cmd_from_buffer) run = nullptr;

  bool complete() const {
    return make_context != nullptr && free_context != nullptr && buffer_error != nullptr &&
           error_buffer != nullptr && run != nullptr;
  }
};

template <class Function>
void load(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
}

ResultOrFailure<Library> load_library() {
  // Never closed: it is needed as long as the process lives.
  void* handle = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return refuse(kMaking, kLibrary, ::dlerror(), "install the package libnftables1");
  Library library;
  load(handle, "nft_ctx_new", library.make_context);
  load(handle, "nft_ctx_free", library.free_context);
  load(handle, "nft_ctx_buffer_error", library.buffer_error);
  load(handle, "nft_ctx_get_error_buffer", library.error_buffer);
  load(handle, "nft_run_cmd_from_buffer", library.run);
  if (!library.complete()) return refuse(kMaking, kLibrary, "it lacks a function", "install nftables 1.0");
  return library;
}

bool is_loopback(Ipv4Address address) {
  return address.value >> 24 == 127;
}

std::string first_line(const char* text) {
  const std::string all = text == nullptr ? "" : text;
  return all.substr(0, all.find('\n'));
}

}  // namespace

std::string filter_table_name(const std::string& container_id) {
  return "varve_" + container_id;
}

std::string filter_rules(const std::string& container_id, Ipv4Address container,
                         const std::vector<PublishedPort>& ports) {
  std::string text = fmt::format("table ip {} {{\n  flags owner\n", filter_table_name(container_id));
  // Not for packets from the bridge: a container that asks for a published port gets to the relay, whose answers come
  // from the address that it asked.
  text += "  chain published {\n    type nat hook prerouting priority dstnat\n";
  for (const PublishedPort& port : ports) {
    if (is_loopback(port.host_address)) continue;  // the relay's: nothing from outside comes there
    const std::string where = port.host_address.value == 0
                                  ? "fib daddr type local"
                                  : fmt::format("ip daddr {}", port.host_address.text());
    text += fmt::format("    iifname != \"{}\" {} {} dport {} dnat to {}:{}\n", kBridgeName, where,
                        to_text(port.protocol), port.host_port, container.text(), port.container_port);
  }
  text += "  }\n  chain outgoing {\n    type nat hook postrouting priority srcnat\n";
  text +=
      fmt::format("    ip saddr {} oifname != \"{}\" masquerade\n  }}\n}}\n", container.text(), kBridgeName);
  return text;
}

ResultOrFailure<PacketFilter> PacketFilter::apply(const std::string& rules) {
  VARVE_ASSIGN(const Library library, load_library());
  std::unique_ptr<struct nft_ctx, FreeContext> context(library.make_context(NFT_CTX_DEFAULT),
                                                       library.free_context);
  if (!context) return explain(Errno{ENOMEM}, kMaking, kLibrary);
  library.buffer_error(context.get());
  if (library.run(context.get(), rules.c_str()) != 0) {
    return refuse(kMaking, "nftables", first_line(library.error_buffer(context.get())),
                  "does the kernel have nf_tables with NAT?");
  }
  return PacketFilter(std::move(context));
}

}  // namespace varve::launcher
