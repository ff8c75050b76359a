/**
 * A WebAssembly module that cannot take more memory than it is given: a memory section without a maximum lets a hostile file
 * grow it to 4 GiB. The format: webassembly.github.io/spec/core/binary.
 */
const MEMORY_SECTION = 5;
const PAGE_BYTES = 65_536;

/** `bytes` with the maximum of its own memory set. Throws if the module has none. */
export function boundedWasm(bytes: Uint8Array, mostBytes: number): Uint8Array<ArrayBuffer> {
  let at = 8;
  while (at < bytes.length) {
    const id = bytes[at]!;
    const size = readUnsigned(bytes, at + 1);
    const end = size.next + size.value;
    if (id === MEMORY_SECTION) {
      const least = readUnsigned(bytes, size.next + 2);
      const most = Math.max(least.value, Math.floor(mostBytes / PAGE_BYTES));
      const section = [1, 1, ...unsigned(least.value), ...unsigned(most)];
      return Uint8Array.from(
        Buffer.concat([
          bytes.subarray(0, at),
          Uint8Array.of(id, ...unsigned(section.length), ...section),
          bytes.subarray(end),
        ]),
      );
    }
    at = end;
  }
  throw new Error('The module has no memory of its own.');
}

/** LEB128. */
function readUnsigned(bytes: Uint8Array, at: number): { readonly value: number; readonly next: number } {
  let value = 0;
  for (let shift = 0, next = at; shift < 35; shift += 7) {
    const byte = bytes[next++]!;
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return { value, next };
  }
  throw new Error('The module is damaged.');
}

function unsigned(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest & 127) | 128);
  }
}
