#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "errors.h"

namespace gs {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// A shared region, and what has one of its own: there, the small pages at its end are less than an eighth.
constexpr size_t kSharedRegion = size_t{64} << 20, kOwnRegion = size_t{16} << 20;
constexpr size_t kSliceAlignment = 64;

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

struct Descriptor {
  int fd;
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

}  // namespace

Region::Region(size_t bytes, HugePages huge, const std::string& purpose) {
  if (bytes == 0) return;
  const bool align = huge == HugePages::kYes && bytes >= kHugePage;
  const auto refuse = [&] {
    throw OutOfMemoryError("The system refused " + std::to_string(bytes >> 20) + " MiB (" +
                           std::to_string(bytes) + " bytes) for " + purpose + ": " + std::strerror(errno) +
                           ".");
  };
  if (bytes > SIZE_MAX - 2 * kHugePage) {
    errno = ENOMEM;
    refuse();
  }
  const size_t size = round_up(bytes, page_size());
  const size_t asked = align ? size + kHugePage : size;
  // Without MAP_NORESERVE, so that a system that never had this much says so now instead of killing us later.
  void* map = mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) refuse();
  auto* start = static_cast<uint8_t*>(map);
  if (align) {
    const auto address = reinterpret_cast<uintptr_t>(start);
    const size_t head = round_up(address, kHugePage) - address;
    if (head > 0) munmap(start, head);
    if (asked - head > size) munmap(start + head + size, asked - head - size);
    start += head;
    madvise(start, size, MADV_HUGEPAGE);  // advice only: a system without huge pages is slower, not wrong
  }
  data_ = start;
  size_ = size;
}

Region::~Region() {
  if (data_ != nullptr) munmap(data_, size_);
}

Region::Region(Region&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Region& Region::operator=(Region&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

size_t Region::resident() const {
  if (data_ == nullptr) return 0;
  const size_t pages = size_ / page_size();
  std::vector<unsigned char> present(pages);
  if (mincore(data_, size_, present.data()) != 0) return 0;
  size_t count = 0;
  for (const unsigned char page : present) count += page & 1;
  return count * page_size();
}

Slice::Slice(Region region) : region_(std::make_shared<Region>(std::move(region))) {
  data_ = region_->data();
  size_ = region_->size();
}

Slice::~Slice() {
  if (data_ == nullptr) return;
  const auto begin = reinterpret_cast<uintptr_t>(data_), first = round_up(begin, page_size());
  const uintptr_t last = (begin + size_) / page_size() * page_size();
  // Pages shared with neighbours stay.
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

Slice::Slice(Slice&& other) noexcept
    : region_(std::move(other.region_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Slice& Slice::operator=(Slice&& other) noexcept {
  std::swap(region_, other.region_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Slice SharedRegions::take(size_t bytes, const std::string& purpose) {
  if (bytes >= kOwnRegion) return Slice(Region(bytes, HugePages::kYes, purpose));
  const size_t size = round_up(bytes, kSliceAlignment);
  if (region_ == nullptr || size > kSharedRegion - used_) {
    region_ = std::make_shared<Region>(kSharedRegion, HugePages::kYes, purpose);
    used_ = 0;
  }
  Slice slice;
  slice.region_ = region_;
  slice.data_ = region_->data() + used_;
  slice.size_ = size;
  used_ += size;
  return slice;
}

MappedFile::MappedFile(const std::string& path, uint64_t file_size, uint64_t offset, uint64_t length) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) throw BackendError("Cannot open " + path + ": " + std::strerror(errno) + ".");
  struct stat status = {};
  if (fstat(file.fd, &status) != 0)
    throw BackendError("Cannot examine " + path + ": " + std::strerror(errno) + ".");
  if (!S_ISREG(status.st_mode)) throw BackendError(path + " is not a regular file.");
  if (static_cast<uint64_t>(status.st_size) != file_size) {
    throw BackendError(path + " has changed: it held " + std::to_string(file_size) +
                       " bytes when it was checked and holds " + std::to_string(status.st_size) +
                       " now. Load the model again.");
  }
  if (offset > file_size || length > file_size - offset) {
    throw RangeError("Bytes " + std::to_string(offset) + " + " + std::to_string(length) + " lie outside " +
                     path + ", which holds " + std::to_string(file_size) + ".");
  }
  size_ = length;
  if (length == 0) return;
  const uint64_t start = offset / page_size() * page_size();
  map_size_ = length + (offset - start);
  map_ = mmap(nullptr, map_size_, PROT_READ, MAP_PRIVATE, file.fd, static_cast<off_t>(start));
  if (map_ == MAP_FAILED) {
    map_ = nullptr;
    throw OutOfMemoryError("Cannot map " + std::to_string(map_size_ >> 20) + " MiB of " + path + ": " +
                           std::strerror(errno) + ".");
  }
  madvise(map_, map_size_, MADV_SEQUENTIAL);
  madvise(map_, map_size_, MADV_WILLNEED);
  data_ = static_cast<const uint8_t*>(map_) + (offset - start);
}

MappedFile::~MappedFile() {
  if (map_ != nullptr) munmap(map_, map_size_);
}

}  // namespace gs
