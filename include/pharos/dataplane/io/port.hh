// An Ethernet port: opened, configured, started, looked at and closed by the control thread. Workers touch its
// queues only, through burst.hh.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/dataplane/io/device.hh"
#include "pharos/dataplane/io/offloads.hh"
#include "pharos/dataplane/packet/interface.hh"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

struct rte_mempool;

namespace pharos::dataplane::io {

// Mbufs for one queue; the arithmetic stands at the definition.
[[nodiscard]] unsigned mbufs_for_queue(unsigned receive_descriptors,
                                       unsigned transmit_descriptors) noexcept;

struct PortStats {
  std::uint64_t received_packets = 0, received_bytes = 0;
  std::uint64_t sent_packets = 0, sent_bytes = 0;
  std::uint64_t missed_packets = 0;  // the queue was full
  std::uint64_t receive_errors = 0, transmit_errors = 0;
  std::uint64_t no_buffer_packets = 0;  // no mbuf for them
  // By queue, of the first 16; empty where the driver does not count them.
  std::vector<std::uint64_t> queue_received_packets;
};

class Port {
 public:
  // Configures the device with its queues and offloads, and starts it. Errors: unavailable (no such device, or it
  // refuses), invalid (more queues than it has), exhausted (no memory for mbufs).
  [[nodiscard]] static Result<Port> open(const config::PortConfig& port, const Device& device);
  Port(Port&& other) noexcept;
  Port& operator=(Port&&) = delete;
  ~Port();  // stops and closes

  [[nodiscard]] std::uint16_t number() const noexcept { return number_; }
  [[nodiscard]] const std::string& id() const noexcept { return id_; }
  [[nodiscard]] const std::string& device_name() const noexcept { return device_; }
  // DPDK's name of the driver: "net_e1000_em", "net_af_packet".
  [[nodiscard]] const std::string& driver() const noexcept { return driver_; }
  [[nodiscard]] const MacAddress& mac() const noexcept { return mac_; }
  [[nodiscard]] unsigned queue_count() const noexcept { return queue_count_; }
  [[nodiscard]] const PortFeatures& features() const noexcept { return features_; }
  [[nodiscard]] unsigned mtu_bytes() const noexcept { return mtu_bytes_; }

  // Lets frames to these multicast MACs in: by the list, else all multicast, else everything; says in the log which
  // when it is not the list.
  void join_multicast(std::span<const MacAddress> macs);

  // Where a worker of `queue` may wait for frames (doorbell.hh); -1: nowhere, poll it.
  [[nodiscard]] int doorbell(unsigned queue) const noexcept {
    return doorbells_.empty() ? -1 : doorbells_[queue];
  }

  // Where a worker of `queue` takes mbufs for frames of its own.
  [[nodiscard]] rte_mempool* pool(unsigned queue) const noexcept { return pools_[queue]; }

  [[nodiscard]] PortStats stats() const;
  [[nodiscard]] bool link_up() const;

 private:
  Port() noexcept = default;
  [[nodiscard]] Status configure(const config::PortConfig& port);
  [[nodiscard]] Status set_up_queues(const config::PortConfig& port);
  [[nodiscard]] Status start(const config::PortConfig& port);
  void learn_mac();

  std::uint16_t number_ = 0;
  bool attached_ = false;
  std::string id_;
  std::string device_;
  std::string driver_;
  MacAddress mac_{};
  unsigned queue_count_ = 0;
  unsigned mtu_bytes_ = 0;
  PortFeatures features_;
  std::vector<rte_mempool*> pools_;  // one per queue
  std::vector<int> doorbells_;       // one per queue, or none; the driver's
};

}  // namespace pharos::dataplane::io
