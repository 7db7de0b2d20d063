#include "pharos/dataplane/io/port.hh"

#include "pharos/dataplane/io/doorbell.hh"

#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace pharos::dataplane::io {

namespace {

// A frame and what DPDK keeps in front of it; AF_XDP lays its own frames over the same memory.
constexpr unsigned mbuf_data_bytes = RTE_MBUF_DEFAULT_BUF_SIZE;
constexpr unsigned mbuf_cache = 256;
constexpr unsigned burst_mbufs = 64;
// AF_XDP keeps this many frames in its fill and completion rings, whatever number of descriptors is asked for.
constexpr unsigned driver_ring_mbufs = 2 * 2048;

[[nodiscard]] std::unexpected<Error> refused(const std::string& what, int rc,
                                             const std::string& id) {
  return fail(ErrorCode::unavailable, what + ": " + rte_strerror(rc < 0 ? -rc : rc),
              "port '" + id + "'");
}

}  // namespace

// What may hold mbufs of a queue at one time:
//   receive ring + transmit ring + the driver's own rings + two bursts in the worker
//   + caches: 1.5 * mbuf_cache for the worker's lcore and for the main one, which fills the rings at start
// rounded up to 2^n - 1, the size that costs a mempool the least memory.
// 1024 + 1024 + 4096 + 128 + 768 = 7040 -> 8191 mbufs of 2.4 KiB: 20 MiB a queue.
unsigned mbufs_for_queue(unsigned receive_descriptors, unsigned transmit_descriptors) noexcept {
  const unsigned wanted = receive_descriptors + transmit_descriptors + driver_ring_mbufs +
                          2 * burst_mbufs + 2 * (mbuf_cache + mbuf_cache / 2);
  return std::bit_ceil(wanted + 1) - 1;
}

Result<Port> Port::open(const config::PortConfig& config, const Device& device) {
  Port port;
  port.id_ = config.id;
  port.device_ = device.name;
  port.driver_ = device.driver;
  if (const int rc = rte_eth_dev_get_port_by_name(device.name.c_str(), &port.number_); rc != 0) {
    return fail(ErrorCode::unavailable, "DPDK has no device '" + device.name + "'",
                "port '" + config.id + "'",
                device.is_pci() ? "give it to DPDK: scripts/nic bind " + device.name
                                : "the EAL's own lines above say why it was not made");
  }
  port.attached_ = true;
  const auto before = open_descriptors();
  if (auto ok = port.configure(config); !ok) return std::unexpected(ok.error());
  if (auto ok = port.set_up_queues(config); !ok) return std::unexpected(ok.error());
  if (auto ok = port.start(config); !ok) return std::unexpected(ok.error());
  if (config.idle == config::IdlePolicy::adaptive) {
    port.doorbells_ = find_doorbells(device, port.queue_count_, before);
  }
  return port;
}

Status Port::configure(const config::PortConfig& config) {
  rte_eth_dev_info info{};
  if (const int rc = rte_eth_dev_info_get(number_, &info); rc != 0)
    return refused("device info", rc, id_);
  const unsigned queues_max = std::min(info.max_rx_queues, info.max_tx_queues);
  if (config.queues > queues_max) {
    return fail(ErrorCode::invalid,
                std::to_string(config.queues) + " queues, where the device has " +
                    std::to_string(queues_max),
                config.source.text(),
                "lower queues:, or give the device more (net_pcap: one rx_pcap= a queue)");
  }
  queue_count_ = config.queues;

  rte_eth_conf conf{};
  if (info.driver_name != nullptr) driver_ = info.driver_name;
  const auto plan = plan_offloads(config, queue_count_, info);
  features_ = plan.features;
  conf.rxmode.offloads = plan.receive;
  conf.txmode.offloads = plan.transmit;
  if (features_.rss) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf = plan.rss_fields;
  }
  const auto queues = static_cast<std::uint16_t>(queue_count_);
  if (const int rc = rte_eth_dev_configure(number_, queues, queues, &conf); rc != 0) {
    return refused("configure", rc, id_);
  }
  return {};
}

Status Port::set_up_queues(const config::PortConfig& config) {
  auto receive = static_cast<std::uint16_t>(config.receive_descriptors);
  auto transmit = static_cast<std::uint16_t>(config.transmit_descriptors);
  if (const int rc = rte_eth_dev_adjust_nb_rx_tx_desc(number_, &receive, &transmit); rc != 0) {
    return refused("number of descriptors", rc, id_);
  }
  const int socket = rte_eth_dev_socket_id(number_);
  const unsigned mbufs = mbufs_for_queue(receive, transmit);
  for (unsigned number = 0; number < queue_count_; ++number) {
    const auto queue = static_cast<std::uint16_t>(number);
    const auto name = "mbufs_" + std::to_string(number_) + "_" + std::to_string(queue);
    auto* pool =
        rte_pktmbuf_pool_create(name.c_str(), mbufs, mbuf_cache, 0, mbuf_data_bytes, socket);
    if (pool == nullptr) {
      return fail(ErrorCode::exhausted,
                  "no memory for " + std::to_string(mbufs) + " mbufs: " + rte_strerror(rte_errno),
                  "port '" + id_ + "' queue " + std::to_string(queue),
                  "raise dataplane.memory, or lower receive_descriptors or queues");
    }
    pools_.push_back(pool);
    const auto node = static_cast<unsigned>(socket);
    if (const int rc = rte_eth_rx_queue_setup(number_, queue, receive, node, nullptr, pool);
        rc != 0) {
      return refused("receive queue " + std::to_string(queue), rc, id_);
    }
    if (const int rc = rte_eth_tx_queue_setup(number_, queue, transmit, node, nullptr); rc != 0) {
      return refused("transmit queue " + std::to_string(queue), rc, id_);
    }
  }
  return {};
}

Status Port::start(const config::PortConfig& config) {
  if (const int rc = rte_eth_dev_start(number_); rc != 0) return refused("start", rc, id_);
  learn_mac();
  std::uint16_t mtu = 0;
  if (rte_eth_dev_get_mtu(number_, &mtu) == 0) mtu_bytes_ = mtu;
  if (config.promiscuous) {
    // Drivers without a switch take everything anyway.
    const int rc = rte_eth_promiscuous_enable(number_);
    if (rc != 0 && rc != -ENOTSUP) return refused("promiscuous mode", rc, id_);
  }
  rte_eth_dev_set_link_up(number_);  // may be refused; the link's state is shown in any case
  return {};
}

// Rings and the like have no MAC: they get a locally administered one, told apart by the port's number.
void Port::learn_mac() {
  rte_ether_addr mac{};
  if (rte_eth_macaddr_get(number_, &mac) != 0 || rte_is_zero_ether_addr(&mac) != 0) {
    mac = {{0x02, 0x70, 0x68, 0x00, static_cast<std::uint8_t>(number_ >> 8),
            static_cast<std::uint8_t>(number_)}};
    // Filters nothing in such drivers, if they have it at all.
    rte_eth_dev_default_mac_addr_set(number_, &mac);
  }
  std::memcpy(mac_.bytes.data(), mac.addr_bytes, mac_.bytes.size());
}

// Drivers differ in what they can filter. Where nothing can be set, IPv6 may still work: the virtual drivers
// filter nothing.
void Port::join_multicast(std::span<const MacAddress> macs) {
  if (macs.empty() || rte_eth_promiscuous_get(number_) == 1) return;
  std::vector<rte_ether_addr> list(macs.size());
  for (std::size_t i = 0; i < macs.size(); ++i)
    std::memcpy(list[i].addr_bytes, macs[i].bytes.data(), 6);
  if (rte_eth_dev_set_mc_addr_list(number_, list.data(), static_cast<std::uint32_t>(list.size())) ==
      0)
    return;
  if (rte_eth_allmulticast_enable(number_) == 0) return;
  if (rte_eth_promiscuous_enable(number_) == 0) {
    spdlog::info("port '{}': the device has no multicast filter, promiscuous mode is on", id_);
    return;
  }
  spdlog::warn("port '{}': no multicast filter can be set; neighbour discovery may not reach us",
               id_);
}

PortStats Port::stats() const {
  rte_eth_stats raw{};
  if (rte_eth_stats_get(number_, &raw) != 0) return {};
  std::vector<std::uint64_t> queues(
      raw.q_ipackets,
      raw.q_ipackets + std::min<std::size_t>(queue_count_, std::size(raw.q_ipackets)));
  // Some drivers leave them all at 0.
  if (raw.ipackets != 0 && std::ranges::count(queues, 0U) == std::ssize(queues)) queues.clear();
  return {.received_packets = raw.ipackets,
          .received_bytes = raw.ibytes,
          .sent_packets = raw.opackets,
          .sent_bytes = raw.obytes,
          .missed_packets = raw.imissed,
          .receive_errors = raw.ierrors,
          .transmit_errors = raw.oerrors,
          .no_buffer_packets = raw.rx_nombuf,
          .queue_received_packets = std::move(queues)};
}

bool Port::link_up() const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(number_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

Port::Port(Port&& other) noexcept
    : number_(other.number_),
      attached_(std::exchange(other.attached_, false)),
      id_(std::move(other.id_)),
      device_(std::move(other.device_)),
      driver_(std::move(other.driver_)),
      mac_(other.mac_),
      queue_count_(other.queue_count_),
      mtu_bytes_(other.mtu_bytes_),
      features_(other.features_),
      pools_(std::exchange(other.pools_, {})),
      doorbells_(std::move(other.doorbells_)) {}

Port::~Port() {
  if (attached_) {
    // Kernel interfaces keep the mode otherwise.
    if (rte_eth_promiscuous_get(number_) == 1) rte_eth_promiscuous_disable(number_);
    rte_eth_dev_stop(number_);
    rte_eth_dev_close(number_);
  }
  for (auto* pool : pools_) rte_mempool_free(pool);
}

}  // namespace pharos::dataplane::io
