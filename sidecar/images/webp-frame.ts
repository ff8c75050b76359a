/** The first frame of an animated WebP file as a file of its own, which decoders of still images read (RFC 9649). */

/** A frame's place, size, duration and flags stand before its image data. */
const FRAME_HEADER = 16;
const ALPHA_FLAG = 0x10;

/** `bytes` itself where nothing is animated. Throws RangeError for a file that ends early. */
export function firstWebpFrame(bytes: Uint8Array): Uint8Array {
  const frame = findChunk(bytes, 12, 'ANMF');
  if (frame === null) return bytes;
  const data = frame.subarray(FRAME_HEADER);
  const alpha = findChunk(data, 0, 'ALPH') === null ? 0 : ALPHA_FLAG;
  // Width and height, less one, 3 bytes each, as in the frame's header.
  const canvas = Uint8Array.of(alpha, 0, 0, 0, ...frame.subarray(6, 12));
  const body = Buffer.concat([Buffer.from('WEBPVP8X'), length(canvas.length), canvas, data]);
  return Buffer.concat([Buffer.from('RIFF'), length(body.length), body]);
}

function findChunk(bytes: Uint8Array, from: number, name: string): Uint8Array | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at + 4, true);
    if (String.fromCharCode(...bytes.subarray(at, at + 4)) === name) {
      if (at + 8 + size > bytes.length) throw new RangeError('A chunk ends early.');
      return bytes.subarray(at + 8, at + 8 + size);
    }
    at += 8 + size + (size & 1);
  }
  return null;
}

function length(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
