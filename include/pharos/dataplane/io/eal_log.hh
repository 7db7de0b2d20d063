// EAL and PMD log lines, handed to our log at the level that they have. Lines may come from any thread; a PMD
// that complains for every packet is cut off after `eal_lines_per_second`.
#pragma once

#include <string>

namespace pharos::dataplane::io {

inline constexpr unsigned eal_lines_per_second = 50;

// Before rte_eal_init, and after rte_eal_cleanup. Control thread.
void install_eal_log();
void remove_eal_log();

// DPDK asks for what `level` (ours) would show; at `info`, its `notice` and above.
void set_eal_log_level(const std::string& level);

}  // namespace pharos::dataplane::io
