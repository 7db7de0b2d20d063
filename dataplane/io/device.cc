#include "pharos/dataplane/io/device.hh"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string_view>

namespace pharos::dataplane::io {

namespace {

[[nodiscard]] bool all_hex(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c) != 0; });
}

// "0000:3b:00.0" or "3b:00.0".
[[nodiscard]] bool is_pci_address(std::string_view text) {
  const auto dot = text.rfind('.');
  const auto colon = text.rfind(':', dot);
  if (dot == std::string_view::npos || colon == std::string_view::npos) return false;
  if (!all_hex(text.substr(dot + 1)) || text.size() - dot != 2) return false;
  if (!all_hex(text.substr(colon + 1, dot - colon - 1)) || dot - colon != 3) return false;
  auto front = text.substr(0, colon);
  if (const auto domain = front.find(':'); domain != std::string_view::npos) {
    if (domain != 4 || !all_hex(front.substr(0, domain))) return false;
    front = front.substr(domain + 1);
  }
  return front.size() == 2 && all_hex(front);
}

// "net_af_packet0" -> "net_af_packet"; empty unless it is net_<driver><number>.
[[nodiscard]] std::string_view driver_of(std::string_view name) {
  const auto is_word = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; };
  if (!std::ranges::all_of(name, is_word)) return {};
  auto driver = name;
  while (!driver.empty() && std::isdigit(static_cast<unsigned char>(driver.back())) != 0) {
    driver.remove_suffix(1);
  }
  const bool classic = driver.starts_with("net_") || driver.starts_with("virtio_user");
  return driver.size() < name.size() && classic ? driver : std::string_view{};
}

// The argument "key" or "key=value", if there is one.
[[nodiscard]] std::optional<std::string_view> find_argument(std::string_view arguments,
                                                            std::string_view key) {
  while (!arguments.empty()) {
    const auto comma = arguments.find(',');
    const auto argument = arguments.substr(0, comma);
    if (argument.substr(0, argument.find('=')) == key) return argument;
    arguments = comma == std::string_view::npos ? std::string_view{} : arguments.substr(comma + 1);
  }
  return std::nullopt;
}

void add_default(Device& device, std::string_view key, const std::string& value) {
  if (find_argument(device.arguments, key)) return;
  if (!device.arguments.empty()) device.arguments += ',';
  device.arguments += std::string(key) + "=" + value;
}

// AF_PACKET: 8192 frames of 2 KiB in blocks of 1 MiB, past the queueing discipline: three times the packets of
// the driver's defaults on a veth pair (testpmd 5tswap, 2-core VM). A block is one allocation of contiguous pages.
void add_defaults(Device& device, unsigned queues) {
  if (device.driver == "net_af_packet") {
    add_default(device, "qdisc_bypass", "1");
    add_default(device, "blocksz", "1048576");
    add_default(device, "framesz", "2048");
    add_default(device, "framecnt", "8192");
    if (queues > 1) add_default(device, "qpairs", std::to_string(queues));
  } else if (device.driver == "net_af_xdp" && queues > 1) {
    add_default(device, "queue_count", std::to_string(queues));
  } else if ((device.driver == "net_virtio_user" || device.driver == "virtio_user") && queues > 1) {
    add_default(device, "queues", std::to_string(queues));
  }
}

}  // namespace

std::string Device::argument(std::string_view key) const {
  const auto found = find_argument(arguments, key);
  if (!found || found->find('=') == std::string_view::npos) return {};
  return std::string(found->substr(found->find('=') + 1));
}

Result<Device> parse_device(const config::PortConfig& port) {
  const auto comma = port.device.find(',');
  Device device;
  device.name = port.device.substr(0, comma);
  if (comma != std::string::npos) device.arguments = port.device.substr(comma + 1);
  if (is_pci_address(device.name)) {
    if (device.name.size() == 7) device.name = "0000:" + device.name;
    device.driver = "pci";
    return device;
  }
  device.driver = driver_of(device.name);
  if (device.driver.empty()) {
    return fail(ErrorCode::invalid, "'" + port.device + "' is no device", port.source.text(),
                "write a PCI address such as 0000:3b:00.0, or a virtual device such as "
                "net_af_packet0,iface=eth1");
  }
  add_defaults(device, port.queues);
  return device;
}

}  // namespace pharos::dataplane::io
