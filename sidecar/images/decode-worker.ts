/** The thread that decodes: one file in, its pixels or what the decoder said out. */
import { parentPort, workerData } from 'node:worker_threads';
import type { DecodeReply, DecodeTask } from './decode-image.ts';
import { decodePixels } from './decoders.ts';

const { type, bytes } = workerData as DecodeTask;
let reply: DecodeReply;
try {
  const { width, height, rgba } = await decodePixels(type, bytes);
  // A copy of its own, so that it can be handed over.
  reply = { width, height, rgba: Uint8Array.from(rgba) };
} catch (error) {
  reply = { problem: error instanceof Error ? error.message : String(error) };
}
parentPort?.postMessage(reply, 'rgba' in reply ? [reply.rgba.buffer] : []);
