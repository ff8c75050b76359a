// Memory straight from the system: zeroed anonymous regions, and read-only views of files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace gs {

enum class HugePages { kNo, kYes };

// A zeroed, page-aligned region; 2 MiB aligned and advised for huge pages if asked and at least that large.
// Pages are taken from the system on first touch. Throws OutOfMemoryError with the size and `purpose`.
class Region {
 public:
  Region() = default;
  Region(size_t bytes, HugePages huge, const std::string& purpose);
  ~Region();
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  // Bytes of it that the system has given so far.
  size_t resident() const;

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// A zeroed part of a region, aligned to 64 bytes; its pages go back to the system with it.
class Slice {
 public:
  Slice() = default;
  // A region of its own.
  explicit Slice(Region region);
  ~Slice();
  Slice(Slice&& other) noexcept;
  Slice& operator=(Slice&& other) noexcept;

  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  friend class SharedRegions;
  std::shared_ptr<Region> region_;
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// Regions that what is read all the time shares: alone, a matrix would be too small for huge pages or end on
// small ones, and reading small pages once is a third slower. Used by one thread; slices may end on any.
class SharedRegions {
 public:
  // Throws OutOfMemoryError.
  Slice take(size_t bytes, const std::string& purpose);

 private:
  std::shared_ptr<Region> region_;
  size_t used_ = 0;
};

// A range of a file, mapped read-only for the object's life. The file's size is compared with `file_size` on
// the open descriptor before anything is mapped, since touching a page past the end would kill the process.
class MappedFile {
 public:
  MappedFile(const std::string& path, uint64_t file_size, uint64_t offset, uint64_t length);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void* map_ = nullptr;
  size_t map_size_ = 0;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace gs
