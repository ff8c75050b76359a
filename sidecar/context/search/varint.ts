/** Numbers in as few bytes as they need, seven bits each, the lowest first (LEB128). */

export class ByteWriter {
  private bytes = new Uint8Array(1024);
  private used = 0;

  get length(): number {
    return this.used;
  }

  /** `value` is an integer from 0 up to 2^32 - 1. */
  number(value: number): void {
    if (this.used + 5 > this.bytes.length) {
      const larger = new Uint8Array(2 * this.bytes.length);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    let rest = value;
    while (rest > 0x7f) {
      this.bytes[this.used++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.used++] = rest;
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.used);
  }
}

/** Calls `visit` with each pair of numbers in `bytes` from `at` to `end`; ends at a pair that is not whole. */
export function readPairs(
  bytes: Uint8Array,
  at: number,
  end: number,
  visit: (first: number, second: number) => void,
): void {
  let first = -1;
  let value = 0;
  let shift = 0;
  for (let i = at; i < end; i++) {
    const byte = bytes[i]!;
    value |= (byte & 0x7f) << shift;
    if (byte & 0x80) {
      shift += 7;
      continue;
    }
    if (first < 0) first = value >>> 0;
    else {
      visit(first, value >>> 0);
      first = -1;
    }
    value = 0;
    shift = 0;
  }
}
