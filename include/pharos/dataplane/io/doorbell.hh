// Doorbells: the descriptors under a virtual port, which a worker may wait at instead of polling an empty queue.
//
// The AF_PACKET, AF_XDP and TAP drivers poll a ring in memory and keep the kernel's descriptor of it to themselves;
// DPDK has no receive interrupts for the first two. The descriptor is found among our own by what the kernel says of
// it. It is only a hint to wake: a worker never waits longer than doorbell_wait_us, so that a wrong or silent one
// costs latency and nothing else. Start-up: control thread; wait: workers.
#pragma once

#include "pharos/dataplane/io/device.hh"

#include <cstdint>
#include <span>
#include <vector>

struct pollfd;

namespace pharos::dataplane::io {

inline constexpr std::uint32_t doorbell_wait_us = 5000;

// Open descriptors of this process, ascending.
[[nodiscard]] std::vector<int> open_descriptors();

// One descriptor for each of `queues` queues of a started port, in their order; empty when they cannot be told
// for sure. `before`: open_descriptors() from before the port was opened.
[[nodiscard]] std::vector<int> find_doorbells(const Device& device, unsigned queues,
                                              const std::vector<int>& before);

// Sleeps until a frame comes to one of `doorbells`, at most doorbell_wait_us. A descriptor in error (interface
// down) must not turn waiting into spinning: then it sleeps `error_sleep_us`.
void wait_at(std::span<pollfd> doorbells, std::uint32_t error_sleep_us) noexcept;

}  // namespace pharos::dataplane::io
