// The DPDK environment (EAL): its arguments made from the configuration, its start, its log lines in our log.
//
// The control thread is the main lcore, each worker an lcore of its own, pinned by the EAL: mbuf pools keep
// their caches by lcore, so workers are launched with rte_eal_remote_launch and not as threads of our own.
// Nothing of the EAL is shared with other processes: no secondary, no files outside of the run directory.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/dataplane/io/device.hh"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace pharos::dataplane::io {

// What the host offers; read once, passed in so that plans can be tested.
struct HostFacts {
  std::vector<unsigned> cores;             // that this process may run on, ascending
  std::uint64_t free_huge_page_bytes = 0;  // of all sizes
};
[[nodiscard]] HostFacts read_host_facts();

struct EalPlan {
  bool huge_pages = false;
  unsigned control_core = 0;
  std::vector<unsigned> worker_cores;  // worker i runs as lcore i + 1 on worker_cores[i]
  std::vector<Device> devices;         // in the order of the configuration's ports
  std::vector<std::string> arguments;  // argv of rte_eal_init
};

// Decides cores, memory and arguments. One worker for each queue, as far as there are cores; with fewer
// cores a worker serves several queues. Errors: invalid (a core that is not ours, a device that cannot be one,
// more workers than the EAL takes), exhausted (huge pages required and not there).
[[nodiscard]] Result<EalPlan> plan_eal(const config::DataplaneConfig& dataplane,
                                       const std::string& run_directory, const HostFacts& host);

// One per process, for its whole life: the EAL cannot start twice.
class Eal {
 public:
  // Starts the EAL by `plan`; its files, if any, go below `run_directory`. Errors: unavailable.
  [[nodiscard]] static Result<Eal> start(const EalPlan& plan, const std::string& run_directory);
  Eal(Eal&& other) noexcept;
  Eal& operator=(Eal&&) = delete;
  ~Eal();

  // Runs `body` on the lcore of worker `worker`. The worker must be idle. Errors: unavailable.
  [[nodiscard]] Status launch(unsigned worker, std::function<void()> body);
  // Waits until all launched bodies have returned.
  void join() noexcept;

 private:
  Eal() noexcept = default;
  bool started_ = false;
  std::vector<std::function<void()>> bodies_;  // by worker; never grows after start
};

}  // namespace pharos::dataplane::io
