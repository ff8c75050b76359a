// The Node-API edge: the only file that includes Node headers. Handles, lengths and ranges are checked here
// and in program.cc whatever native.ts has checked; C++ exceptions become JavaScript errors with a `code`.
#include <napi.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "cores.h"
#include "engine.h"
#include "errors.h"

namespace {

using gs::CancelFlag;
using gs::Engine;
using gs::MatrixFormat;

// Raised with every change of the functions or of the operation list; native.ts refuses another number.
constexpr int kAbiVersion = 8;

constexpr int64_t kMaxDimension = int64_t{1} << 31;
constexpr double kMaxExactInteger = 9007199254740992.0;
constexpr int64_t kNoPass = -1;

Napi::Error to_js(Napi::Env env, const std::exception_ptr& failure) {
  const auto make = [env](const char* code, const char* message) {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    return error;
  };
  try {
    std::rethrow_exception(failure);
  } catch (const gs::RangeError& error) {
    return make("RANGE", error.what());
  } catch (const gs::OutOfMemoryError& error) {
    return make("OUT_OF_MEMORY", error.what());
  } catch (const std::bad_alloc&) {
    return make("OUT_OF_MEMORY", "The system refused memory for the engine's lists.");
  } catch (const gs::CancelledError& error) {
    return make("CANCELLED", error.what());
  } catch (const gs::BackendError& error) {
    return make("BACKEND", error.what());
  } catch (const std::exception& error) {
    return make("INTERNAL", error.what());
  }
}

double number(const Napi::Value& value, const char* what) {
  if (!value.IsNumber()) throw gs::RangeError(std::string(what) + " must be a number.");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer(const Napi::Value& value, int64_t least, int64_t most, const char* what) {
  const double given = number(value, what);
  if (!(given >= static_cast<double>(least) && given <= static_cast<double>(most)) ||
      given != std::floor(given)) {
    throw gs::RangeError(std::string(what) + " must be an integer in [" + std::to_string(least) + ", " +
                         std::to_string(most) + "], not " + std::to_string(given) + ".");
  }
  return static_cast<int64_t>(given);
}

std::string text(const Napi::Value& value, const char* what) {
  if (!value.IsString()) throw gs::RangeError(std::string(what) + " must be a string.");
  return value.As<Napi::String>().Utf8Value();
}

template <class Array>
Array typed_array(const Napi::Value& value, napi_typedarray_type type, const char* what) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw gs::RangeError(std::string(what) + " is a typed array of the wrong kind.");
  }
  return value.As<Array>();
}

// What a finished job hands to the JavaScript thread.
struct Completion {
  std::function<Napi::Value(Napi::Env)> result;  // runs on the JavaScript thread
  std::exception_ptr failure;
  Napi::Promise::Deferred deferred;
  int64_t pass;
};

// An engine and its way back to the JavaScript thread.
class Host {
 public:
  Host(Napi::Env env, int threads, const std::string& isa, gs::Precision precision, int niceness)
      : engine(std::make_unique<Engine>(threads, isa, precision, niceness)),
        callback_(Napi::ThreadSafeFunction::New(
            env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "gemma-sidecar engine", 0, 1)) {
    callback_.Unref(env);
  }

  ~Host() {
    engine.reset();
    callback_.Release();
  }

  // Runs `work` on the dispatcher and settles the promise with `result`. A pending job keeps the process
  // alive. `pass` is the entry of `passes` that ends with the job, or kNoPass.
  Napi::Promise post(Napi::Env env, std::function<void()> work, std::function<Napi::Value(Napi::Env)> result,
                     int64_t pass = kNoPass) {
    auto deferred = Napi::Promise::Deferred::New(env);
    const Napi::Promise promise = deferred.Promise();
    if (pending_++ == 0) callback_.Ref(env);
    engine->post(std::move(work), [this, deferred, pass,
                                   result = std::move(result)](std::exception_ptr failure) {
      auto* completion = new Completion{result, failure, deferred, pass};
      const napi_status status = callback_.NonBlockingCall(
          completion, [this, alive = std::weak_ptr<char>(alive_)](
                          Napi::Env there, Napi::Function, Completion* done) { settle(there, done, alive); });
      if (status != napi_ok) delete completion;  // the environment is going away: nobody waits any more
    });
    return promise;
  }

  std::unique_ptr<Engine> engine;
  std::map<int64_t, CancelFlag> passes;  // submitted and not yet settled, by the caller's number

 private:
  void settle(Napi::Env env, Completion* done, const std::weak_ptr<char>& alive) {
    const std::unique_ptr<Completion> completion(done);
    if (env == nullptr) return;  // the environment is being torn down
    if (!alive.expired()) {
      if (--pending_ == 0) callback_.Unref(env);
      passes.erase(completion->pass);
    }
    const Napi::HandleScope scope(env);
    try {
      // Results become handles of the engine, which is gone once it is disposed of.
      if (completion->failure == nullptr && alive.expired()) throw gs::CancelledError();
      if (completion->failure != nullptr) std::rethrow_exception(completion->failure);
      completion->deferred.Resolve(completion->result(env));
    } catch (const Napi::Error& error) {
      completion->deferred.Reject(error.Value());
    } catch (...) {
      completion->deferred.Reject(to_js(env, std::current_exception()).Value());
    }
  }

  Napi::ThreadSafeFunction callback_;
  int pending_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

class CpuAddon : public Napi::Addon<CpuAddon> {
 public:
  CpuAddon(Napi::Env env, Napi::Object exports) {
    env.AddCleanupHook([this] { hosts_.clear(); });
    DefineAddon(exports,
                {
                    InstanceValue("abiVersion", Napi::Number::New(env, kAbiVersion), napi_enumerable),
                    method<&CpuAddon::isas>("isas"),
                    method<&CpuAddon::performance_cores>("performanceCores"),
                    method<&CpuAddon::create_engine>("createEngine"),
                    method<&CpuAddon::dispose_engine>("disposeEngine"),
                    method<&CpuAddon::load_matrix>("loadMatrix"),
                    method<&CpuAddon::load_vector>("loadVector"),
                    method<&CpuAddon::grow_shadow>("growShadow"),
                    method<&CpuAddon::screening>("screening"),
                    method<&CpuAddon::dispose_matrix>("disposeMatrix"),
                    method<&CpuAddon::dispose_vector>("disposeVector"),
                    method<&CpuAddon::create_activation>("createActivation"),
                    method<&CpuAddon::dispose_activation>("disposeActivation"),
                    method<&CpuAddon::create_arena>("createArena"),
                    method<&CpuAddon::dispose_arena>("disposeArena"),
                    method<&CpuAddon::copy_page>("copyPage"),
                    method<&CpuAddon::read_page>("readPage"),
                    method<&CpuAddon::write_page>("writePage"),
                    method<&CpuAddon::compress_page>("compressPage"),
                    method<&CpuAddon::bound_page>("boundPage"),
                    method<&CpuAddon::submit>("submit"),
                    method<&CpuAddon::cancel>("cancel"),
                    method<&CpuAddon::read_back>("readBack"),
                    method<&CpuAddon::upload>("upload"),
                    method<&CpuAddon::memory>("memory"),
                    method<&CpuAddon::profile>("profile"),
                });
  }

 private:
  using Info = Napi::CallbackInfo;
  using Member = Napi::Value (CpuAddon::*)(const Info&);

  template <Member member>
  Napi::Value guarded(const Info& info) {
    try {
      return (this->*member)(info);
    } catch (const Napi::Error&) {
      throw;
    } catch (...) {
      throw to_js(info.Env(), std::current_exception());
    }
  }

  template <Member member>
  static Napi::ClassPropertyDescriptor<CpuAddon> method(const char* name) {
    return InstanceMethod<&CpuAddon::guarded<member>>(name, napi_enumerable);
  }

  Host& host(const Info& info) { return *hosts_.get(handle(info[0])); }
  static int64_t handle(const Napi::Value& value) {
    return integer(value, 0, static_cast<int64_t>(kMaxExactInteger), "A handle");
  }

  static void require_idle(const Host& host) {
    if (!host.passes.empty())
      throw gs::RangeError("A pass is running; wait for it before touching its memory.");
  }

  Napi::Value isas(const Info& info) {
    Napi::Array names = Napi::Array::New(info.Env());
    for (const gs::Isa& isa : gs::usable_isas()) names.Set(names.Length(), isa.name);
    return names;
  }

  // (number of processors, folder) -> number of threads
  Napi::Value performance_cores(const Info& info) {
    std::vector<int> cpus(static_cast<size_t>(integer(info[0], 1, 4096, "The number of processors")));
    std::iota(cpus.begin(), cpus.end(), 0);
    return Napi::Number::New(info.Env(), gs::performance_cores(cpus, text(info[1], "A folder")));
  }

  // (threads, isa, precision, niceness) -> {handle, isa, description, threads}
  Napi::Value create_engine(const Info& info) {
    const auto threads = static_cast<int>(integer(info[0], 0, 1024, "The number of threads"));
    const auto precision = static_cast<gs::Precision>(integer(info[2], 0, 2, "The precision"));
    auto created =
        std::make_shared<Host>(info.Env(), threads, text(info[1], "The instruction set"), precision,
                               static_cast<int>(integer(info[3], 0, 19, "The niceness")));
    const Engine& engine = *created->engine;
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("isa", engine.isa().name);
    result.Set("description", engine.isa().description);
    result.Set("threads", engine.threads());
    result.Set("handle", static_cast<double>(hosts_.add(std::move(created))));
    return result;
  }

  Napi::Value dispose_engine(const Info& info) {
    hosts_.remove(handle(info[0]));
    return info.Env().Undefined();
  }

  // (engine, name, format, rows, columns, path | Uint8Array, fileSize, offset, byteLength)
  struct WeightArguments {
    std::string name;
    MatrixFormat format;
    int64_t rows, columns;
    std::shared_ptr<gs::WeightData> data;
  };
  static WeightArguments weight(const Info& info) {
    WeightArguments arguments = {
        text(info[1], "A weight's name"),
        static_cast<MatrixFormat>(integer(info[2], 0, static_cast<int64_t>(MatrixFormat::kQ6_K), "A format")),
        integer(info[3], 1, kMaxDimension, "Rows"), integer(info[4], 1, kMaxDimension, "Columns"),
        std::make_shared<gs::WeightData>()};
    gs::WeightData& data = *arguments.data;
    if (info[5].IsString()) {
      const auto most = static_cast<int64_t>(kMaxExactInteger);
      data.path = text(info[5], "A path");
      if (data.path.empty() || data.path.find('\0') != std::string::npos) throw gs::RangeError("A bad path.");
      data.file_size = static_cast<uint64_t>(integer(info[6], 0, most, "A file's size"));
      data.offset = static_cast<uint64_t>(integer(info[7], 0, most, "An offset"));
      data.length = static_cast<uint64_t>(integer(info[8], 0, most, "A length"));
    } else {
      const auto bytes = typed_array<Napi::Uint8Array>(info[5], napi_uint8_array, "A weight");
      data.bytes.assign(bytes.Data(), bytes.Data() + bytes.ByteLength());
    }
    return arguments;
  }

  Napi::Value load_matrix(const Info& info) {
    Host& target = host(info);
    const WeightArguments w = weight(info);
    const auto keeping = info[9].ToBoolean().Value() ? gs::Keeping::kRounded : gs::Keeping::kAsItIs;
    auto loaded = std::make_shared<std::shared_ptr<gs::MatrixObject>>();
    Engine* engine = target.engine.get();
    return target.post(
        info.Env(),
        [=] { *loaded = engine->load_matrix(w.name, w.format, w.rows, w.columns, *w.data, keeping); },
        [=](Napi::Env env) {
          return Napi::Number::New(env, static_cast<double>(engine->objects().matrices.add(*loaded)));
        });
  }

  Napi::Value load_vector(const Info& info) {
    Host& target = host(info);
    const WeightArguments w = weight(info);
    if (w.rows != 1)
      throw gs::RangeError(w.name + " is not a vector: it has " + std::to_string(w.rows) + " rows.");
    auto loaded = std::make_shared<std::shared_ptr<gs::VectorObject>>();
    Engine* engine = target.engine.get();
    return target.post(
        info.Env(), [=] { *loaded = engine->load_vector(w.name, w.format, w.columns, *w.data); },
        [=](Napi::Env env) {
          return Napi::Number::New(env, static_cast<double>(engine->objects().vectors.add(*loaded)));
        });
  }

  // (engine, matrix) -> whether the shadow is whole, and in use
  Napi::Value grow_shadow(const Info& info) {
    Host& target = host(info);
    const std::shared_ptr<gs::MatrixObject> matrix = target.engine->objects().matrices.get(handle(info[1]));
    if (matrix->shadow != nullptr) throw gs::RangeError("The matrix has a shadow already.");
    const auto whole = std::make_shared<bool>(false);
    Engine* engine = target.engine.get();
    return target.post(
        info.Env(), [=] { *whole = engine->grow_shadow(*matrix); },
        [=](Napi::Env env) {
          if (*whole) matrix->shadow = std::move(matrix->growing);
          return Napi::Boolean::New(env, *whole);
        });
  }

  Napi::Value screening(const Info& info) {
    const gs::Screening& counts = host(info).engine->screening();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("passes", static_cast<double>(counts.passes.load()));
    result.Set("panels", static_cast<double>(counts.panels.load()));
    result.Set("read", static_cast<double>(counts.read.load()));
    return result;
  }

  Napi::Value create_activation(const Info& info) {
    Engine& engine = *host(info).engine;
    const int64_t tokens = integer(info[1], 1, kMaxDimension, "Tokens"),
                  width = integer(info[2], 1, kMaxDimension, "Width");
    return Napi::Number::New(
        info.Env(),
        static_cast<double>(engine.objects().activations.add(engine.create_activation(tokens, width))));
  }

  Napi::Value dispose_matrix(const Info& info) {
    host(info).engine->objects().matrices.remove(handle(info[1]));
    return info.Env().Undefined();
  }

  Napi::Value dispose_vector(const Info& info) {
    host(info).engine->objects().vectors.remove(handle(info[1]));
    return info.Env().Undefined();
  }

  // A running pass keeps what it uses alive, so disposing of it early is safe.
  Napi::Value dispose_activation(const Info& info) {
    host(info).engine->objects().activations.remove(handle(info[1]));
    return info.Env().Undefined();
  }

  // (engine, layers, kvHeads, headDim, pages, format, bounded) -> {handle, pageBytes}
  Napi::Value create_arena(const Info& info) {
    Engine& engine = *host(info).engine;
    const auto arena = engine.create_arena(
        integer(info[1], 1, 4096, "Layers"), integer(info[2], 1, 4096, "KV heads"),
        integer(info[3], 1, 4096, "The head size"), integer(info[4], 1, int64_t{1} << 24, "Pages"),
        static_cast<gs::KvFormat>(
            integer(info[5], 0, static_cast<int64_t>(gs::KvFormat::kInt4), "A KV format")),
        integer(info[6], 0, 1, "Whether keys have bounds") == 1);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("handle", static_cast<double>(engine.objects().arenas.add(arena)));
    result.Set("pageBytes", static_cast<double>(arena->page_bytes()));
    return result;
  }

  Napi::Value dispose_arena(const Info& info) {
    host(info).engine->objects().arenas.remove(handle(info[1]));
    return info.Env().Undefined();
  }

  Napi::Value copy_page(const Info& info) {
    Host& target = host(info);
    require_idle(target);
    const gs::KvArenaObject& arena = *target.engine->objects().arenas.get(handle(info[1]));
    const int64_t from = integer(info[2], 0, arena.pages - 1, "A page"),
                  to = integer(info[3], 0, arena.pages - 1, "A page");
    if (from != to) std::memcpy(arena.page(to), arena.page(from), arena.page_bytes());
    return info.Env().Undefined();
  }

  // (engine, arena, page, Uint8Array of one page)
  Napi::Value read_page(const Info& info) {
    require_idle(host(info));
    const PageBytes page = page_bytes(info);
    std::memcpy(page.outside, page.inside, page.count);
    return info.Env().Undefined();
  }

  // A pass may run that does not touch the page.
  Napi::Value write_page(const Info& info) {
    const PageBytes page = page_bytes(info);
    std::memcpy(page.inside, page.outside, page.count);
    return info.Env().Undefined();
  }

  struct PageBytes {
    uint8_t* inside;
    uint8_t* outside;
    size_t count;
  };
  PageBytes page_bytes(const Info& info) {
    const gs::KvArenaObject& arena = *host(info).engine->objects().arenas.get(handle(info[1]));
    const int64_t page = integer(info[2], 0, arena.pages - 1, "A page");
    auto bytes = typed_array<Napi::Uint8Array>(info[3], napi_uint8_array, "A page's bytes");
    if (bytes.ByteLength() != arena.page_bytes()) {
      throw gs::RangeError("The buffer has " + std::to_string(bytes.ByteLength()) + " bytes; a page has " +
                           std::to_string(arena.page_bytes()) + ".");
    }
    return {arena.page(page), bytes.Data(), arena.page_bytes()};
  }

  // (engine, F16 arena, page, arena, page). A pass may run that touches neither page.
  Napi::Value compress_page(const Info& info) {
    Host& target = host(info);
    const auto& arenas = target.engine->objects().arenas;
    const gs::KvArenaObject& from = *arenas.get(handle(info[1]));
    const gs::KvArenaObject& to = *arenas.get(handle(info[3]));
    target.engine->compress_page(from, integer(info[2], 0, from.pages - 1, "A page"), to,
                                 integer(info[4], 0, to.pages - 1, "A page"));
    return info.Env().Undefined();
  }

  // (engine, arena, page). A pass may run that does not write the page or choose by its bounds.
  Napi::Value bound_page(const Info& info) {
    Engine& engine = *host(info).engine;
    const gs::KvArenaObject& arena = *engine.objects().arenas.get(handle(info[1]));
    engine.bound_page(arena, integer(info[2], 0, arena.pages - 1, "A page"));
    return info.Env().Undefined();
  }

  // (engine, pass, Float64Array, count): `pass` is a number of the caller's choice for cancel().
  Napi::Value submit(const Info& info) {
    Host& target = host(info);
    const int64_t pass = handle(info[1]);
    const auto words = typed_array<Napi::Float64Array>(info[2], napi_float64_array, "An operation list");
    const int64_t count =
        integer(info[3], 0, static_cast<int64_t>(words.ElementLength()), "The list's length");
    Engine* engine = target.engine.get();
    const auto program = std::make_shared<gs::Program>(gs::decode_program(
        words.Data(), static_cast<size_t>(count), engine->objects(), engine->int8(), engine->bf16_codes()));
    const auto flag = std::make_shared<std::atomic<bool>>(false);
    if (!target.passes.emplace(pass, flag).second)
      throw gs::RangeError("A pass with this number is running.");
    return target.post(
        info.Env(), [=] { engine->run(*program, flag); }, [](Napi::Env env) { return env.Undefined(); },
        pass);
  }

  // Sets the flag of a running pass; nothing happens if it has ended.
  Napi::Value cancel(const Info& info) {
    Host& target = host(info);
    const auto found = target.passes.find(handle(info[1]));
    if (found != target.passes.end()) found->second->store(true);
    return info.Env().Undefined();
  }

  // (engine, activation, Float32Array, firstToken, tokens)
  Napi::Value read_back(const Info& info) {
    Host& target = host(info);
    require_idle(target);
    const gs::ActivationObject& source = *target.engine->objects().activations.get(handle(info[1]));
    auto values = typed_array<Napi::Float32Array>(info[2], napi_float32_array, "The target");
    const int64_t first = integer(info[3], 0, source.tokens, "The first token");
    const int64_t tokens = integer(info[4], 0, source.tokens - first, "Tokens");
    if (values.ElementLength() != static_cast<size_t>(tokens * source.width)) {
      throw gs::RangeError("The target has " + std::to_string(values.ElementLength()) + " values; " +
                           std::to_string(tokens) + " rows have " + std::to_string(tokens * source.width) +
                           ".");
    }
    std::copy_n(source.data() + first * source.width, tokens * source.width, values.Data());
    return info.Env().Undefined();
  }

  // (engine, activation, Float32Array, firstToken)
  Napi::Value upload(const Info& info) {
    Host& target = host(info);
    require_idle(target);
    const gs::ActivationObject& out = *target.engine->objects().activations.get(handle(info[1]));
    const auto values = typed_array<Napi::Float32Array>(info[2], napi_float32_array, "The values");
    const int64_t first = integer(info[3], 0, out.tokens, "The first token");
    const auto count = static_cast<int64_t>(values.ElementLength());
    if (count % out.width != 0 || count / out.width > out.tokens - first) {
      throw gs::RangeError(std::to_string(count) + " values do not fit rows of " + std::to_string(out.width) +
                           " from row " + std::to_string(first) + " of " + std::to_string(out.tokens) + ".");
    }
    std::copy_n(values.Data(), count, out.data() + first * out.width);
    return info.Env().Undefined();
  }

  Napi::Value memory(const Info& info) {
    const gs::MemoryUse use = host(info).engine->memory();
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("weights", static_cast<double>(use.weights));
    result.Set("kvReserved", static_cast<double>(use.kv_reserved));
    result.Set("kvTouched", static_cast<double>(use.kv_touched));
    result.Set("scratch", static_cast<double>(use.scratch));
    return result;
  }

  Napi::Value profile(const Info& info) {
    Napi::Array result = Napi::Array::New(info.Env());
    for (const auto& [name, time] : host(info).engine->profile().take()) {
      Napi::Object entry = Napi::Object::New(info.Env());
      entry.Set("name", name);
      entry.Set("runs", static_cast<double>(time.runs));
      entry.Set("wallSeconds", time.wall);
      entry.Set("cpuSeconds", time.cpu);
      entry.Set("operations", time.operations);
      result.Set(result.Length(), entry);
    }
    return result;
  }

  gs::HandleTable<Host> hosts_{"engine"};
};

}  // namespace

NODE_API_NAMED_ADDON(gemma_sidecar_cpu, CpuAddon)
