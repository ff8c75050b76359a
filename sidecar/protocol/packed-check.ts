/**
 * Walks a MessagePack body before the library decodes it. Allowed is what JSON has (nil, booleans, numbers, strings,
 * arrays, maps with string keys) and byte strings; extension types, which can make a decoder build arbitrary
 * objects, are refused, and every length must lie inside the body, so a few bytes cannot ask for a huge array.
 */

const MAX_DEPTH = 64;

/** Throws an Error that says what is wrong and at which byte. */
export function checkPacked(body: Uint8Array): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const end = walk(view, 0, 0, false);
  if (end !== view.byteLength) throw new Error(`${view.byteLength - end} bytes follow the message`);
}

/** Position after the value at `at`. */
function walk(view: DataView, at: number, depth: number, key: boolean): number {
  if (depth > MAX_DEPTH) throw new Error(`nested deeper than ${MAX_DEPTH} at byte ${at}`);
  const type = byte(view, at);
  const body = at + 1;
  const text = (length: number, start: number) => skip(view, start, length);
  if (type >= 0xa0 && type <= 0xbf) return text(type & 0x1f, body);
  if (type === 0xd9) return text(byte(view, body), body + 1);
  if (type === 0xda) return text(uint16(view, body), body + 2);
  if (type === 0xdb) return text(uint32(view, body), body + 4);
  if (key) throw new Error(`a map key is not a string at byte ${at}`);
  if (type <= 0x7f || type >= 0xe0) return body;
  if (type <= 0x8f) return many(view, body, 2 * (type & 0x0f), depth, true);
  if (type <= 0x9f) return many(view, body, type & 0x0f, depth, false);
  switch (type) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return body;
    case 0xc4: // bin 8, 16, 32
      return skip(view, body + 1, byte(view, body));
    case 0xc5:
      return skip(view, body + 2, uint16(view, body));
    case 0xc6:
      return skip(view, body + 4, uint32(view, body));
    case 0xcc: // integers and floats by width
    case 0xd0:
      return skip(view, body, 1);
    case 0xcd:
    case 0xd1:
      return skip(view, body, 2);
    case 0xca:
    case 0xce:
    case 0xd2:
      return skip(view, body, 4);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return skip(view, body, 8);
    case 0xdc: // array 16, 32
      return many(view, body + 2, uint16(view, body), depth, false);
    case 0xdd:
      return many(view, body + 4, uint32(view, body), depth, false);
    case 0xde: // map 16, 32
      return many(view, body + 2, 2 * uint16(view, body), depth, true);
    case 0xdf:
      return many(view, body + 4, 2 * uint32(view, body), depth, true);
    default:
      throw new Error(`type 0x${type.toString(16)} is not allowed at byte ${at}`);
  }
}

function many(view: DataView, start: number, count: number, depth: number, map: boolean): number {
  // Each value takes at least one byte.
  if (count > view.byteLength - start) throw new Error(`a length at byte ${start} points past the end`);
  let at = start;
  for (let i = 0; i < count; i++) at = walk(view, at, depth + 1, map && i % 2 === 0);
  return at;
}

function skip(view: DataView, start: number, length: number): number {
  if (length > view.byteLength - start) throw new Error(`a length at byte ${start} points past the end`);
  return start + length;
}

function byte(view: DataView, at: number): number {
  return view.getUint8(skip(view, at, 1) - 1);
}
function uint16(view: DataView, at: number): number {
  return view.getUint16(skip(view, at, 2) - 2);
}
function uint32(view: DataView, at: number): number {
  return view.getUint32(skip(view, at, 4) - 4);
}
