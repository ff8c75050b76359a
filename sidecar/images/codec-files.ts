/** Where the WebAssembly decoders lie: in packages of a clone, beside the bundle in a package. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const inClone = import.meta.url.endsWith('.ts');
const PACKAGED = { webp: '@jsquash/webp/codec/dec/webp_dec.wasm', svg: '@resvg/resvg-wasm/index_bg.wasm' };

export function readCodec(name: keyof typeof PACKAGED): Uint8Array {
  return readFileSync(
    inClone
      ? createRequire(import.meta.url).resolve(PACKAGED[name])
      : fileURLToPath(new URL(`./codecs/${name}.wasm`, import.meta.url)),
  );
}
