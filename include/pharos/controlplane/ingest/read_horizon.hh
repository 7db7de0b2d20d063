// Up to when a source of datagrams has been read: everything that had arrived by then has been taken.
//
// A look that finds the source empty says so of its own beginning. Where each look finds more than it may take, the
// source is a queue of a known size: once so many have been taken since a look began, all that waited then are among
// them. So the horizon moves on in a flood, too, behind the present by no more than the queue is long.
// Pure; owned by the ingest thread.
#pragma once

#include "pharos/base/clock.hh"

#include <cstddef>

namespace pharos::controlplane {

class ReadHorizon {
 public:
  // `queued_max`: datagrams that the source can hold. What came before `now` is nobody's.
  ReadHorizon(std::size_t queued_max, Instant now) noexcept
      : queued_max_(queued_max), until_(now), mark_(now) {}

  // A look that began at `at` took so many, and left none or perhaps some.
  void looked(Instant at, std::size_t taken, bool emptied) noexcept {
    if (emptied) {
      until_ = mark_ = at;
      taken_ = 0;
      return;
    }
    taken_ += taken;
    if (taken_ < queued_max_) return;
    until_ = mark_;
    mark_ = at;
    taken_ = 0;
  }
  [[nodiscard]] Instant until() const noexcept { return until_; }

 private:
  std::size_t queued_max_;
  Instant until_;
  Instant mark_;           // all that waited then are taken when taken_ reaches queued_max_
  std::size_t taken_ = 0;  // since
};

}  // namespace pharos::controlplane
