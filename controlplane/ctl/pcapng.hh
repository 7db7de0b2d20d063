// A file of captured frames in the format pcapng (draft-ietf-opsawg-pcapng), which tcpdump and Wireshark read: times in nanoseconds,
// each frame with its direction, and at the end how many were lost. Private to this folder. One thread.
//
//   section header | interface | frame | frame ... | statistics
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/fd.hh"

#include <cstdint>
#include <string>

namespace pharos::controlplane::ctl {

struct CapturedFrame {
  std::int64_t time_ns = 0;      // since 1970
  std::uint32_t wire_bytes = 0;  // of the frame; `bytes` may be fewer
  bool out = false;
  std::string bytes;
};

// Where frames go: a file, or several in turn, or standard output.
struct PcapngTarget {
  std::string path;                  // "-": standard output
  std::uint64_t file_bytes_max = 0;  // 0: any
  unsigned files = 1;  // 1: full is the end; more: PATH, and PATH.1 to PATH.(n-1), the newest first
  std::string interface;
  std::string comment;  // of the interface
  std::uint32_t frame_bytes_max = 0;
};

class PcapngWriter {
 public:
  // Makes the file, which only its owner may read, in place of one that is there. Errors: unavailable.
  [[nodiscard]] static Result<PcapngWriter> open(PcapngTarget target);

  // False: the file is full, and there is no other; the frame is not in it. Errors: unavailable.
  [[nodiscard]] Result<bool> write(const CapturedFrame& frame);
  // Hands what was written to the kernel. Errors: unavailable.
  [[nodiscard]] Status flush();
  // Ends the file with what was lost.
  [[nodiscard]] Status finish(std::uint64_t dropped, std::int64_t time_ns);

 private:
  explicit PcapngWriter(PcapngTarget target) : target_(std::move(target)) {}
  [[nodiscard]] Status begin_file();
  [[nodiscard]] Status rotate();

  PcapngTarget target_;
  UniqueFd file_;
  std::string buffer_;
  std::uint64_t file_bytes_ = 0;  // with what is in the buffer
};

}  // namespace pharos::controlplane::ctl
