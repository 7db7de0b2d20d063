// Owners of what the kernel hands out: file descriptors and mappings. Move-only.
#pragma once

#include "pharos/base/bytes.hh"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

namespace pharos {

class UniqueFd {
 public:
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

// A region from mmap(2), unmapped at the end of its owner's life. Of the region, the first
// size_bytes() are in use: with huge pages the region ends behind them.
class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(void* address, std::size_t bytes) noexcept : Mapping(address, bytes, bytes) {}
  Mapping(void* address, std::size_t region_bytes, std::size_t used_bytes) noexcept
      : address_(address), region_bytes_(region_bytes), size_bytes_(used_bytes) {}
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)),
        region_bytes_(std::exchange(other.region_bytes_, 0)),
        size_bytes_(std::exchange(other.size_bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    if (this != &other) {
      reset();
      address_ = std::exchange(other.address_, nullptr);
      region_bytes_ = std::exchange(other.region_bytes_, 0);
      size_bytes_ = std::exchange(other.size_bytes_, 0);
    }
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(address_); }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] ConstBytes bytes() const noexcept { return {data(), size_bytes_}; }
  [[nodiscard]] explicit operator bool() const noexcept { return address_ != nullptr; }
  void reset() noexcept {
    if (address_ != nullptr) ::munmap(std::exchange(address_, nullptr), region_bytes_);
    region_bytes_ = size_bytes_ = 0;
  }

 private:
  void* address_ = nullptr;
  std::size_t region_bytes_ = 0;
  std::size_t size_bytes_ = 0;
};

}  // namespace pharos
