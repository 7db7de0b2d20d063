#include "pharos/dataplane/lane/exception_queue.hh"

#include <fcntl.h>

#include <utility>

namespace pharos::dataplane {

namespace {

[[nodiscard]] Result<std::pair<RingProducer, RingConsumer>> make_ring(const char* name) {
  auto producer = RingProducer::create(ExceptionQueue::ring_bytes, name);
  if (!producer) return std::unexpected(producer.error());
  UniqueFd copy(::fcntl(producer->fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno("fcntl(F_DUPFD_CLOEXEC)", name);
  auto consumer = RingConsumer::attach(std::move(copy));
  if (!consumer) return std::unexpected(consumer.error());
  return std::pair(std::move(*producer), std::move(*consumer));
}

}  // namespace

Result<std::unique_ptr<ExceptionQueue>> ExceptionQueue::create(Waker& lane) {
  std::unique_ptr<ExceptionQueue> queue(new ExceptionQueue(lane));
  if (auto ok = queue->worker_.open(); !ok) return std::unexpected(ok.error());
  auto to_kernel = make_ring("pharos-to-kernel");
  if (!to_kernel) return std::unexpected(to_kernel.error());
  auto to_port = make_ring("pharos-to-port");
  if (!to_port) return std::unexpected(to_port.error());
  std::tie(queue->to_kernel_in_, queue->to_kernel_out_) = std::move(*to_kernel);
  std::tie(queue->to_port_in_, queue->to_port_out_) = std::move(*to_port);
  return queue;
}

}  // namespace pharos::dataplane
