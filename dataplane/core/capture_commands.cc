#include "pharos/dataplane/core/capture_commands.hh"

#include "pharos/dataplane/core/daemon.hh"
#include "pharos/shared/control_protocol.hh"

#include <nlohmann/json.hpp>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

namespace pharos::dataplane {

namespace {

using nlohmann::json;

constexpr std::uint64_t ring_bytes_min = 64U << 10;
constexpr std::uint64_t ring_bytes_max = 256U << 20;
constexpr std::uint64_t read_bytes_default = 2U << 20;
constexpr std::uint64_t read_bytes_max = 8U
                                         << 20;  // with base64 around it, below the largest result
constexpr unsigned frame_bytes_min = 60;

constexpr std::array<std::pair<const char*, std::uint8_t>, 7> rcodes = {{{"NOERROR", 0},
                                                                         {"FORMERR", 1},
                                                                         {"SERVFAIL", 2},
                                                                         {"NXDOMAIN", 3},
                                                                         {"NOTIMP", 4},
                                                                         {"REFUSED", 5},
                                                                         {"YXDOMAIN", 6}}};

// The member `name`, or null where it is absent.
[[nodiscard]] const json* member(const json& arguments, const char* name) {
  const auto found = arguments.find(name);
  return found == arguments.end() || found->is_null() ? nullptr : &*found;
}

// Text of the member; empty where it is absent. Errors: invalid.
[[nodiscard]] Result<std::string> text_of(const json& arguments, const char* name) {
  const auto* value = member(arguments, name);
  if (value == nullptr) return std::string();
  if (value->is_string()) return value->get<std::string>();
  return fail(ErrorCode::invalid, "this is no text", std::string("arguments.") + name);
}

[[nodiscard]] Result<std::uint64_t> number_of(const json& arguments, const char* name,
                                              std::uint64_t otherwise, std::uint64_t minimum,
                                              std::uint64_t maximum) {
  const auto* value = member(arguments, name);
  if (value == nullptr) return otherwise;
  if (value->is_number_integer() && *value >= 0) {
    const auto number = value->get<std::uint64_t>();
    if (number >= minimum && number <= maximum) return number;
  }
  return fail(ErrorCode::invalid, "this is no number in range", std::string("arguments.") + name,
              "from " + std::to_string(minimum) + " to " + std::to_string(maximum));
}

// "www.example.org": the name; "*.example.org": all below it; ".example.org": both.
[[nodiscard]] Status read_name(const std::string& text, CaptureFilter& filter) {
  if (text.empty()) return {};
  using Reach = CaptureFilter::Reach;
  std::string_view name = text;
  if (name.starts_with("*.")) {
    filter.reach = Reach::below;
    name.remove_prefix(2);
  } else if (name.starts_with('.')) {
    filter.reach = Reach::name_and_below;
    name.remove_prefix(1);
  }
  constexpr std::array<std::byte, 1> root{};
  auto parsed = dns::parse_name(name.empty() ? "." : name, root);
  if (!parsed) return std::unexpected(std::move(parsed.error()).in("arguments.name"));
  filter.name = *parsed;
  return {};
}

[[nodiscard]] Result<CaptureFilter> filter_of(const json& arguments) {
  CaptureFilter filter;
  const auto name = text_of(arguments, "name");
  if (!name) return std::unexpected(name.error());
  if (auto ok = read_name(*name, filter); !ok) return std::unexpected(ok.error());
  const auto client = text_of(arguments, "client");
  if (!client) return std::unexpected(client.error());
  if (!client->empty()) {
    auto prefix = IpPrefix::parse(*client);
    if (!prefix) return std::unexpected(std::move(prefix.error()).in("arguments.client"));
    filter.client = *prefix;
  }
  const auto rcode = text_of(arguments, "rcode");
  if (!rcode) return std::unexpected(rcode.error());
  if (rcode->empty()) return filter;
  const auto* known = std::ranges::find(rcodes, *rcode, [](const auto& r) { return r.first; });
  if (known == rcodes.end()) {
    return fail(ErrorCode::invalid, "'" + *rcode + "' is no RCODE of a header", "arguments.rcode",
                "one of NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN");
  }
  filter.rcode = known->second;
  return filter;
}

[[nodiscard]] Status choose_port(const std::string& id, std::span<const CapturePort> ports,
                                 CaptureOrder& order) {
  std::string known;
  for (const auto& port : ports) {
    known += (known.empty() ? "" : ", ") + port.id;
    if (port.id != id && !(id.empty() && ports.size() == 1)) continue;
    order.port_id = port.id;
    order.port = port.number;
    return {};
  }
  if (id.empty() && !ports.empty())
    return fail(ErrorCode::invalid, "there are several ports", "arguments.port", "one of " + known);
  return fail(ErrorCode::not_found, "there is no port '" + id + "'", "arguments.port",
              ports.empty() ? "the data plane has no port: capture the kernel's interface instead"
                            : "there are: " + known);
}

[[nodiscard]] Result<std::optional<ClientMask>> mask_of(const json& arguments) {
  const auto* whole = member(arguments, "whole_addresses");
  if (whole != nullptr && !whole->is_boolean())
    return fail(ErrorCode::invalid, "this is neither true nor false", "arguments.whole_addresses");
  if (whole != nullptr && whole->get<bool>()) return std::optional<ClientMask>();
  const ClientMask usual;
  const auto ipv4 =
      number_of(arguments, "ipv4_prefix", usual.ipv4_prefix_bits, 0, usual.ipv4_prefix_bits);
  const auto ipv6 =
      number_of(arguments, "ipv6_prefix", usual.ipv6_prefix_bits, 0, usual.ipv6_prefix_bits);
  if (!ipv4) return std::unexpected(ipv4.error());
  if (!ipv6) return std::unexpected(ipv6.error());
  return ClientMask{.ipv4_prefix_bits = static_cast<std::uint8_t>(*ipv4),
                    .ipv6_prefix_bits = static_cast<std::uint8_t>(*ipv6),
                    .key = std::nullopt};
}

[[nodiscard]] std::string base64(ConstBytes bytes) {
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), reinterpret_cast<const unsigned char*>(bytes.data()),
                    bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // the end that C strings have
  return text;
}

[[nodiscard]] Result<json> start(Daemon& daemon, const json& arguments) {
  std::vector<CapturePort> ports;
  for (const auto& port : daemon.ports()) ports.push_back({port.id(), port.number()});
  auto order = capture_order_of(arguments, ports);
  if (!order) return std::unexpected(order.error());
  order->dns_port = daemon.config().dataplane.dns_port;
  const auto port_id = order->port_id;
  const bool whole = !order->mask;
  auto id = daemon.watching().start_capture(std::move(*order));
  if (!id) return std::unexpected(id.error());
  return json{{"id", *id}, {"port", port_id}, {"whole_addresses", whole}};
}

[[nodiscard]] Result<json> read(Daemon& daemon, const json& arguments) {
  const auto id = number_of(arguments, "id", 0, 1, UINT64_MAX);
  if (!id) return std::unexpected(id.error());
  const auto bytes_max =
      number_of(arguments, "bytes_max", read_bytes_default, frame_bytes_min, read_bytes_max);
  if (!bytes_max) return std::unexpected(bytes_max.error());
  auto* session = daemon.watching().capture(*id);
  if (session == nullptr)
    return fail(ErrorCode::not_found, "this capture has ended", "arguments.id");
  json frames = json::array();
  const bool more =
      session->read(*bytes_max, monotonic_now(), [&](const CapturedHead& head, ConstBytes frame) {
        frames.push_back({{"time_ns", head.wall_ns},
                          {"bytes", head.frame_bytes},
                          {"out", head.direction == Direction::out},
                          {"data", base64(frame)}});
      });
  return json{{"frames", std::move(frames)}, {"dropped", session->dropped()}, {"more", more}};
}

[[nodiscard]] Result<json> stop(Daemon& daemon, const json& arguments) {
  const auto id = number_of(arguments, "id", 0, 1, UINT64_MAX);
  if (!id) return std::unexpected(id.error());
  const auto* session = daemon.watching().capture(*id);
  if (session == nullptr)
    return fail(ErrorCode::not_found, "this capture has ended", "arguments.id");
  json result = {{"frames", session->frames()}, {"dropped", session->dropped()}};
  daemon.watching().stop_capture("stopped");
  return result;
}

}  // namespace

Result<CaptureOrder> capture_order_of(const json& arguments, std::span<const CapturePort> ports) {
  CaptureOrder order;
  const auto port = text_of(arguments, "port");
  if (!port) return std::unexpected(port.error());
  if (auto ok = choose_port(*port, ports, order); !ok) return std::unexpected(ok.error());
  auto filter = filter_of(arguments);
  if (!filter) return std::unexpected(filter.error());
  order.filter = *filter;
  auto mask = mask_of(arguments);
  if (!mask) return std::unexpected(mask.error());
  order.mask = *mask;
  const auto frame_bytes = number_of(arguments, "frame_bytes", capture_frame_bytes_max,
                                     frame_bytes_min, capture_frame_bytes_max);
  if (!frame_bytes) return std::unexpected(frame_bytes.error());
  order.frame_bytes_max = static_cast<unsigned>(*frame_bytes);
  const auto memory =
      number_of(arguments, "memory_bytes", order.ring_bytes, ring_bytes_min, ring_bytes_max);
  if (!memory) return std::unexpected(memory.error());
  order.ring_bytes = std::bit_ceil(*memory);
  return order;
}

void add_capture_commands(control::Server& server, Daemon& daemon) {
  using control::Access;
  const auto add = [&](const char* name, const char* summary,
                       Result<json> (*run)(Daemon&, const json&), bool changes = true) {
    server.add({name, Access::write, summary,
                [&daemon, run](const json& arguments) { return run(daemon, arguments); },
                control::Pace::brief, changes});
  };
  add("capture-start", "copy frames of a port for a reader on this machine", start);
  add("capture-read", "the frames that were copied since the last time", read, false);
  add("capture-stop", "end a capture", stop);
}

}  // namespace pharos::dataplane
