// Writes the corpus that fuzzing of images starts from: sound images, and recipes that bend each of them.
//
//   make_image_corpus FOLDER
#include <cstdio>
#include <fstream>
#include <string>

#include "image_seeds.hh"

namespace {

// Locale maps are above a megabyte, almost all of it equal: they are reached by recipe only.
constexpr std::size_t image_bytes_max = 16U << 10;

bool write_file(const std::string& path, pharos::ConstBytes bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  return file.good();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_image_corpus FOLDER\n");
    return 2;
  }
  const std::string folder = argv[1];
  bool good = true;
  const auto& seeds = pharos::fuzz::seeds();
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    const auto& [name, image] = seeds[i];
    if (image.size() <= image_bytes_max) good = write_file(folder + "/" + name, image) && good;
    const std::byte recipe[] = {std::byte(i), std::byte(0), std::byte(2),
                                std::byte(0), std::byte(0), std::byte(1),
                                std::byte(0), std::byte(0), std::byte(0)};
    good = write_file(folder + "/" + name + ".recipe", pharos::ConstBytes(recipe).first(1)) && good;
    good = write_file(folder + "/" + name + ".bent", recipe) && good;
  }
  return good ? 0 : 1;
}
