// Runs a fuzz target over the files of a corpus, without libFuzzer: the form in which every build tests it.
//
//   <stem>_fuzz FOLDER-OR-FILE...     exit status 0: all ran; a finding ends the process as it would under libFuzzer
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

bool run_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return false;
  }
  const std::vector<char> bytes(std::istreambuf_iterator<char>(file), {});
  // In memory of exactly that size, so that AddressSanitizer sees a read too far.
  const auto exact = std::make_unique<std::uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), exact.get());
  LLVMFuzzerTestOneInput(exact.get(), bytes.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  unsigned count = 0;
  bool good = true;
  for (int i = 1; i < argc; ++i) {
    std::error_code failure;
    if (!std::filesystem::is_directory(argv[i], failure)) {
      good = run_file(argv[i]) && good;
      ++count;
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      good = run_file(entry.path()) && good;
      ++count;
    }
  }
  std::printf("%u inputs\n", count);
  return good && count != 0 ? 0 : 1;
}
